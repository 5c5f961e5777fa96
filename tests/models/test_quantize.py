"""Weights of few bits: rounding by rows, and models that hold it."""

import pytest
import torch

from model_cases import RECURRENT, inputs, make
from remanent.models.quantize import quantize_rows, quantized
from remanent.units import UNITS


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_rows_are_rounded_to_the_nearest_level(bits):
    weight = torch.randn(20, 30, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 20)[:, None]
    weight[3] = 0
    whole, scale = quantize_rows(weight, bits)
    levels = 2 ** (bits - 1) - 1
    assert whole.dtype == torch.int8
    assert whole.abs().max() == levels
    assert ((weight - scale[:, None] * whole).abs() <= 0.5001 * scale[:, None]).all()
    assert torch.equal(scale[3], torch.tensor(0.0))
    assert not whole[3].any()
    again, same = quantize_rows(scale[:, None] * whole, bits)  # what is rounded stays as it is
    assert torch.equal(again, whole)
    torch.testing.assert_close(same, scale)


def test_a_model_of_any_unit_gets_rounded_matrices_and_keeps_its_vectors():
    model = make(torch.float32, unit=RECURRENT, hidden_size=3 * len(UNITS), num_layers=1)
    before = {name: value.clone() for name, value in model.named_parameters()}
    rounded = quantized(model, 4)
    for name, value in rounded.named_parameters():
        assert torch.equal(dict(model.named_parameters())[name], before[name])
        assert torch.equal(value, before[name]) == (value.dim() == 1)
    x = inputs(model)
    with torch.no_grad():
        coarse, fine, exact = (m(x)[0] for m in (rounded, quantized(model, 8), model))
    assert (fine - exact).abs().max() < (coarse - exact).abs().max()


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match="`bits` must be at"):
        quantize_rows(torch.ones(1, 1), bits)


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"`weight` must have shape \(N, M\), got \(3,\)"):
        quantize_rows(torch.ones(3), 8)
