"""Schedules of the learning rate: against torch's own, and how they wait for lengths and for the settling."""

import dataclasses
import itertools

import pytest
import torch

from remanent.records.training_config import SCHEDULES, TrainingConfig
from remanent.tasks import CopyFirst
from remanent.training.pace.lengths import Lengths
from remanent.training.pace.schedules import rate_share
from remanent.training.pace.settling import Settling

TASK = CopyFirst(steps=20)
CONFIG = TrainingConfig(steps=40, warmup=0.25)
SETTLES = {"settle_threshold": 0.0, "settle_steps": 20}
GROWS = {"curriculum_start": 5, "curriculum_steps": 4}


def shares(full_at=None, begun_at=None, **options):
    """The shares of all steps; the step at which a growing length is full, and a training that settles settles."""
    config = dataclasses.replace(CONFIG, **options)
    lengths = Lengths(TASK, config)
    settling = Settling(TASK, config, lengths)
    found = []
    for step in range(config.steps):
        lengths.full_at = step if step == full_at else lengths.full_at
        settling.begun_at = step if step == begun_at else settling.begun_at
        found.append(rate_share(step, config, settling))
    return found


def test_one_cycle_is_that_of_torch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=40, pct_start=0.25, cycle_momentum=False)
    expected = []
    for _ in range(40):
        expected += cycle.get_last_lr()
        optimizer.step()
        if len(expected) < 40:
            cycle.step()
    assert shares(schedule="one-cycle") == pytest.approx(expected, abs=1e-12)


def test_a_constant_rate_falls_at_the_end():
    expected = [(step + 1) / 10 for step in range(10)] + [1.0] * 22 + [1 - step / 8 for step in range(8)]
    assert shares(schedule="constant") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_rate_stays_up_until_the_length_is_full(schedule):
    found = shares(full_at=36, schedule=schedule, **GROWS)
    assert found[9:36] == [1.0] * 27
    assert all(before > after for before, after in itertools.pairwise(found[36:]))
    assert 0 < found[-1] < 0.4


@pytest.mark.parametrize(("schedule", "stays"), [("cosine", 16), ("one-cycle", 15), ("constant", 31)])
def test_a_rate_falls_only_in_the_steps_that_settle(schedule, stays):
    found = shares(begun_at=15, schedule=schedule, **SETTLES)[:35]
    assert found[9 : stays - 1] == [1.0] * (stays - 10)
    assert all(before > after for before, after in itertools.pairwise(found[stays:]))
    falls = shares(begun_at=15, schedule="constant", decay=0.25, **SETTLES)[29:35]
    assert falls == pytest.approx([1.0, 1.0, 0.8, 0.6, 0.4, 0.2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "linear"}, "`schedule` must be one of cosine, one-cycle, constant, got 'linear'"),
        ({"decay": 0.0}, r"`decay` must be in \(0, 1\], got 0.0"),
        ({"decay": 1.5}, r"`decay` must be in \(0, 1\], got 1.5"),
    ],
)
def test_schedules_that_cannot_be_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**options)
