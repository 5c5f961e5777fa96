"""Thresholds before any data are seen: the constructors' rates, and that no channel of a stack is dead."""

import importlib

import pytest
import torch

from remanent import BMRU, CELLS, FQBMRU, UNITS, ModelConfig
from remanent._rates import LEAST_SIDE, normal_threshold_bias, spaced_rates
from unit_cases import kind

LATCHES = [name for name in UNITS if kind(name).latches]
B, T, D = 32, 512, 64
STEPS = 40_000


def make(name, M, **options):
    torch.manual_seed(0)
    return UNITS[name](M, D, batch_first=True, **options).eval()


def candidate_and_middle(unit, p, x):
    """The candidate of each step, and the value that tells a write to one side from one to the other."""
    if kind("fq_bmru") is type(unit.recurrence):
        return unit.recurrence._candidate(p, x), p["threshold_low"] + p["threshold_width"] / 2
    return unit.recurrence.latch_gates(p, x).candidate, 0.0


def written(unit, x):
    """For every layer the shares of the steps that write each channel to the low and to the high side."""
    seen = []

    def look(layer, p, given):
        z = unit.recurrence.writes(p, given)
        candidate, middle = candidate_and_middle(unit, p, given)
        high = candidate >= middle
        seen.append(((z & ~high).double().mean((0, 1)), (z & high).double().mean((0, 1))))

    with torch.no_grad(), unit.register_layer_hook(look):
        unit(x)
    return seen


@pytest.mark.parametrize("M", [8, 64])
@pytest.mark.parametrize("name", LATCHES)
def test_no_channel_of_two_or_three_layers_is_dead(name, M):
    layers = written(make(name, M, num_layers=3), torch.randn(B, T, M))
    assert len(layers) == 3
    for low, high in layers:
        assert (low > 0).all()
        assert (high > 0).all()
        assert (low + high < 1).all()


