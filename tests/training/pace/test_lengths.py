"""Lengths that grow and vary, epsilon that waits, and write rates from the first batch: resumed to the same bits."""

import dataclasses
import itertools
import json
import math

import pytest
import torch

from remanent import ModelConfig, set_write_rates
from remanent.tasks import CopyFirst, Denoising, ListOps
from remanent.training import Experiment, TrainingConfig, load_run, resume_run, start_run
from remanent.training.experiment import ExperimentModule
from remanent.training.pace.lengths import Lengths
from remanent.training.pace.running_score import WINDOW

TASK = CopyFirst(steps=20)
TRAINING = TrainingConfig(steps=24, batch_size=4, checkpoint_every=5, threads=1, learning_rate=1e-2)
BY_STEPS = {"curriculum_start": 5, "curriculum_growth": 2.0, "curriculum_steps": 4}


def experiment(model=None, **training):
    config = ModelConfig(input_size=1, output_size=1, hidden_size=8, **(model or {}))
    return Experiment(TASK, config, dataclasses.replace(TRAINING, **training))


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def steps_of(folder, name):
    return [line[name] for line in lines(folder) if name in line]


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def stop_at(step):
    """What ends a run at a checkpoint, as Ctrl-C does."""
    seen = itertools.count(1)

    def after_checkpoint():
        if next(seen) == step:
            raise KeyboardInterrupt

    return after_checkpoint


def test_the_length_grows_by_steps_and_the_rate_stays_up_until_it_is_full(tmp_path):
    start_run(experiment(**BY_STEPS, warmup=0.1), tmp_path / "run", progress=False)
    assert steps_of(tmp_path / "run", "length") == [5] * 4 + [10] * 4 + [20] * 16
    rates = [line["learning_rate"] for line in lines(tmp_path / "run") if "learning_rate" in line]
    assert rates[:2] == pytest.approx([0.005, 0.01])
    assert rates[2:9] == [0.01] * 7
    assert all(a > b for a, b in itertools.pairwise(rates[8:]))
    assert rates[23] == pytest.approx(0.01 * 0.5 * (1 + math.cos(math.pi * 15 / 16)))


def test_a_batch_has_the_length_of_its_step(tmp_path, monkeypatch):
    seen = []
    answer = ExperimentModule._answer

    def spy(self, x, y):
        if self.training:
            seen.append(x.shape[1])
        return answer(self, x, y)

    monkeypatch.setattr(ExperimentModule, "_answer", spy)
    start_run(experiment(**BY_STEPS, length_jitter=2.0), tmp_path / "run", progress=False)
    assert seen == steps_of(tmp_path / "run", "length")
    assert len(set(seen)) > 6
    assert all(2 <= length <= 10 for length in seen[:4])


class Scores:
    """Stands in for the trainer and the module, with a score for each step."""

    global_step = 0
    step_score = 1.0


def grown(lengths, scores):
    stub, seen = Scores(), []
    for score in scores:
        stub.global_step += 1
        stub.step_score = score
        lengths.on_step_end(stub, stub)
        seen.append(lengths.present)
    return seen


def test_the_length_grows_when_the_running_score_is_reached():
    """The mean squared error of copy-first, where less is better."""
    config = dataclasses.replace(TRAINING, curriculum_start=5, curriculum_growth=3.0, curriculum_threshold=0.5)
    lengths = Lengths(TASK, config)
    assert grown(lengths, [1.0] * 30) == [5] * 30
    after = grown(lengths, [0.0] * 60)
    first = after.index(15)
    assert 5 <= first <= 20
    assert after.index(20) == first + WINDOW
    assert lengths.full_at == first + WINDOW + 1


def test_lengths_vary_evenly_around_the_present_one_and_alike_on_every_process():
    lengths = Lengths(TASK, dataclasses.replace(TRAINING, length_jitter=4.0))
    drawn = [lengths.at(step) for step in range(2000)]
    assert (min(drawn), max(drawn)) == (5, 80)
    assert sum(length < 20 for length in drawn) / 2000 == pytest.approx(0.48, abs=0.04)
    assert drawn == [Lengths(TASK, dataclasses.replace(TRAINING, length_jitter=4.0)).at(step) for step in range(2000)]
    assert lengths.task_at(0).steps == drawn[0]


