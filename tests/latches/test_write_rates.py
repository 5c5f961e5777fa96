"""Initialisation by write rates: no dead channels, for every latch and every kind of input; layer after layer."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from remanent import BMRU, GRU, UNITS, BMRUCell, ModelConfig, SequenceModel, set_epsilon, set_write_rates
from remanent._rates import band, threshold_bias
from remanent.ops import row_linear
from remanent.units import LatchRecurrence, RecurrentUnit
from unit_cases import kind

LATCHES = [name for name in UNITS if kind(name).latches]
B, T, M, D = 20, 40, 6, 16


def events():
    return torch.where(torch.rand(B, T, 1) < 0.02, torch.randn(B, T, M), 0.0)


INPUTS = {
    "normal": lambda: torch.randn(B, T, M),
    "unit": lambda: torch.rand(B, T, M),
    "bytes": lambda: torch.randint(256, (B, T, M)).float(),
    "one-hot": lambda: nn.functional.one_hot(torch.randint(M, (B, T)), M).float(),
    "events": events,
}


def make(name, layers=3, **options):
    torch.manual_seed(0)
    return UNITS[name](M, D, num_layers=layers, batch_first=True, **options)


def written(unit, x):
    """Where each layer's steps write, and to which side, with what the layer before it gives."""
    seen = []

    def look(layer, p, given):
        z = unit.recurrence.writes(p, given)
        up = (given @ p["weight_ih"][:D].T + p["bias_ih"][:D]) >= p.get("threshold_low", torch.zeros(())) + 1e-6
        seen.append((z.flatten(0, 1), (z & up).flatten(0, 1)))

    with torch.no_grad(), unit.register_layer_hook(look):
        unit(x)
    return seen


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("name", LATCHES)
def test_no_channel_is_dead(name, inputs):
    unit = make(name)
    x = INPUTS[inputs]()
    found = set_write_rates(unit, x)
    assert [layer.name for layer in found] == ["l0", "l1", "l2"]
    for layer, (z, up) in zip(found, written(unit, x), strict=True):
        rate = z.double().mean(0)
        assert torch.equal(rate, layer.after)
        assert (rate > 0).all()
        assert (rate < 1).all()
        assert up.any(0).all()
        assert (z & ~up).any(0).all()


@pytest.mark.parametrize("name", LATCHES)
def test_rates_are_those_asked_for_where_inputs_allow_it(name):
    unit = make(name, layers=1)
    (found,) = set_write_rates(unit, torch.randn(B, 200, M), low=0.01, high=0.4)
    off = (found.after / found.wanted - 1).abs()
    assert off.max() < 0.5  # a channel that the rate would write to one side alone
    assert off.median() < 0.02
    assert found.wanted[0].item() == pytest.approx(0.01 * 40 ** (0.5 / D))
    assert found.wanted[-1].item() == pytest.approx(0.4 / 40 ** (0.5 / D))
    (again,) = set_write_rates(unit, torch.randn(B, 200, M), low=0.01, high=0.4)
    torch.testing.assert_close(again.before, found.after, rtol=0.6, atol=0.01)


def test_the_lowest_rate_is_one_write_in_a_sequence():
    (found,) = set_write_rates(make("bmru", layers=1), torch.randn(B, T, M))
    assert found.wanted[0].item() == pytest.approx(1 / T * (T / 2) ** (0.5 / D))


def test_equal_modules_and_batches_get_equal_bits_and_nothing_else_changes():
    x, generator = torch.randn(B, T, M), torch.get_rng_state()
    first, second = (make("bmru", epsilon=0.7, dropout=0.5).train() for _ in range(2))
    torch.set_rng_state(generator)
    before = {key: value.clone() for key, value in first.state_dict().items()}
    for unit in (first, second):
        set_write_rates(unit, x)
        assert unit.training
        assert unit.epsilon == 0.7
        assert not unit._layer_hooks
    assert torch.equal(torch.get_rng_state(), generator)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
        assert torch.equal(value, before[key]) == (not key.startswith("bias"))


def test_a_model_is_set_layer_after_layer_in_both_units_of_a_hybrid():
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(M, 2, hidden_size=16, unit="bmru+lru,cmru", num_layers=4, dropout=0.5))
    set_epsilon(model, 1.0)
    found = set_write_rates(model, torch.rand(B, T, M))
    assert [layer.name for layer in found] == [f"blocks.{i}.layer.units.0.l0" for i in range(4)]
    assert all(((layer.after > 0) & (layer.after < 1)).all() for layer in found)
    assert model.epsilon == 1


class Stepped(nn.Module):
    """A cell in a loop, and a unit that runs twice."""

    def __init__(self):
        super().__init__()
        self.cell, self.unit = BMRUCell(M, D), BMRU(D, D, batch_first=True, bidirectional=True)
        self.join = nn.Linear(2 * D, D)

    def forward(self, x, scale):
        h, outputs = None, []
        for x_t in x.unbind(1):
            h = self.cell(scale * x_t, h)
            outputs.append(h)
        y, _ = self.unit(torch.stack(outputs, 1))
        return self.unit(self.join(y))


