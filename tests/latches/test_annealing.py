"""Annealing for any module: which units are changed, the schedule by the clock and by the loss, and its state."""

import itertools
import json
import math
import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from remanent import BMRU, CMRU, FQBMRU, GRU, AlphaBMRU, AlphaCMRU, BMRUCell, EpsilonSchedule, set_epsilon
from remanent.records.training_config import TrainingConfig
from remanent.units import LatchRecurrence, RecurrentUnit


def mixed():
    return nn.ModuleDict(
        {"keeps": BMRU(2, 3), "holds": AlphaBMRU(2, 3), "counts": CMRU(2, 3), "adds": AlphaCMRU(2, 3)}
        | {"cell": BMRUCell(2, 3), "gru": GRU(2, 3), "map": nn.Linear(2, 3), "band": FQBMRU(2, 3)}
    )


def epsilons(module):
    return {name: part.epsilon for name, part in module.named_children() if hasattr(part, "epsilon")}


def test_bistable_units_and_cells_are_changed_and_named():
    module = mixed()
    assert set_epsilon(module, 0.25) == ["keeps", "holds", "cell"]
    assert epsilons(module) == {"keeps": 0.25, "holds": 0.25, "cell": 0.25, "counts": 1.0, "adds": 1.0}


def test_cumulative_units_are_changed_where_that_is_asked():
    module = mixed()
    assert set_epsilon(module, 0, cumulative=True) == ["keeps", "holds", "counts", "adds", "cell"]
    assert set(epsilons(module).values()) == {0.0}
    assert set_epsilon(BMRU(2, 3), 1) == [""]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((BMRU(2, 3), 1.5), ValueError, r"`value` must be in \[0, 1\], got 1.5"),
        ((BMRU(2, 3), "1"), TypeError, "`value` must be a number, got str"),
        ((3, 0.5), TypeError, "`module` must be a torch.nn.Module, got int"),
        ((CMRU(2, 3), 0.5), ValueError, "`module` must hold a unit that can be annealed .*, got CMRU in CMRU"),
        ((nn.Linear(2, 3), 0.5), ValueError, "`module` must hold a unit .*, got no unit in Linear"),
    ],
)
def test_what_cannot_be_annealed_is_rejected_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        set_epsilon(*arguments)


@pytest.mark.parametrize(("hold", "ramp"), [(0.05, 0.6), (0.0, 1.0), (0.3, 0.4)])
def test_by_the_clock_it_is_the_epsilon_of_training(hold, ramp):
    unit, config = BMRU(2, 3), TrainingConfig(steps=70, anneal_hold=hold, anneal_ramp=ramp)
    schedule = EpsilonSchedule(unit, 70, hold=hold, ramp=ramp)
    for step in range(71):
        assert unit.epsilon == schedule.epsilon == config.epsilon(step / 70)
        schedule.step()
    assert unit.epsilon == 0


def run(schedule, losses):
    seen = []
    for loss in losses:
        schedule.step(loss)
        seen.append(schedule.epsilon)
    return seen


def test_it_falls_while_the_loss_does_and_waits_while_it_rises():
    schedule = EpsilonSchedule(BMRU(2, 3), 100, hold=0.1, ramp=0.4, wait=True, window=5)
    falling = run(schedule, [1 / (1 + step) for step in range(30)])
    assert falling[:10] == [1.0] * 10
    assert falling[10:] == pytest.approx([1 - step / 40 for step in range(1, 21)])
    waiting = run(schedule, [2.0] * 5)
    assert set(waiting) == {falling[-1]}
    assert run(schedule, [0.0] * 20)[-1] < falling[-1]


@pytest.mark.parametrize("ramp", [0.1, 0.4, 0.75])
def test_however_the_loss_rises_the_last_fifth_is_at_zero(ramp):
    unit = BMRU(2, 3)
    seen = run(EpsilonSchedule(unit, 100, ramp=ramp, wait=True), [float(step) for step in range(100)])
    assert seen[79:] == [0.0] * 21
    assert seen[78] > 0
    assert all(0 <= a - b <= 1 / (100 * ramp) + 1e-12 for a, b in itertools.pairwise(seen))


@pytest.mark.parametrize("wait", [False, True], ids=["by the clock", "by the loss"])
def test_another_copy_continues_from_its_state(wait, tmp_path):
    losses = torch.rand(60, generator=torch.Generator().manual_seed(0)).tolist()
    whole = run(EpsilonSchedule(BMRU(2, 3), 60, wait=wait), losses)
    for cut in (0, 1, 25, 59):
        first = EpsilonSchedule(BMRU(2, 3), 60, wait=wait)
        head = run(first, losses[:cut])
        torch.save(first.state_dict(), tmp_path / "schedule.pt")
        unit = BMRU(2, 3)
        second = EpsilonSchedule(unit, 100)
        second.load_state_dict(torch.load(tmp_path / "schedule.pt", weights_only=True))
        assert unit.epsilon == second.epsilon == first.epsilon
        assert json.loads(json.dumps(first.state_dict())) == second.state_dict()
        assert head + run(second, losses[cut:]) == whole
    with pytest.raises(ValueError, match=r"`state_dict` must have the keys window, cumulative, .*, got last_epoch"):
        second.load_state_dict({"last_epoch": 3})


