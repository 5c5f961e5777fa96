"""Measures of heads of K states: what they say of a machine that is known, and what asks for a latch rejects them."""

import math

import pytest
import torch

from built_models import flipping
from remanent import MRU, diagnose, set_write_rates
from remanent.analysis import (
    find_attractors,
    gradient_by_lag,
    hysteresis_curve,
    input_loop,
    memory_horizon,
    state_trajectory,
    write_statistics,
)
from remanent.models.imprecise import perturbed, quantized
from remanent.tasks import Parity
from remanent.training import evaluate


def letters(value):
    """Noise that says one letter."""
    return lambda B, T, generator: torch.full((B, T), value)


def stairs():
    """One head of three states in a row: an input above 1/2 goes up by one, one of -1/2 or less goes down by one."""
    unit = MRU(1, 3, num_states=3, num_tracers=1)
    with torch.no_grad():
        weight, bias = (p.zero_().view(3, 3) for p in (unit.weight_ih_l0, unit.bias_ih_l0))
        bias.copy_(torch.eye(3) / 2)
        weight.copy_(torch.eye(3).roll(1, 1).triu() - torch.eye(3).roll(-1, 1).tril())
    return unit


def test_a_head_that_flips_has_two_attractors_and_comes_to_no_rest_while_it_flips():
    model, words = flipping(), torch.tensor([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]])
    held = find_attractors(model, words, torch.tensor(0), settle=20)
    assert (held.vaa, held.basins.tolist(), held.labels.tolist()) == (0.5, [2, 2], [0, 1, 0, 1])
    assert held.movement.max() == 0
    assert torch.equal(state_trajectory(model, words)[..., 1], (words.cumsum(1) % 2).double())
    flipped = find_attractors(model, words, torch.tensor(1), settle=20)
    assert flipped.movement.tolist() == [math.sqrt(2)] * 4


def test_a_letter_is_kept_while_the_head_holds():
    model, letter = flipping(), torch.tensor([0, 1])
    for read in ("units", "answer"):
        assert memory_horizon(model, letter, letters(0), read=read, sequences=2, cap=5000).tolist() == [5000, 5000]
        assert memory_horizon(model, letter, letters(1), read=read, sequences=2).tolist() == [1, 1]


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_a_gradient_passes_permutations_undamped_and_fades_where_they_are_soft(epsilon):
    model, x = flipping(), torch.randint(2, (2, 300))
    model.set_epsilon(epsilon)
    lags, norms = gradient_by_lag(model, x, [1, 10, 299], loss=lambda y: y[:, 1])
    soft = torch.softmax(torch.tensor([1.0, 0.0]).double(), 0)
    share = (soft[0] - soft[1]) ** lags if epsilon else torch.ones(3).double()  # of the eigenvalue beside 1
    torch.testing.assert_close(norms, ((1 + share) ** 2 / 4 + (1 - share) ** 2 / 4).sqrt())


def test_a_sweep_of_the_input_shows_as_many_branches_as_it_takes_ways():
    s, y = input_loop(stairs(), 2, torch.ones(1), points=5)
    assert s[:5].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert y.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0, 0]  # of equal logits at 1/2 and -1/2, the lower state's counts


@pytest.mark.parametrize(
    ("measure", "error", "message"),
    [
        (
            lambda unit, x: hysteresis_curve(unit, 0),
            TypeError,
            "`unit` must run a latch's scan, .* got MRU; see `input_l",
        ),
        (write_statistics, ValueError, "`module` must have latches, which set and hold, got none in MRU"),
        (diagnose, ValueError, "`module` must run a latch on `batch`, got none in MRU"),
        (set_write_rates, ValueError, "`module` must run a latch on `batch`, got none in MRU"),
    ],
)
def test_what_counts_writes_rejects_heads_by_name(measure, error, message):
    with pytest.raises(error, match=message):
        measure(stairs(), torch.randn(5, 2, 1))


@pytest.mark.parametrize(
    "disturb",
    [
        lambda model: perturbed(model, 0.15, torch.Generator().manual_seed(0)),
        *(lambda m, b=b: quantized(m, b) for b in (8, 2)),
    ],
)
def test_a_machine_does_not_change_where_its_logits_are_disturbed_a_little(disturb):
    model, task = flipping(torch.float32), Parity(steps=100)
    assert evaluate(disturb(model), task, examples=20) == evaluate(model, task, examples=20) == 1
