"""Loops: a hand-built cell gives exactly its own; a memory that fades has one branch, a multistable one two."""

import pytest
import torch

from remanent import BMRU, GRU, LRU, AlphaCMRU, MinGRU
from remanent.analysis import hysteresis_curve, input_loop


@pytest.mark.parametrize(("beta", "alpha"), [(0.5, 0.25), (-0.5, 0.25), (2.0, -3.0)])
def test_a_hand_built_cell_gives_exactly_its_loop(beta, alpha):
    unit = BMRU(1, 2)
    with torch.no_grad():
        unit.bias_ih_l0.copy_(torch.tensor([0.0, 0.0, 9.0, beta]))
        unit.alpha_l0.copy_(torch.tensor([9.0, alpha]))
    candidate, state, threshold = hysteresis_curve(unit, 1, points=101)
    assert threshold == abs(beta)
    up, down = state[:101], state[101:]
    assert torch.equal(up, torch.where(candidate[:101] >= abs(beta), alpha, -alpha))
    assert torch.equal(down, torch.where(candidate[101:] <= -abs(beta), -alpha, alpha))
    assert candidate.abs().max() == 1.6 * abs(beta)


def test_a_latch_whose_size_is_a_gate_has_a_loop_too():
    unit = AlphaCMRU(1, 1)
    with torch.no_grad():
        unit.bias_ih_l0.copy_(torch.tensor([0.0, 1.0, 2.0]))
    unit.epsilon = 0.0
    _candidate, state, threshold = hysteresis_curve(unit, 0, points=11)
    assert (threshold, state.unique().tolist()) == (1.0, [-2.0, 2.0])


def test_a_slow_sweep_of_the_input_has_two_branches_where_the_unit_is_bistable():
    torch.manual_seed(0)
    latch = BMRU(2, 4)
    with torch.no_grad():
        latch.weight_ih_l0[4:] = 0
    direction = 3 * latch.weight_ih_l0[1].detach() / latch.weight_ih_l0[1].detach().square().sum()
    s, y = input_loop(latch, 1, direction, points=61)
    up, down = y[:61], y[61:].flip(0)
    assert torch.equal(s[:61], s[61:].flip(0))
    assert up[0] == down[0] == -1
    assert up[-1] == down[-1] == 1
    assert (up != down).sum() > 5
    for unit in (LRU(2, 4), MinGRU(2, 4), GRU(2, 4)):
        _, y = input_loop(unit, 1, direction, points=11, hold=5000)
        assert torch.allclose(y[:11], y[11:].flip(0), atol=1e-4), type(unit)


def test_bad_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match=r"`channel` must be in \[0, D=2\), got 2"):
        hysteresis_curve(BMRU(1, 2), 2)
    with pytest.raises(ValueError, match="`span` must be above 1, got 1"):
        hysteresis_curve(BMRU(1, 2), 0, span=1)
    with pytest.raises(ValueError, match="`points` must be at least 2, got 1"):
        hysteresis_curve(BMRU(1, 2), 0, points=1)
    with pytest.raises(TypeError, match="`unit` must run a latch's scan, as BMRU, CMRU and AlphaCMRU do, got LRU"):
        hysteresis_curve(LRU(1, 2), 0)
    with pytest.raises(TypeError, match="`unit` must be a RecurrentUnit, got Linear"):
        input_loop(torch.nn.Linear(1, 1), 0, torch.ones(1))
    with pytest.raises(ValueError, match=r"`direction` must be a tensor of shape \(M=1,\), got \(2,\)"):
        input_loop(BMRU(1, 2), 0, torch.ones(2))
    with pytest.raises(ValueError, match="`hold` must be at least 1, got 0"):
        input_loop(BMRU(1, 2), 0, torch.ones(1), hold=0)
