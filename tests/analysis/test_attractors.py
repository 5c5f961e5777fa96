"""Multistability: n latches hold 2^n states, a memory that fades one."""

import pytest
import torch

from remanent import BMRU, GRU, LRU, UNITS, Attention, MinGRU, ModelConfig, SequenceModel
from remanent.analysis import find_attractors, vaa
from unit_cases import sized


def latches(n):
    """Each channel's candidate is its own input, the threshold 1."""
    unit = BMRU(n, n, batch_first=True, write_span=None)
    with torch.no_grad():
        unit.weight_ih_l0.copy_(torch.cat([torch.eye(n), torch.zeros(n, n)]))
    return unit


def brute_force(states, tolerance=1e-4):
    n = len(states)
    near = [sum(((states[i] - states[j]).norm() < tolerance).item() for j in range(n)) for i in range(n)]
    return sum(1 / k for k in near) / n


@pytest.mark.parametrize("n", [1, 3, 6])
def test_n_latches_hold_two_to_the_n_states(n):
    every = torch.cartesian_prod(*[torch.tensor([-2.0, 2.0])] * n).reshape(2**n, 1, n)
    found = find_attractors(latches(n), every, torch.zeros(n), settle=5000)
    assert found.vaa == 1
    assert len(found.points) == 2**n
    assert torch.equal(found.states, every[:, 0].sign())
    assert torch.equal(found.basins, torch.ones(2**n, dtype=torch.int64))
    assert not found.movement.any()


def test_what_comes_often_counts_once():
    x = torch.tensor([2.0, -2.0, 2.0, 2.0]).reshape(4, 1, 1)
    found = find_attractors(latches(1), x, torch.zeros(1), settle=1)
    assert found.vaa == pytest.approx(0.5)
    assert torch.equal(found.points, torch.tensor([[1.0], [-1.0]]))
    assert torch.equal(found.basins, torch.tensor([3, 1]))
    assert torch.equal(found.labels, torch.tensor([0, 1, 0, 0]))


def test_vaa_is_its_definition():
    torch.manual_seed(0)
    states = torch.randint(3, (40, 2)).float() + 3e-5 * torch.randn(40, 2)
    assert vaa(states) == pytest.approx(brute_force(states), abs=1e-12)
    assert vaa(torch.zeros(7, 3)) == pytest.approx(1 / 7)


@pytest.mark.parametrize("unit", [LRU, MinGRU, GRU])
def test_a_memory_that_fades_has_one_attractor(unit):
    torch.manual_seed(0)
    found = find_attractors(unit(3, 8), torch.randn(20, 15, 3), torch.zeros(3))
    assert found.vaa == pytest.approx(1 / 20)
    assert len(found.points) == 1
    assert found.movement.max() < 1e-6


@pytest.mark.parametrize("name", list(UNITS))
def test_every_unit_can_be_measured(name):
    found = find_attractors(sized(UNITS, name, 2, 3), torch.randn(4, 5, 2), torch.zeros(2), settle=3)
    assert 0.25 <= found.vaa <= 1
    assert found.basins.sum() == 4


def test_a_model_is_measured_by_the_states_of_all_its_units():
    model = SequenceModel(ModelConfig(2, 1, hidden_size=8, unit="bmru+lru"))
    found = find_attractors(model, torch.randn(5, 9, 2), torch.zeros(2), settle=7)
    assert found.states.shape == (5, 2 * (4 + 2 * 4))
    tokens = SequenceModel(ModelConfig(4, 1, hidden_size=8, encoder="embedding"))
    assert find_attractors(tokens, torch.randint(4, (5, 9)), torch.tensor(0), settle=7).states.shape == (5, 16)


def test_bad_arguments_are_refused_by_name():
    unit, x = latches(2), torch.zeros(3, 4, 2)
    with pytest.raises(ValueError, match=r"`constant` must have shape \(2,\), as a step has, got \(1,\)"):
        find_attractors(unit, x, torch.zeros(1))
    with pytest.raises(ValueError, match="`settle` must be at least 1, got 0"):
        find_attractors(unit, x, torch.zeros(2), settle=0)
    with pytest.raises(ValueError, match="`tolerance` must be in"):
        find_attractors(unit, x, torch.zeros(2), settle=1, tolerance=0)
    with pytest.raises(ValueError, match=r"`states` must have shape \(n, W\) with n at least 1, got \(0, 2\)"):
        vaa(torch.zeros(0, 2))
    with pytest.raises(TypeError, match="`module` must be a RecurrentUnit or a SequenceModel, got Attention"):
        find_attractors(Attention(2, 4, num_heads=2), x, torch.zeros(2))
    with pytest.raises(ValueError, match="got a model with attention"):
        find_attractors(SequenceModel(ModelConfig(2, 1, unit="attention")), x, torch.zeros(2))
    with pytest.raises(ValueError, match="`module` must have one direction, got bidirectional=True"):
        find_attractors(BMRU(2, 2, bidirectional=True), x, torch.zeros(2))
    with pytest.raises(ValueError, match=r"`warm_up` must have shape \(B, T, M=2\), got \(3, 2\)"):
        find_attractors(unit, x[:, 0], torch.zeros(2))
    with pytest.raises(ValueError, match="`warm_up` must have a sequence and a step, got B=3 and T=0"):
        find_attractors(unit, x[:, :0], torch.zeros(2))
    with pytest.raises(TypeError, match=r"`states` must be a tensor of real numbers, got torch\.complex64"):
        vaa(torch.zeros(2, 2, dtype=torch.complex64))
    tokens = SequenceModel(ModelConfig(4, 1, hidden_size=8, encoder="embedding"))
    with pytest.raises(ValueError, match=r"`warm_up` must hold tokens in \[0, 4\), got 1 to 9"):
        find_attractors(tokens, torch.tensor([[1, 9]]), torch.tensor(0))


def test_a_state_that_is_not_finite_is_like_no_other():
    assert vaa(torch.full((3, 2), torch.nan)) == 1


def test_nothing_is_dropped_and_the_mode_is_left_as_it_was():
    model = SequenceModel(ModelConfig(2, 1, hidden_size=8, dropout=0.5))
    model.blocks[1].eval()
    x = torch.randn(5, 9, 2)
    found = [find_attractors(model, x, torch.zeros(2), settle=5).states for _ in range(2)]
    assert torch.equal(*found)
    assert model.training
    assert not model.blocks[1].training