@pytest.mark.parametrize("wait", [False, True], ids=["by the clock", "by the loss"])
@pytest.mark.parametrize("steps", [1, 2, 5, 97])
def test_as_it_comes_a_fifth_of_the_steps_is_trained_at_zero(wait, steps):
    unit = BMRU(2, 3)
    schedule = EpsilonSchedule(unit, steps, wait=wait)
    trained_at = []
    for step in range(steps):
        trained_at.append(unit.epsilon)
        assert schedule.is_final == (unit.epsilon == 0)
        schedule.step(float(step))
    zeros = math.floor(steps / 5)
    assert trained_at[steps - zeros :] == [0.0] * zeros
    assert unit.epsilon == 0
    assert schedule.is_final


@dataclass(eq=False)
class OwnLatch(LatchRecurrence):
    """A latch of a user's own."""


class Own(RecurrentUnit):
    recurrence_type = OwnLatch

    def __init__(self, input_size, hidden_size):
        super().__init__(OwnLatch(0.0, 1.0, "zeros"), input_size, hidden_size)


def test_a_latch_of_ones_own_is_annealed_and_cumulative_units_stay():
    module = nn.ModuleDict({"own": Own(2, 3), **mixed()})
    kept = {"counts": 1.0, "adds": 1.0}
    schedule = EpsilonSchedule(module, 4, hold=0.0, ramp=0.5)
    seen = []
    for _ in range(3):
        seen.append(module["own"].recurrence.epsilon)
        assert {name: module[name].epsilon for name in kept} == kept
        schedule.step()
    assert seen == [1.0, 0.5, 0.0]
    everything = EpsilonSchedule(module, 4, hold=0.0, ramp=0.5, cumulative=True)
    everything.step()
    assert set(epsilons(module).values()) == {0.5}


def test_an_average_of_weights_has_the_epsilon_of_when_it_was_made():
    model = nn.Sequential(BMRU(2, 3))
    schedule = EpsilonSchedule(model, 10, ramp=0.5)
    early = AveragedModel(model)
    while not schedule.is_final:
        schedule.step()
    late = AveragedModel(model)
    for average in (early, late):
        average.update_parameters(model)
    assert (early.module[0].epsilon, late.module[0].epsilon) == (1.0, 0.0)
    assert set_epsilon(early, 0) == ["module.0"]
    x = torch.randn(5, 2, 2)
    assert torch.equal(early(x)[0], late(x)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"total_steps": 0}, "`total_steps` must be at least 1, got 0"),
        ({"hold": 0.5, "ramp": 0.6}, "`hold` and `ramp` must sum to at most 1, got 1.1"),
        ({"hold": 0.5, "ramp": 0.4, "wait": True}, "`hold` and `ramp` must sum to at most 0.8 where `wait` is true"),
        ({"ramp": 0.0}, r"`ramp` must be in \(0, 1\], got 0.0"),
        ({"window": 0}, "`window` must be at least 1, got 0"),
    ],
)
def test_a_schedule_that_cannot_be_is_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        EpsilonSchedule(BMRU(2, 3), **{"total_steps": 100} | options)


def test_a_schedule_that_waits_must_be_given_a_finite_loss():
    schedule = EpsilonSchedule(BMRU(2, 3), 100, wait=True)
    with pytest.raises(TypeError, match="`loss` must be given to a schedule with `wait`, got None"):
        schedule.step()
    with pytest.raises(ValueError, match="`loss` must be finite, got nan"):
        schedule.step(math.nan)
    assert schedule.last_step == 0


@pytest.mark.parametrize("kind", [BMRU, BMRUCell, AlphaBMRU])
def test_weights_loaded_under_another_epsilon_warn(kind, tmp_path):
    source, target = nn.ModuleList([kind(2, 3, epsilon=0.5)]), nn.ModuleList([kind(2, 3)])
    assert not [key for key in source.state_dict() if "epsilon" in key]
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    with pytest.warns(UserWarning, match=rf"saved at an epsilon of 0.5 were loaded into 0, {kind.__name__}, whose"):
        target.load_state_dict(weights)
    set_epsilon(target, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target.load_state_dict(weights)
        kind(2, 3).load_state_dict(dict(kind(2, 3, epsilon=0.5).state_dict()))  # plain tensors note nothing


def test_a_cumulative_unit_annealed_to_zero_loads_into_a_bistable_one():
    trained = CMRU(2, 3)
    with pytest.warns(UserWarning, match="saved at an epsilon of 1 were loaded into BMRU, whose epsilon is 0"):
        BMRU(2, 3).load_state_dict(trained.state_dict())
    trained.epsilon = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BMRU(2, 3).load_state_dict(trained.state_dict())
