"""Runs that end with their best weights, and runs that end early, both by the validation score."""

import dataclasses
import json

import pytest
import torch

from remanent import ModelConfig
from remanent.records.configuration import Experiment
from remanent.tasks import CopyFirst
from remanent.training import TrainingConfig, load_run, record_run, start_run
from remanent.training.experiment import ExperimentModule

TASK = CopyFirst(steps=6)
MODEL = ModelConfig(input_size=1, output_size=1, hidden_size=4, num_layers=1)
TRAINING = TrainingConfig(steps=20, batch_size=4, anneal_hold=0.0, anneal_ramp=0.2, checkpoint_every=2, threads=1)
SCORES = [0.0, 0.9, 0.5, 0.6, 0.4, 0.7, 0.7, 0.8, 0.4, 0.9]
"""Mean squared errors after 2, 4, ... steps, of which the first two do not count: epsilon is above 0."""


def run(folder, monkeypatch, scores=SCORES, **training):
    """Trains with scores that are given, and returns the checkpoints' steps and scores."""
    given = iter(scores)
    monkeypatch.setattr(
        ExperimentModule, "on_validation_epoch_end", lambda self: self.log("validation_mse", next(given))
    )
    start_run(Experiment(TASK, MODEL, dataclasses.replace(TRAINING, **training)), folder, progress=False)
    return {
        each["step"]: each["score"]
        for each in json.loads((folder / "checkpoints/index.json").read_text())["checkpoints"]
    }


def weights_after(folder, step):
    state = torch.load(folder / "checkpoints" / f"step-{step}.ckpt", weights_only=True)["state_dict"]
    return {name.removeprefix("model."): value for name, value in state.items()}


@pytest.mark.parametrize(("keep", "step"), [("last", 20), ("best", 18)])
def test_a_run_ends_with_the_weights_that_are_asked_for(keep, step, tmp_path, monkeypatch):
    kept = run(tmp_path / "run", monkeypatch, keep=keep)
    assert kept == pytest.approx({18: 0.4, 20: 0.9})  # of two that are as good, the later
    expected, model = weights_after(tmp_path / "run", step), load_run(tmp_path / "run")[1]
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert model.epsilon == 0


def test_a_run_whose_scores_do_not_count_ends_with_its_last_weights(tmp_path, monkeypatch):
    run(tmp_path / "run", monkeypatch, keep="best", anneal_ramp=1.0)
    expected = weights_after(tmp_path / "run", 20)
    assert all(torch.equal(v, expected[name]) for name, v in load_run(tmp_path / "run")[1].state_dict().items())


@pytest.mark.parametrize(("patience", "steps"), [(1, 8), (2, 14), (5, 20)])
def test_a_run_ends_once_its_score_is_no_longer_better(patience, steps, tmp_path, monkeypatch):
    kept = run(tmp_path / "run", monkeypatch, patience=patience)
    assert max(kept) == steps
    assert record_run(tmp_path / "run").steps == steps
    assert load_run(tmp_path / "run")[1].epsilon == 0


def test_a_score_that_is_not_a_number_is_not_better(tmp_path, monkeypatch):
    scores = [0.1, 0.1, 0.5, float("nan"), 0.4, float("nan"), float("nan"), 0.3, 0.3, 0.3]
    assert max(run(tmp_path / "run", monkeypatch, scores, patience=2, keep="best")) == 14
    expected = weights_after(tmp_path / "run", 10)
    assert all(torch.equal(v, expected[name]) for name, v in load_run(tmp_path / "run")[1].state_dict().items())


def test_validations_count_only_at_the_full_length(tmp_path, monkeypatch):
    grows = {"curriculum_start": 3, "curriculum_growth": 2.0, "curriculum_steps": 9}
    assert max(run(tmp_path / "run", monkeypatch, range(10), patience=2, **grows)) == 14


def test_a_best_checkpoint_that_is_damaged_is_not_ended_with(tmp_path, monkeypatch):
    from remanent.training import resume_run

    run(tmp_path / "run", monkeypatch, keep="best")
    for name in ("model.json", "model.safetensors"):
        (tmp_path / "run" / name).unlink()
    (tmp_path / "run/checkpoints/step-18.ckpt").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"step-18.ckpt must be whole, since the run ends with its weights, got one"):
        resume_run(tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"keep": "first"}, ValueError, "`keep` must be one of last, best, got 'first'"),
        ({"patience": 0}, ValueError, "`patience` must be at least 1, got 0"),
        ({"patience": 1.5}, TypeError, "`patience` must be an int, got 1.5"),
        (
            {"patience": 2, "settle_steps": 5, "settle_threshold": 0.0},
            ValueError,
            "`patience` must be None where `settle_steps` is given, got 2",
        ),
    ],
)
def test_ends_that_cannot_be_are_rejected(options, error, message):
    with pytest.raises(error, match=message):
        TrainingConfig(**options)
