"""A trajectory is the unit's own states, whole or in chunks."""

import pytest
import torch

from remanent import ModelConfig, SequenceModel
from remanent.analysis import state_trajectory


@pytest.mark.parametrize("unit", ["bmru+lru", "bmru+attention"])
def test_a_trajectory_is_what_the_unit_puts_out(unit, monkeypatch):
    monkeypatch.setattr("remanent.analysis.trajectory.CHUNK", 4)
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(3, 2, hidden_size=8, unit=unit, norm="none", num_heads=2))
    x = torch.randn(2, 11, 3)
    states = state_trajectory(model, x)
    expected, _ = model.blocks[0].layer.units[0](model.encoder(x))
    assert torch.equal(states, expected)
    assert state_trajectory(model, x, block=1, unit=1).shape == (2, 11, 4)
    assert not model.blocks[0].layer.units[0]._forward_hooks


def test_bad_arguments_are_refused_by_name():
    model = SequenceModel(ModelConfig(3, 2, hidden_size=8))
    with pytest.raises(ValueError, match=r"`block` must be in \[0, 2\), got 2"):
        state_trajectory(model, torch.zeros(1, 1, 3), block=2)
    with pytest.raises(ValueError, match=r"`unit` must be in \[0, 1\), got 1"):
        state_trajectory(model, torch.zeros(1, 1, 3), unit=1)
