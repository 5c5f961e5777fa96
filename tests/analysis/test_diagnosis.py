"""The diagnosis of layers of latches: measures against a plain count, findings with their remedy, any module."""

import math

import pytest
import torch
from torch import nn

import remanent
from remanent import BMRU, FQBMRU, GRU, LRU, BMRUCell, ModelConfig, SequenceModel, diagnose, set_write_rates
from remanent.analysis import gradient_by_lag, write_statistics


def found_in(diagnosis):
    return {finding.measure for finding in diagnosis.findings}


def test_measures_are_plain_counts():
    torch.manual_seed(0)
    unit, x = BMRU(3, 5, batch_first=True, width=2.0), 2 * torch.randn(4, 50, 3)
    (layer,) = diagnose(unit, x).layers
    gates = x.double() @ unit.weight_ih_l0.double().T + unit.bias_ih_l0.double()
    c, b = (part.flatten(0, 1) for part in gates.detach().chunk(2, -1))
    z = c.abs() >= b.abs()
    assert (layer.name, layer.unit) == ("l0", "BMRU")
    torch.testing.assert_close(layer.rate, z.double().mean(0))
    torch.testing.assert_close(layer.upwards, (z & (c > 0)).sum(0) / z.sum(0), check_dtype=False)
    assert layer.candidate == pytest.approx(c.square().mean().sqrt().item(), rel=1e-5)
    assert layer.threshold == pytest.approx(b.square().mean().sqrt().item(), rel=1e-5)
    u = 2 * (c.abs() - b.abs())
    near = 1 / (1 + (math.pi * u) ** 2) >= 0.1
    assert layer.near == pytest.approx(near.double().mean().item(), abs=0.01)
    lags, norms = gradient_by_lag(unit, x)
    assert torch.equal(layer.gradient.lags, lags)
    torch.testing.assert_close(layer.gradient.norms, norms)
    assert layer.kept == pytest.approx((norms[-1] / norms[0]).item())


def test_what_a_drop_in_suffers_from_is_found_and_mended():
    torch.manual_seed(0)
    unit, x = BMRU(28, 64, 2), torch.rand(60, 20, 28)
    before = diagnose(unit, x)
    assert {"share of channels never written", "median write rate"} <= found_in(before)
    assert "set_write_rates(module, batch)" in before.findings[0].remedy
    set_write_rates(unit, x)
    assert diagnose(unit, x).findings == ()


@pytest.mark.parametrize(
    ("unit", "x", "measure"),
    [
        (BMRU(4, 32), 255 * torch.rand(60, 8, 4), "size of the candidates"),
        (BMRU(4, 32), 255 * torch.rand(60, 8, 4), "share of steps near a threshold"),
        (BMRU(4, 32, bias=False), torch.zeros(60, 8, 4), "share of channels never held"),
        (BMRU(4, 32), 1 + torch.rand(60, 8, 4), "share of channels written to one side alone"),
        (BMRU(4, 32), 1e-3 * torch.randn(60, 8, 4), "size of the candidates"),
        (FQBMRU(4, 32, 3, write_span=None), torch.randn(60, 8, 4), "share of channels never written"),
    ],
)
def test_what_keeps_a_layer_from_learning_is_named(unit, x, measure):
    assert measure in found_in(diagnose(unit, x))


def test_a_gradient_that_does_not_reach_back_is_named():
    unit = BMRU(2, 8)
    with torch.no_grad():
        unit.bias_ih_l0[8:] = 0.01
    (layer,) = diagnose(unit, torch.randn(200, 4, 2)).layers
    assert layer.kept < 1e-4
    unit.epsilon = 1
    assert "gradient that is kept over the longest lag" not in found_in(diagnose(unit, torch.randn(200, 4, 2)))


class Stepped(nn.Module):
    """A module of another's own: a cell in a loop, and a unit after it."""

    def __init__(self):
        super().__init__()
        self.cell, self.unit, self.drop = BMRUCell(3, 8), BMRU(8, 8, bidirectional=True), nn.Dropout(0.5)

    def forward(self, x, *, steps=None):
        h, outputs = None, []
        for x_t in x:
            h = self.cell(input=x_t, hx=h)
            outputs.append(h)
        return self.unit(self.drop(torch.stack(outputs)))


def test_any_module_is_measured_and_left_as_it_was():
    torch.manual_seed(0)
    module, x = Stepped(), torch.randn(30, 4, 3)
    found = diagnose(module, (x,))
    assert [layer.name for layer in found.layers] == ["cell", "unit.l0", "unit.l0_reverse"]
    assert found.layers[0].gradient.lags.tolist() == [1, 2, 4, 8, 16, 29]
    assert module.training
    counted = write_statistics(module, x)
    assert [writes.name for writes in counted] == ["cell", "unit.l0", "unit.l0_reverse"]
    for layer, writes in zip(found.layers, counted, strict=True):
        torch.testing.assert_close(layer.rate, writes.rate)
    assert module.training


def test_text_and_table_hold_every_layer():
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(3, 2, hidden_size=8, unit="fq_bmru+lru,bmru", dropout=0.5))
    found = diagnose(model, torch.rand(2, 20, 3))
    assert [row[0] for row in found.rows] == ["blocks.0.layer.units.0.l0", "blocks.1.layer.units.0.l0"]
    assert found.rows[0][6:9] == ("-", "-", "-")
    text = str(found)
    assert text.splitlines()[0].split() == " ".join(found.columns).split()
    for finding in found.findings:
        assert f"- {finding}" in text
        assert "healthy from" in str(finding)
    from remanent.report.memory_figures import layer_health

    (axes,) = layer_health(found.values, found.healthy, title="t", remedies=found.remedies).axes
    coloured = axes.get_images()[0].get_array()
    assert coloured.sum() == len(found.findings)
    assert all(finding.remedy in " ".join(found.remedies) for finding in found.findings)
    assert "Nothing is out of its healthy range." in str(found._replace(findings=()))


def test_what_has_no_latch_is_rejected():
    with pytest.raises(ValueError, match="`module` must run a latch on `batch`, got none in GRU"):
        diagnose(GRU(3, 4), torch.randn(5, 2, 3))
    with pytest.raises(ValueError, match="`module` must run a latch on `batch`, got none in LRU"):
        diagnose(LRU(3, 4), torch.randn(5, 2, 3))
    with pytest.raises(TypeError, match=r"`module` must be a torch.nn.Module, got list"):
        diagnose([], torch.randn(5, 2, 3))
    assert remanent.diagnose is diagnose
