"""Trainings that settle once they have learned their full length, and that begin again where they are stuck."""

import dataclasses
import itertools
import json
import math

import pytest
import torch

from remanent import ModelConfig
from remanent.distributed.ranks import Part, Ranks
from remanent.records.configuration import Experiment, fitting
from remanent.records.training_config import TrainingConfig
from remanent.tasks import CopyFirst, GroupWord, Parity
from remanent.tasks.metrics import IGNORED
from remanent.training import Launch, load_run, record_run, resume_run, start_run
from remanent.training.pace.lengths import Lengths
from remanent.training.pace.running_score import WINDOW, batch_score
from remanent.training.pace.settling import Settling
from remanent.training.sharing import check_fit

TASK = Parity(steps=4)
TRAINING = TrainingConfig(
    steps=60,
    batch_size=8,
    learning_rate=1e-2,
    warmup=0.0,
    anneal_hold=0.0,
    anneal_ramp=0.5,
    curriculum_start=2,
    curriculum_threshold=0.0,
    curriculum_score="last",
    settle_threshold=0.0,
    settle_steps=10,
    checkpoint_every=7,
    threads=1,
)


def experiment(unit="mru", **training):
    model = ModelConfig(**fitting(TASK) | {"encoder": "table"}, unit=unit, hidden_size=8, num_layers=1, num_states=2)
    return Experiment(TASK, model, dataclasses.replace(TRAINING, **training))


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def steps_of(folder, name):
    return [line[name] for line in metrics(folder) if name in line]


def stop_at(number):
    """What ends a run at its checkpoint of this number, as Ctrl-C does."""
    seen = itertools.count(1)

    def after_checkpoint():
        if next(seen) == number:
            raise KeyboardInterrupt

    return after_checkpoint


def test_a_run_settles_once_it_has_learned_and_ends_after_it(tmp_path):
    start_run(experiment(), tmp_path / "run", progress=False)
    length, epsilon, rate = (steps_of(tmp_path / "run", name) for name in ("length", "epsilon", "learning_rate"))
    begins = 2 * WINDOW + WINDOW
    assert length == [2] * WINDOW + [3] * WINDOW + [4] * (WINDOW + 10) or len(length) == 60
    assert len(rate) == min(begins + 10, 60)
    start = len(rate) - 10
    assert rate[:start] == [0.01] * start
    assert rate[start + 4] == pytest.approx(0.01 * 0.5 * (1 + math.cos(math.pi * 0.4)))
    assert epsilon[:start] == [1.0] * start
    assert epsilon[start:] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0, 0])
    assert load_run(tmp_path / "run")[1].epsilon == 0


def test_a_run_that_learns_at_once_ends_early(tmp_path):
    start_run(experiment(steps=500, curriculum_growth=2.0), tmp_path / "run", progress=False)
    rates = steps_of(tmp_path / "run", "learning_rate")
    assert len(rates) == 2 * WINDOW + 10 == record_run(tmp_path / "run").steps
    assert max(line["step"] for line in metrics(tmp_path / "run")) == len(rates) - 1
    assert any("validation_sequence_accuracy" in line for line in metrics(tmp_path / "run")[-2:])


def test_a_run_that_never_learns_settles_at_the_end(tmp_path):
    start_run(experiment(settle_threshold=2.0), tmp_path / "run", progress=False)
    epsilon = steps_of(tmp_path / "run", "epsilon")
    assert len(epsilon) == 60
    assert epsilon[:51] == [1.0] * 51
    assert epsilon[55:] == [0.0] * 5


