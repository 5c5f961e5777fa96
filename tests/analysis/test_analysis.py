"""Measures: a hand-built cell gives exactly its loop, a trajectory is the unit's own states."""

import pytest
import torch

from remanent import BMRU, ModelConfig, SequenceModel
from remanent.analysis import hysteresis_curve, state_trajectory


def test_a_hand_built_cell_gives_exactly_its_loop():
    unit = BMRU(1, 2)
    with torch.no_grad():
        unit.bias_ih_l0.copy_(torch.tensor([0.0, 0.0, 9.0, -0.5]))
        unit.alpha_l0.copy_(torch.tensor([9.0, 0.25]))
    candidate, state, threshold = hysteresis_curve(unit, 1, points=101)
    assert threshold == 0.5
    up, down = state[:101], state[101:]
    assert torch.equal(up, torch.where(candidate[:101] >= 0.5, 0.25, -0.25))
    assert torch.equal(down, torch.where(candidate[101:] <= -0.5, -0.25, 0.25))


def test_a_trajectory_is_what_the_unit_puts_out():
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(3, 2, hidden_size=8, unit="bmru+lru", norm="none"))
    x = torch.randn(2, 11, 3)
    states = state_trajectory(model, x)
    expected, _ = model.blocks[0].layer.units[0](model.encoder(x))
    assert torch.equal(states, expected)
    assert state_trajectory(model, x, block=1, unit=1).shape == (2, 11, 4)
    assert not model.blocks[0].layer.units[0]._forward_hooks


def test_bad_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match=r"`channel` must be in \[0, D=2\), got 2"):
        hysteresis_curve(BMRU(1, 2), 2)
    with pytest.raises(ValueError, match="`span` must be above 1, got 1"):
        hysteresis_curve(BMRU(1, 2), 0, span=1)
    model = SequenceModel(ModelConfig(3, 2, hidden_size=8))
    with pytest.raises(ValueError, match=r"`block` must be in \[0, 2\), got 2"):
        state_trajectory(model, torch.zeros(1, 1, 3), block=2)