def test_cells_and_units_that_run_several_times_are_set_on_all_their_inputs():
    torch.manual_seed(0)
    found = set_write_rates(Stepped(), (torch.rand(B, T, M), 3.0))
    assert [layer.name for layer in found] == ["cell", "unit.l0", "unit.l0_reverse"]
    assert found[0].wanted[0].item() == pytest.approx(1 / T * (T / 2) ** (0.5 / D))
    assert found[1].wanted[0].item() == pytest.approx(1 / (2 * T) * T ** (0.5 / D))
    for layer in found:
        assert ((layer.after > 0) & (layer.after < 1)).all()


def test_an_alpha_of_the_input_and_other_parameters_stay():
    unit = make("alpha_bmru", layers=1)
    set_write_rates(unit, torch.rand(B, T, M))
    assert torch.equal(unit.bias_ih_l0[2 * D :], torch.ones(D))


def test_the_bias_of_a_threshold_is_the_one_that_its_rate_asks_for():
    """By trying all: candidates and thresholds of few values, and the best count on either side of it."""
    torch.manual_seed(0)
    c, t = torch.randint(-3, 4, (50, 4)).double(), torch.randint(-2, 3, (50, 4)).double()
    rates = torch.tensor([0.05, 0.2, 0.4, 0.6])
    b = threshold_bias(c, t, rates)
    tried = torch.arange(-8.125, 8, 0.25, dtype=torch.float64)
    z = c.abs()[..., None] >= (t[..., None] + tried).abs()
    both = (z & (c[..., None] >= 0)).any(0) & (z & (c[..., None] < 0)).any(0)
    counts = torch.where(both, z.double().mean(0), 0)
    chosen = (c.abs() >= (t + b).abs()).double().mean(0)
    for channel in range(4):
        possible = counts[channel][(counts[channel] > 0) & (counts[channel] < 1)]
        best = (torch.logit(possible) - torch.logit(rates[channel].double())).abs().min()
        assert (torch.logit(chosen[channel]) - torch.logit(rates[channel].double())).abs() <= best + 1e-9


def test_a_band_leaves_half_of_the_rate_on_either_side():
    values = torch.arange(100.0)[:, None].repeat(1, 2)
    low, high = band(values, torch.tensor([0.2, 0.5]))
    assert low.tolist() == [9.5, 24.5]
    assert high.tolist() == [89.5, 74.5]


@pytest.mark.parametrize(
    ("module", "options", "error", "message"),
    [
        (BMRU(M, D), {"high": 1.0}, ValueError, r"`high` must be in \(0, 1\), got 1.0"),
        (BMRU(M, D), {"low": 0.6}, ValueError, r"`low` must be in \(0, 0.5\], got 0.6"),
        (BMRU(M, D, bias=False), {}, ValueError, "`module` must have biases in its latches, got none in BMRU"),
        (GRU(M, D), {}, ValueError, "`module` must run a latch on `batch`, got none in GRU"),
        (3, {}, TypeError, "`module` must be a torch.nn.Module, got int"),
    ],
)
def test_what_cannot_be_set_is_rejected_before_anything_changes(module, options, error, message):
    with pytest.raises(error, match=message):
        set_write_rates(module, torch.randn(T, B, M), **options)


def test_a_bias_that_is_computed_is_rejected():
    with pytest.raises(ValueError, match="`bias_ih_l0` must be a parameter to be set, got a computed one in BMRU"):
        set_write_rates(weight_norm(BMRU(M, D), "bias_ih_l0"), torch.randn(T, B, M))
    assert set_write_rates(weight_norm(BMRU(M, D), "weight_ih_l0"), torch.randn(T, B, M))


@dataclass(eq=False)
class OffsetRecurrence(LatchRecurrence):
    """A latch that adds a bias of its own to its threshold, and has no other."""

    rate_parameters = ("offset",)

    def shapes(self, M, D, bias):
        return {"weight_ih": (2 * D, M), "alpha": (D,), "offset": (D,)}

    def initialise(self, p):
        super().initialise(p)
        p["offset"].fill_(1)

    def gates(self, p, x):
        candidate, threshold = row_linear(x, p["weight_ih"]).chunk(2, dim=-1)
        return (torch.cat([candidate, threshold + p["offset"]], dim=-1),)

    def set_write_rates(self, p, x, rates):
        p["offset"].zero_()
        gates = self.latch_gates(p, x)
        p["offset"].copy_(threshold_bias(gates.candidate, gates.threshold, rates))


class UndeclaredRecurrence(OffsetRecurrence):
    rate_parameters = ()


def own(recurrence):
    torch.manual_seed(0)
    return RecurrentUnit(recurrence, M, D, 1, False, True)


def test_a_latch_of_ones_own_declares_what_its_rates_set():
    (found,) = set_write_rates(own(OffsetRecurrence()), torch.randn(B, 200, M))
    torch.testing.assert_close(found.after, found.wanted, atol=0.01, rtol=0)
    with pytest.raises(TypeError, match="`rate_parameters` must be declared by the equations of RecurrentUnit, with"):
        set_write_rates(own(UndeclaredRecurrence()), torch.randn(B, 200, M))
    with pytest.raises(ValueError, match="`offset_l0` must be a parameter to be set, got a computed one in Recurr"):
        set_write_rates(weight_norm(own(OffsetRecurrence()), "offset_l0"), torch.randn(B, T, M))


def test_what_is_computed_in_a_band_is_rejected_too():
    unit = weight_norm(UNITS["fq_bmru"](M, D), "threshold_width_l0")
    with pytest.raises(ValueError, match="`threshold_width_l0` must be a parameter to be set, got a computed one"):
        set_write_rates(unit, torch.randn(T, B, M))