@pytest.mark.parametrize("stop", [1, 7])
@pytest.mark.parametrize("training", [{}, {"curriculum_threshold": 2.0, "restart_after": 9}], ids=["grows", "stuck"])
def test_a_resumed_run_ends_in_the_same_bits(stop, training, tmp_path):
    asked = experiment(steps=500 if not training else 60, curriculum_growth=2.0, **training)
    start_run(asked, tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        start_run(asked, tmp_path / "cut", progress=False, after_checkpoint=stop_at(stop))
    resume_run(tmp_path / "cut", progress=False)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert first == second
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_words_are_made_of_more_letters_once_they_are_long_enough(tmp_path):
    task = GroupWord(steps=4, group="S3")
    model = ModelConfig(**fitting(task) | {"encoder": "table"}, unit="mru", hidden_size=9, num_layers=1, num_states=3)
    training = dataclasses.replace(TRAINING, steps=500, curriculum_growth=2.0, curriculum_letters=2, letters_growth=2.0)
    asked = Experiment(task, model, training)
    start_run(asked, tmp_path / "whole", progress=False)
    lines = [line for line in metrics(tmp_path / "whole") if "length" in line]
    stages = [(line.get("letters"), line["length"]) for line in lines]
    expected = [(letters, length) for letters in (2, 4, None) for length in (2, 4)]
    assert list(dict.fromkeys(stages)) == expected
    assert [stages.count(stage) for stage in expected] == [WINDOW] * 5 + [WINDOW + 10]
    with pytest.raises(KeyboardInterrupt):
        start_run(asked, tmp_path / "cut", progress=False, after_checkpoint=stop_at(5))
    resume_run(tmp_path / "cut", progress=False)
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_a_run_that_is_stuck_begins_again(tmp_path, monkeypatch):
    from remanent.training.experiment import ExperimentModule

    drawn, begin = [], ExperimentModule.begin_again

    def spy(self, times):
        begin(self, times)
        assert not self.trainer.optimizers[0].state
        drawn.append((times, self.trainer.global_step, self.model.blocks[0].layer.units[0].weight_ih_l0.clone()))

    monkeypatch.setattr(ExperimentModule, "begin_again", spy)
    start_run(experiment(curriculum_threshold=2.0, restart_after=15), tmp_path / "run", progress=False)
    assert [(times, step) for times, step, _ in drawn] == [(1, 15), (2, 30), (3, 45)]
    assert not torch.equal(drawn[0][2], drawn[1][2])


def test_a_run_of_latches_that_begins_again_has_write_rates_again(tmp_path):
    asked = experiment("bmru", curriculum_threshold=2.0, restart_after=20, steps=30)
    start_run(asked, tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "write_rates.json").exists()


def test_the_score_of_last_answers_counts_those_that_are_asked():
    output = torch.zeros(3, 2, 2)
    output[0, 1, 1] = output[1, 1, 0] = output[2, 1, 0] = 1
    target = torch.tensor([[0, 1], [0, 1], [1, IGNORED]])
    assert batch_score(output, target, TASK, "last", Ranks()) == 0.5
    assert batch_score(output, target, TASK, "metric", Ranks()) == pytest.approx(1 / 3)


class Two(Ranks):
    """The processes of two shares of the time, of which this one knows what the other sends."""

    def gather(self, value):
        return [(0, (1, 3)), value] if self.others_first else [value, (0, None)]


@pytest.mark.parametrize(("others_first", "expected"), [(True, 0.5), (False, 0.5)])
def test_the_last_answer_is_that_of_the_last_process_with_a_step(others_first, expected):
    ranks = Two(rank=1, size=2, time=Part(1, 2))
    object.__setattr__(ranks, "others_first", others_first)
    output = torch.zeros(2, 1, 2)
    output[0, 0, 1] = 1
    assert batch_score(output, torch.tensor([[1], [1]]), TASK, "last", ranks) == expected


def test_the_settling_begins_only_at_the_full_length():
    config = dataclasses.replace(TRAINING, curriculum_threshold=2.0)
    settling = Settling(TASK, config, Lengths(TASK, config))
    assert settling.is_scored
    assert (settling.end, settling.falls_from, settling.share(7)) == (60, None, 0.0)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"settle_steps": None}, "`settle_threshold` and `settle_steps` must be given together, got 0.0 and None"),
        ({"settle_steps": 61}, r"`settle_steps` must be in \[1, 60\], got 61"),
        ({"settle_steps": 0}, "`settle_steps` must be at least 1, got 0"),
        ({"anneal_wait": True}, "`anneal_wait` must be off where `settle_steps` is given, got True"),
        ({"restart_after": 0}, "`restart_after` must be at least 1, got 0"),
        ({"restart_after": 5, "curriculum_steps": 4}, "`restart_after` must go with lengths that grow by score alone"),
        ({"restart_after": 5, "curriculum_start": None}, "`restart_after` must go with lengths that grow by score"),
        ({"curriculum_letters": 1}, "`curriculum_letters` must be at least 2, got 1"),
        ({"curriculum_letters": 2}, "`training.curriculum_letters` must be letters that the task takes, got the task"),
        (
            {"curriculum_letters": 2, "curriculum_start": None},
            "`curriculum_letters` must go with `curriculum_start` and `curriculum_threshold`, got None and 0.0",
        ),
        ({"letters_growth": 1.0}, r"`letters_growth` must be in \(1, inf\), got 1.0"),
        ({"curriculum_score": "first"}, "`curriculum_score` must be one of metric, last, got 'first'"),
    ],
)
def test_options_that_cannot_be_are_rejected(training, message):
    with pytest.raises(ValueError, match=message):
        experiment(**training)


def test_last_answers_need_a_task_that_asks_for_classes_at_every_step():
    model = ModelConfig(input_size=1, output_size=1)
    with pytest.raises(
        ValueError, match=r"`training.curriculum_score` must be metric for the task copy-first, which does not ask"
    ):
        Experiment(CopyFirst(steps=20), model, TrainingConfig(curriculum_score="last"))


def test_weights_in_parts_are_not_drawn_again():
    ranks = Ranks(launch=Launch(strategy="fsdp"))
    with pytest.raises(ValueError, match=r"`training.restart_after` must be None with the strategy fsdp, got 5"):
        check_fit(experiment(restart_after=5), ranks)
    check_fit(experiment(), ranks)
