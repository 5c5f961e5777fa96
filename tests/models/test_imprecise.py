"""Imprecise hardware: rounding by rows, and errors of the right size in every parameter, from the generator alone."""

import pytest
import torch

from model_cases import RECURRENT, inputs, make
from remanent.models.imprecise import perturbed, quantize_rows, quantized
from remanent.units import UNITS


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def model():
    unit, width = RECURRENT + "+attention", 4 * (len(UNITS) + 1)
    model = make(unit=unit, hidden_size=width, num_layers=1, num_heads=1, initial_state="learned")
    with torch.no_grad():
        for parameter in model.parameters():  # what is 0 has no relative error
            parameter.normal_(generator=generator(1))
    return model


def test_relative_errors_of_every_parameter_are_normal_with_a_third_of_the_noise(model):
    noise, draws = 0.15, [perturbed(model, 0.15, generator(i)) for i in range(400)]
    for name, parameter in model.named_parameters():
        copies = torch.stack([dict(draw.named_parameters())[name].detach() for draw in draws])
        errors = (copies / parameter.detach() - 1).flatten(1) / (noise / 3)
        several = errors.shape[1] ** -0.5
        assert errors.std().item() == pytest.approx(1, abs=5 * 0.05 * several), name
        assert errors.mean().item() == pytest.approx(0, abs=5 * 0.05 * several), name
        assert errors.mean(1).std().item() == pytest.approx(several, rel=0.25), name  # each element has its own
        within = (errors.abs() <= 3).double().mean().item()
        assert within == pytest.approx(0.9973, abs=0.01), name


def test_the_model_keeps_its_parameters_and_one_generator_gives_one_set_of_errors(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small, large, other = (perturbed(model, r, generator(i)) for r, i in ((0.1, 0), (0.2, 0), (0.1, 1)))
    none = perturbed(model, 0, generator())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
        assert torch.equal(none.state_dict()[name], value)
        moved = small.state_dict()[name] - value
        torch.testing.assert_close(large.state_dict()[name] - value, 2 * moved)
        assert not torch.equal(other.state_dict()[name], small.state_dict()[name])


def test_nothing_global_is_drawn_from(model):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    perturbed(model, 0.1, generator())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("noise", [-0.1, float("nan"), float("inf")])
def test_noise_out_of_range_is_refused(model, noise):
    with pytest.raises(ValueError, match=rf"`noise` must be in \[0, inf\), got {noise}"):
        perturbed(model, noise, generator())


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
