"""Write statistics: counted against a loop over every step; dead channels are found; nothing stays behind."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from remanent import BMRU, FQBMRU, LRU, UNITS, ModelConfig, SequenceModel
from remanent.analysis import write_statistics, write_watch


def slow(z):
    """Rates, mean intervals and their histogram, channel by channel."""
    B, T, D = z.shape
    histogram, means = [0] * 32, []
    for d in range(D):
        gaps = []
        for b in range(B):
            at = [t for t in range(T) if z[b, t, d]]
            gaps += [right - left for left, right in itertools.pairwise(at)]
        for gap in gaps:
            histogram[gap.bit_length() - 1] += 1
        means.append(sum(gaps) / len(gaps) if gaps else math.nan)
    return z.double().mean((0, 1)), torch.tensor(means, dtype=torch.float64), torch.tensor(histogram)


def test_they_are_counted_as_a_loop_counts_them(monkeypatch):
    torch.manual_seed(0)
    unit = BMRU(2, 6, batch_first=True)
    with torch.no_grad():
        unit.bias_ih_l0[6:] = torch.tensor([0.1, 0.5, 1.0, 1.5, 1e9, 0.0])
        unit.weight_ih_l0[10:] = 0
    x = torch.randn(3, 200, 2)
    gates = x @ unit.weight_ih_l0.T + unit.bias_ih_l0
    rate, interval, histogram = slow(gates[..., :6].abs() >= gates[..., 6:].abs())
    for chunk in (4096, 7):
        monkeypatch.setattr("remanent.analysis.writes.CHUNK", chunk)
        (found,) = write_statistics(unit, x)
        assert found.name == "l0"
        assert torch.equal(found.rate, rate)
        assert torch.equal(found.intervals, histogram)
        torch.testing.assert_close(found.interval, interval, rtol=1e-12, atol=0, equal_nan=True)
    assert found.never.tolist() == [False] * 4 + [True, False]
    assert found.always.tolist() == [False] * 5 + [True]
    assert found.dead.sum() == 2


@pytest.mark.parametrize("name", ["bmru", "alpha_bmru", "cmru", "alpha_cmru", "fq_bmru"])
def test_a_state_changes_only_where_it_is_written(name):
    torch.manual_seed(0)
    unit = UNITS[name](3, 5, num_layers=2, batch_first=True)
    seen = {}
    with write_watch(unit, lambda layer, z: seen.setdefault(layer, z)):
        y, _ = unit(torch.randn(2, 80, 3))
    assert list(seen) == ["l0", "l1"]
    held = ~seen["l1"][:, 1:]
    assert held.any()
    assert torch.equal(y[:, 1:][held], y[:, :-1][held])
    seen.clear()
    unit(torch.randn(2, 80, 3))
    assert not seen


def test_a_model_names_its_layers_and_passes_others_over():
    model = SequenceModel(ModelConfig(2, 1, hidden_size=8, unit="bmru+lru"))
    names = [writes.name for writes in write_statistics(model, torch.randn(2, 30, 2))]
    assert names == ["blocks.0.layer.units.0.l0", "blocks.1.layer.units.0.l0"]
    before = model(torch.ones(1, 5, 2))[0]
    assert torch.equal(before, model(torch.ones(1, 5, 2))[0])


@pytest.mark.parametrize("parametrized", [weight_norm, spectral_norm])
def test_a_layer_is_known_by_its_name_under_a_parametrization(parametrized):
    torch.manual_seed(0)
    unit = BMRU(3, 5, num_layers=2, batch_first=True).eval()
    parametrized(unit, "weight_ih_l0")
    parametrized(unit, "weight_ih_l1")
    x = torch.randn(2, 60, 3)
    names = [writes.name for writes in write_statistics(unit, x)]
    assert names == ["l0", "l1"]
    seen = {}
    with write_watch(unit, seen.__setitem__):
        unit(x)
    gates = x @ unit.weight_ih_l0.T + unit.bias_ih_l0
    assert torch.equal(seen["l0"], gates[..., :5].abs() >= gates[..., 5:].abs())


def test_watches_of_nested_modules_see_the_same_and_leave_one_by_one():
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(2, 1, hidden_size=8, unit="bmru"))
    whole = nn.ModuleDict({"left": model, "right": BMRU(2, 3, batch_first=True)})
    x = torch.randn(2, 20, 2)
    outer, inner, again = {}, {}, {}
    with write_watch(whole, outer.__setitem__):
        with write_watch(model, inner.__setitem__), write_watch(model, again.__setitem__):
            model(x)
        assert list(outer) == [f"left.{name}" for name in inner]
        assert all(torch.equal(outer[f"left.{name}"], z) and torch.equal(again[name], z) for name, z in inner.items())
        inner.clear()
        outer.clear()
        model(x)
        whole["right"](x)
        assert list(outer) == ["left.blocks.0.layer.units.0.l0", "left.blocks.1.layer.units.0.l0", "right.l0"]
    assert not inner
    outer.clear()
    whole["right"](x)
    assert not outer


def test_a_checkpointed_layer_is_seen_once_and_a_step_as_one():
    torch.manual_seed(0)
    unit = BMRU(2, 3, num_layers=2, batch_first=True, checkpoint=True)
    seen = []
    with write_watch(unit, lambda layer, z: seen.append((layer, tuple(z.shape)))):
        unit(torch.randn(4, 6, 2))[0].sum().backward()
        unit.step(torch.randn(4, 2))
    assert seen == [("l0", (4, 6, 3)), ("l1", (4, 6, 3)), ("l0", (4, 1, 3)), ("l1", (4, 1, 3))]


def test_each_direction_is_seen_under_its_own_name():
    unit = BMRU(2, 3, batch_first=True, bidirectional=True)
    x = torch.randn(1, 6, 2)
    seen = {}
    handle = unit.register_layer_hook(lambda layer, p, x: seen.update({layer: (sorted(p), x)}))
    unit(x)
    assert list(seen) == ["l0", "l0_reverse"]
    assert torch.equal(seen["l0"][1], x)
    assert torch.equal(seen["l0_reverse"][1], x.flip(1))
    assert "weight_ih" in seen["l0"][0]
    handle.remove()
    seen.clear()
    unit(x)
    assert not seen


def test_first_quadrant_latches_hold_in_their_band():
    unit = FQBMRU(1, 1, batch_first=True, write_span=None)
    with torch.no_grad():
        unit.weight_ih_l0.fill_(1)
        unit.bias_ih_l0.fill_(0)
    (found,) = write_statistics(unit, torch.tensor([0.2, 1.0, 3.0, 2.0, 0.5]).reshape(1, 5, 1))
    assert found.rate.tolist() == [0.6]  # below 0.5, above 2.5, at 0.5


def test_a_candidate_as_large_as_the_threshold_writes():
    unit = BMRU(1, 1, batch_first=True, write_span=None)
    with torch.no_grad():
        unit.weight_ih_l0.copy_(torch.tensor([[1.0], [0.0]]))
    (found,) = write_statistics(unit, torch.tensor([1.0, -1.0, 0.99, 2.0]).reshape(1, 4, 1))
    assert found.rate.tolist() == [0.75]


def test_what_has_no_latch_is_refused():
    with pytest.raises(ValueError, match="`module` must have latches, which set and hold, got none in LRU"):
        write_statistics(LRU(1, 2), torch.zeros(1, 4, 1))