@pytest.mark.parametrize(
    "training",
    [
        {**BY_STEPS, "length_jitter": 2.0, "write_rates": True},
        {
            "curriculum_start": 5,
            "curriculum_threshold": 5.0,
            "anneal_wait": True,
            "anneal_ramp": 0.6,
            "anneal_hold": 0.0,
        },
    ],
    ids=["by steps", "by score"],
)
def test_a_resumed_run_ends_in_the_same_bits(training, tmp_path):
    asked = experiment({"gate_norm": "batch", "unit": "bmru+lru"}, **training)
    start_run(asked, tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        start_run(asked, tmp_path / "cut", progress=False, after_checkpoint=stop_at(2))
    resume_run(tmp_path / "cut", progress=False)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def test_epsilon_waits_and_is_zero_in_the_last_fifth(tmp_path):
    start_run(experiment(anneal_wait=True, anneal_hold=0.0, anneal_ramp=0.2), tmp_path / "run", progress=False)
    epsilons = steps_of(tmp_path / "run", "epsilon")
    assert epsilons[0] == 1
    assert epsilons[20:] == [0] * 4
    assert load_run(tmp_path / "run")[1].epsilon == 0


def test_the_best_checkpoint_is_one_whose_epsilon_is_final(tmp_path):
    start_run(experiment(keep_checkpoints=5), tmp_path / "run", progress=False)
    kept = json.loads((tmp_path / "run" / "checkpoints" / "index.json").read_text())["checkpoints"]
    assert [line["score"] is None for line in kept] == [line["step"] <= 15 for line in kept]


def test_write_rates_are_those_of_the_whole_first_batch(tmp_path):
    asked = experiment({"unit": "bmru+lru,cmru"}, write_rates=True, steps=1, batch_parts=2)
    start_run(asked, tmp_path / "run", progress=False)
    noted = json.loads((tmp_path / "run" / "write_rates.json").read_text())
    assert list(noted) == [f"blocks.{i}.layer.units.0.l0" for i in range(2)]
    model = ExperimentModule(asked).model
    from remanent.training.experiment import begin_with_rates

    assert begin_with_rates(model, TASK, asked.training) == noted
    assert all(0 < rate < 1 for rate in noted["blocks.1.layer.units.0.l0"]["after"])
    with torch.no_grad():
        assert set_write_rates(model, torch.randn(4, 20, 1))
    start_run(experiment({"unit": "lru"}, write_rates=True, steps=1), tmp_path / "lru", progress=False)
    assert not (tmp_path / "lru" / "write_rates.json").exists()


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"curriculum_start": 5}, "`curriculum_threshold` or `curriculum_steps` must say when the length grows, got"),
        ({"curriculum_start": 0, "curriculum_steps": 4}, "`curriculum_start` must be at least 1, got 0"),
        ({"curriculum_start": 21, "curriculum_steps": 4}, "`training.curriculum_start` must be at most 20, got 21"),
        ({"curriculum_growth": 1.0}, r"`curriculum_growth` must be in \(1, inf\), got 1.0"),
        ({"length_jitter": 0.5}, r"`length_jitter` must be in \[1, inf\), got 0.5"),
        ({"anneal_wait": True, "anneal_ramp": 0.9}, "must sum to at most 0.8 with `anneal_wait`, got 0.95"),
    ],
)
def test_lengths_that_cannot_be_are_rejected(training, message):
    with pytest.raises(ValueError, match=message):
        experiment(**training)


def test_a_task_of_fixed_length_is_rejected(monkeypatch):
    monkeypatch.setattr(ListOps, "length_option", None)
    task = ListOps()
    config = ModelConfig(task.input_size, task.output_size, encoder="embedding", head="every")
    with pytest.raises(
        ValueError, match=r"`training.length_jitter` must not be given for the task listops, whose length is fixed"
    ):
        Experiment(task, config, TrainingConfig(length_jitter=2.0))
    with pytest.raises(ValueError, match="the task listops must have a length that can be changed"):
        task.at_length(3)


def test_a_shorter_denoising_keeps_the_share_of_its_parts():
    task = Denoising(steps=400, hold=200).at_length(40)
    assert (task.steps, task.hold) == (40, 20)
