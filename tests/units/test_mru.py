"""The unit of K states: its start, its first logits, what its tables do, and states that are not one-hot."""

import pytest
import torch

from remanent import MRU, MRUCell


def cycle(**options):
    """One head of three states, of which a positive input goes to the next, and another one to the first."""
    unit = MRU(1, 3, batch_first=True, bias=False, num_states=3, num_tracers=1, **options)
    with torch.no_grad():
        unit.weight_ih_l0.fill_(-1)
        for j in range(3):
            unit.weight_ih_l0[3 * j + (j + 1) % 3] = 1
    return unit


def test_a_table_moves_the_state_and_the_lowest_of_equal_logits_is_chosen():
    x = torch.tensor([1.0, 1, 1, 1, 0, 1])[None, :, None]
    assert cycle()(x)[0].argmax(2).tolist() == [[1, 2, 0, 1, 0, 1]]


def test_it_starts_tracer_by_tracer_through_the_states():
    held = torch.full((1, 1, 1), -1.0)
    for R, places in ((None, [0, 1, 2] * 2), (1, [0, 1]), (2, [0, 1, 2, 0])):
        unit = MRU(1, 3 * len(places), num_states=3, num_tracers=R)
        start = unit.recurrence.start(unit._params("_l0"))
        assert start.unflatten(0, (-1, 3)).argmax(1).tolist() == places
        assert torch.equal(unit(held, torch.zeros(1, 1, unit.hidden_size))[1], unit(held, start[None, None])[1])
        assert torch.equal(unit(held)[1], unit(held, start[None, None])[1])


@pytest.mark.parametrize("bias", [True, False])
def test_logits_have_a_standard_deviation_of_4_at_first(bias):
    torch.manual_seed(0)
    for M in (1, 8, 300):
        unit = MRU(M, 160, bias=bias)
        logits = unit.recurrence.gates(unit._params("_l0"), torch.randn(400, M))[0]
        assert logits.std().item() == pytest.approx(4, rel=0.1)
        assert logits.shape == (400, 160)


def test_a_state_that_is_not_one_hot_is_refused_by_name_where_epsilon_is_0():
    unit, cell, x = MRU(2, 16), MRUCell(2, 16), torch.randn(5, 3, 2)
    h = unit(x)[1]
    for bad in (torch.full_like(h, 0.25), -h, 2 * h, h + h.roll(1, 2), torch.full_like(h, torch.nan)):
        rule = (
            "must be one-hot in each 4 numbers where `epsilon` is 0, or zeros for the start, got .* for tracer 0 of row"
        )
        with pytest.raises(ValueError, match=f"`hx` {rule}"):
            unit(x, bad)
        with pytest.raises(ValueError, match=rf"`h` \(`hx` of a cell\) {rule}"):
            unit.step(x[0], bad)
        with pytest.raises(ValueError, match=rf"`h` \(`hx` of a cell\) {rule}"):
            cell(x[0], bad[0])
        reset = torch.zeros(3, 5, dtype=torch.bool)
        reset[1, 2] = True
        with pytest.raises(ValueError, match=f"`reset_state` {rule}"):
            unit(x, reset=reset, reset_state=bad[:, :, None].expand(-1, -1, 5, -1))
    unit.epsilon = cell.epsilon = 0.5
    assert torch.equal(unit(x, h / 2)[0], unit(x, h)[0] / 2)
    assert torch.equal(cell(x[0], h[0] / 2), cell(x[0], h[0]) / 2)


def test_only_matrices_of_logits_are_kept_from_weight_decay():
    unit = MRU(2, 16, num_layers=2, bidirectional=True)
    assert [id(p) for p in unit.undecayed()] == [id(p) for p in unit.parameters() if p.dim() == 2]


@pytest.mark.parametrize("epsilon", [0.0, 0.4, 1.0])
def test_a_hard_readout_is_the_most_probable_state_with_the_gradient_of_the_states(epsilon):
    torch.manual_seed(0)
    options = {"num_states": 3, "num_tracers": 2, "epsilon": epsilon, "batch_first": True}
    soft, hard = MRU(2, 12, **options).double(), MRU(2, 12, hard_readout=True, **options).double()
    hard.load_state_dict(soft.state_dict())
    x, weight = torch.randn(2, 7, 2, dtype=torch.float64), torch.randn(2, 7, 12, dtype=torch.float64)
    (states, last), (read, kept) = soft(x), hard(x)
    assert torch.equal(kept, last)
    places = states.unflatten(2, (4, 3)).argmax(3)
    assert torch.equal(read, torch.nn.functional.one_hot(places, 3).flatten(2).double())
    assert torch.equal(read, states) is (epsilon == 0)
    (states * weight).sum().backward()
    (read * weight).sum().backward()
    assert torch.equal(hard.weight_ih_l0.grad, soft.weight_ih_l0.grad)
    h, steps = None, []
    for x_t in x.unbind(1):
        y_t, h = hard.step(x_t, h)
        steps.append(y_t)
    assert torch.equal(torch.stack(steps, 1), read)
    with pytest.raises(TypeError, match="`hard_readout` must be"):
        MRU(2, 12, num_states=3, num_tracers=2, hard_readout=1)
