"""Write statistics: counted against a loop over every step; dead channels are found; nothing stays behind."""

import itertools
import math

import pytest
import torch

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


@pytest.mark.parametrize("name", ["bmru", "cmru", "alpha_cmru", "fq_bmru"])
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
    assert "run" not in vars(unit.recurrence)


def test_a_model_names_its_layers_and_passes_others_over():
    model = SequenceModel(ModelConfig(2, 1, hidden_size=8, unit="bmru+lru"))
    names = [writes.name for writes in write_statistics(model, torch.randn(2, 30, 2))]
    assert names == ["blocks.0.layer.units.0.l0", "blocks.1.layer.units.0.l0"]
    before = model(torch.ones(1, 5, 2))[0]
    assert torch.equal(before, model(torch.ones(1, 5, 2))[0])


def test_first_quadrant_latches_hold_in_their_band():
    unit = FQBMRU(1, 1, batch_first=True)
    with torch.no_grad():
        unit.weight_ih_l0.fill_(1)
        unit.bias_ih_l0.fill_(0)
    (found,) = write_statistics(unit, torch.tensor([0.2, 1.0, 3.0, 2.0, 0.5]).reshape(1, 5, 1))
    assert found.rate.tolist() == [0.6]  # below 0.5, above 2.5, at 0.5


def test_a_candidate_as_large_as_the_threshold_writes():
    unit = BMRU(1, 1, batch_first=True)
    with torch.no_grad():
        unit.weight_ih_l0.copy_(torch.tensor([[1.0], [0.0]]))
    (found,) = write_statistics(unit, torch.tensor([1.0, -1.0, 0.99, 2.0]).reshape(1, 4, 1))
    assert found.rate.tolist() == [0.75]


def test_what_has_no_latch_is_refused():
    with pytest.raises(ValueError, match="`module` must have latches, which set and hold, got none in LRU"):
        write_statistics(LRU(1, 2), torch.zeros(1, 4, 1))
