"""Averaged weights: against means worked out here, from which step on, and where they stand in for the weights."""

import dataclasses
import json

import pytest
import torch

from remanent import ModelConfig
from remanent.distributed.ranks import Ranks
from remanent.records.configuration import Experiment
from remanent.tasks import CopyFirst
from remanent.training import Launch, TrainingConfig, evaluate, load_run, start_run
from remanent.training.experiment import ExperimentModule
from remanent.training.sharing import check_fit

TASK = CopyFirst(steps=6)
MODEL = ModelConfig(input_size=1, output_size=1, hidden_size=4, num_layers=1, gate_norm="batch")
TRAINING = TrainingConfig(
    steps=10, batch_size=4, anneal_hold=0.0, anneal_ramp=0.4, checkpoint_every=5, threads=1, average="equal"
)
FINAL = 5
"""The first step after which epsilon is 0 in `TRAINING`, of the steps from 1."""


def trained(folder, monkeypatch, **training):
    """Trains, and returns the weights after each step."""
    seen, clip = [], ExperimentModule.on_train_batch_end

    def look(self, outputs, batch, batch_idx):
        clip(self, outputs, batch, batch_idx)
        seen.append({name: value.clone() for name, value in self.model.state_dict().items()})

    with monkeypatch.context() as patched:
        patched.setattr(ExperimentModule, "on_train_batch_end", look)
        start_run(Experiment(TASK, MODEL, dataclasses.replace(TRAINING, **training)), folder, progress=False)
    return seen


def exponential(values, decay=0.9):
    mean = values[0]
    for value in values[1:]:
        mean = decay * mean + (1 - decay) * value
    return mean


@pytest.mark.parametrize(
    ("training", "first", "mean"),
    [
        ({}, FINAL, lambda values: torch.stack(values).mean(0)),
        ({"average_from": 0.7}, 7, lambda values: torch.stack(values).mean(0)),
        ({"average": "exponential", "average_decay": 0.9}, FINAL, exponential),
        ({"anneal": False}, 1, lambda values: torch.stack(values).mean(0)),
        ({"curriculum_start": 3, "curriculum_steps": 6, "curriculum_growth": 2.0}, 6, lambda v: torch.stack(v).mean(0)),
    ],
    ids=["equal", "late", "exponential", "not annealed", "full length"],
)
def test_a_run_ends_with_the_mean_of_its_weights(training, first, mean, tmp_path, monkeypatch):
    steps = trained(tmp_path / "run", monkeypatch, **training)
    _, model = load_run(tmp_path / "run")
    for name, value in model.state_dict().items():
        values = [step[name] for step in steps[first - 1 :]]
        if value.is_floating_point():
            torch.testing.assert_close(value, mean(values), rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(value, values[-1])
    assert model.epsilon == 0
    if first > 1:
        assert any(not torch.equal(value, steps[-1][name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("keep", ["last", "best"])
def test_validation_scores_the_mean_and_training_goes_on_from_the_weights(keep, tmp_path, monkeypatch):
    more = {"keep": keep, "keep_checkpoints": 9}
    steps = trained(tmp_path / "run", monkeypatch, **more)
    other = trained(tmp_path / "plain", monkeypatch, average="none")
    assert all(torch.equal(step[name], other[i][name]) for i, step in enumerate(steps) for name in step)
    found = torch.load(tmp_path / "run/checkpoints/step-10.ckpt", weights_only=True)
    assert all(torch.equal(found["state_dict"][f"model.{name}"], value) for name, value in steps[-1].items())
    if keep == "best":
        index = json.loads((tmp_path / "run/checkpoints/index.json").read_text())["checkpoints"]
        best = min(index, key=lambda each: each["score"])
        found = torch.load(tmp_path / "run/checkpoints" / best["file"], weights_only=True)["callbacks"]
        mean, (_, model) = found["AverageWeights"]["average"], load_run(tmp_path / "run")
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in mean.items())
    else:
        experiment, model = load_run(tmp_path / "run")
        score = evaluate(model, experiment.task, split="validation")
        assert found["remanent"]["score"] == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"average": "ema"}, "`average` must be one of none, exponential, equal, got 'ema'"),
        ({"average_decay": 1.0}, r"`average_decay` must be in \(0, 1\), got 1.0"),
        ({"average_from": 1.0}, r"`average_from` must be in \[0, 1\), got 1.0"),
    ],
)
def test_averages_that_cannot_be_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**options)


def test_weights_in_parts_are_not_averaged():
    with pytest.raises(ValueError, match=r"`training.average` must be none with the strategy fsdp, got equal"):
        check_fit(Experiment(TASK, MODEL, TRAINING), Ranks(launch=Launch(strategy="fsdp")))