@pytest.mark.parametrize(("M", "gate_norm"), [(1, "none"), (8, "none"), (64, "none"), (8, "batch"), (64, "batch")])
@pytest.mark.parametrize("name", LATCHES)
def test_rates_are_those_asked_for(name, M, gate_norm):
    """Above them where else one side would have no writes; below them where no threshold gives as many."""
    unit = make(name, M, gate_norm=gate_norm)
    ((low, high),) = written(unit, torch.randn(STEPS // B, B, M))
    wanted = spaced_rates(1 / 256, 1 / 2, D)
    ratio = (low + high) / wanted
    noise = 5 * (1 / (STEPS * wanted)).sqrt()
    if name == "fq_bmru":
        assert ((ratio - 1).abs() < noise).all()
        assert ((low - high).abs() < noise * wanted).all()
        return
    sure = M == 64
    assert ((ratio - 1).abs() < noise).double().mean() >= {1: 0.2, 8: 0.7, 64: 0.9}[M]
    side = torch.minimum(low, high) / wanted
    raised = ratio > 1 + noise
    assert (side[raised] < LEAST_SIDE * (1 + 8 * noise[raised])).all()
    if sure:
        assert (ratio > 0.9).all()
        assert (ratio < 2).all()


@pytest.mark.parametrize("name", LATCHES)
def test_thresholds_are_computed_once_a_layer(name, monkeypatch):
    spans = []
    for module, function in (("set_or_hold", "span_threshold_bias"), ("fq_bmru", "span_bands")):
        place = f"remanent.units.latching.{module}"
        found = getattr(importlib.import_module(place), function)

        def counted(p, *options, found=found):
            spans.extend(option for option in options if option in (64, 8, 2))
            return found(p, *options)

        monkeypatch.setattr(f"{place}.{function}", counted)
    UNITS[name](4, 5, num_layers=3, write_span=64)
    assert spans == [64, *[2 if kind(name)().sums_in_order else 8] * 2]
    CELLS[name](4, 5, write_span=64)
    assert spans[3:] == [64]


def test_a_later_layer_has_the_root_of_the_span():
    unit = make("bmru", 64, num_layers=2)
    with torch.no_grad():
        x = torch.randn(4000, 64)
        written = unit.recurrence.writes(unit._params("_l1"), x)
    torch.testing.assert_close(written.double().mean(0), spaced_rates(1 / 16, 1 / 2, D), rtol=0.35, atol=0)


@pytest.mark.parametrize("name", LATCHES)
def test_none_is_the_start_of_thresholds_of_one_with_the_same_draws(name):
    plain, spanned = (make(name, 3, num_layers=2, initial_state="learned", write_span=span) for span in (None, 256))
    after = torch.get_rng_state()
    make(name, 3, num_layers=2, initial_state="learned", write_span=None)
    assert torch.equal(torch.get_rng_state(), after)
    own = "threshold_width" if name == "fq_bmru" else "bias"
    for key, value in plain.state_dict().items():
        assert torch.equal(value, spanned.state_dict()[key]) == (not key.startswith((own, "bias")))
    if name == "fq_bmru":
        assert plain.bias_ih_l1.tolist() == [1.5] * D
        assert plain.threshold_width_l1.tolist() == [2.0] * D
    else:
        assert plain.bias_ih_l1[:D].tolist() == [0.0] * D
        assert plain.bias_ih_l1[D:].eq(1).all()
    assert spanned.bias_ih_l1[2 * D :].eq(1).all()


@pytest.mark.parametrize("gate_norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("name", LATCHES)
def test_one_channel_one_feature_no_biases_and_any_dtype(name, gate_norm):
    for M, size in ((1, 1), (3, 1), (1, 3)):
        for dtype in (torch.float64, torch.bfloat16, torch.float16):
            unit = UNITS[name](M, size, num_layers=2, gate_norm=gate_norm, dtype=dtype)
            assert all(value.isfinite().all() for value in unit.state_dict().values())
    bare = UNITS[name](3, 4, bias=False, gate_norm=gate_norm, write_span=16).state_dict()
    assert not any(key.startswith("bias") for key in bare)
    if name == "fq_bmru":
        assert bare["threshold_width_l0"].tolist() == [2.0] * 4
    with torch.device("meta"):
        assert UNITS[name](3, 4, num_layers=2, gate_norm=gate_norm).weight_ih_l0.is_meta


@pytest.mark.parametrize("name", LATCHES)
def test_a_cell_begins_as_the_first_layer_of_its_unit(name):
    torch.manual_seed(0)
    cell = CELLS[name](5, D, write_span=32)
    unit = make(name, 5, write_span=32)
    for key, value in cell.state_dict().items():
        assert torch.equal(value, unit.state_dict()[f"{key}_l0"])
    assert "write_span=32" in repr(cell)


def test_running_statistics_begin_with_those_expected():
    bmru, fq = make("bmru", 5, gate_norm="batch"), make("fq_bmru", 5, num_layers=2, gate_norm="batch")
    assert bmru.gate_mean_l0.eq(0).all()
    torch.testing.assert_close(bmru.gate_variance_l0, bmru.weight_ih_l0.square().sum(1))
    torch.testing.assert_close(fq.gate_mean_l1, fq.weight_ih_l1.sum(1) / 2)
    torch.testing.assert_close(fq.gate_variance_l1, fq.weight_ih_l1.square().sum(1) / 4)


def test_the_bias_of_a_normal_threshold_is_the_largest_with_the_probability():
    """By counting: pairs of sizes and correlations, from independent to determined by each other."""
    torch.manual_seed(0)
    var_c, var_t, correlation = torch.cartesian_prod(
        torch.tensor([0.25, 1.0]), torch.tensor([0.0, 0.25, 1.0]), torch.tensor([-0.8, 0.0, 0.5])
    ).T.double()
    covariance = correlation * (var_c * var_t).sqrt()
    rates = torch.full_like(var_c, 0.1)
    b = normal_threshold_bias(var_c, var_t, covariance, rates)
    z = torch.randn(2, 50_000, 1, dtype=torch.float64)
    c = var_c.sqrt() * z[0]
    t = var_t.sqrt() * (correlation * z[0] + (1 - correlation**2).sqrt() * z[1])

    def counted(bias):
        z = c.abs() >= (t + bias).abs()
        low, high = (z & (c < 0)).double().mean(0), (z & (c >= 0)).double().mean(0)
        return low + high, torch.minimum(low, high)

    rate, side = counted(b)
    assert (rate > 0.095).all()
    assert ((rate < 0.105) | (side < 1.2 * LEAST_SIDE * 0.1)).all()
    assert ((rate - 0.1).abs() < 0.005).sum() == 11
    for more in (0.2, 0.5, 1.0, 2.0):
        rate, side = counted(b + more)
        assert ((rate < 0.1) | (side < LEAST_SIDE * 0.1)).all()
    assert normal_threshold_bias(var_c, var_t, covariance, torch.full_like(var_c, 0.99))[7] == 0  # none gives as much


@pytest.mark.parametrize(
    "make_it", [BMRU, FQBMRU, CELLS["cmru"], lambda *s, write_span: ModelConfig(*s, write_span=write_span)]
)
@pytest.mark.parametrize(
    ("write_span", "error", "rule"),
    [
        (0, ValueError, "at least 2, got 0"),
        (-3, ValueError, "at least 2, got -3"),
        (1, ValueError, "at least 2, got 1"),
        (True, TypeError, "an int or None, got True"),
        (16.0, TypeError, "an int or None, got 16.0"),
        ("16", TypeError, "an int or None, got '16'"),
    ],
)
def test_a_span_that_is_none_is_rejected(make_it, write_span, error, rule):
    with pytest.raises(error, match=f"`write_span` must be {rule}"):
        make_it(3, 4, write_span=write_span)
