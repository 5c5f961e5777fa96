"""Surrogates: exact steps forward, the bell of the given width backward."""

import math

import pytest
import torch

from remanent.ops import surrogate_sign, surrogate_slope, write_gate

U = torch.linspace(-3, 3, 61, dtype=torch.float64)


@pytest.mark.parametrize("width", [0.5, 1.0, 2.5])
def test_the_slope_is_the_bell_and_its_area_is_one(width):
    expected = torch.tensor([width / (1 + (math.pi * width * u) ** 2) for u in U.tolist()], dtype=torch.float64)
    torch.testing.assert_close(surrogate_slope(U, width), expected, rtol=1e-14, atol=0)
    wide = torch.linspace(-1000, 1000, 2_000_001, dtype=torch.float64)
    assert torch.trapezoid(surrogate_slope(wide, width), wide).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("width", [0.5, 1.0, 2.5])
def test_the_sign_is_exact_and_has_twice_the_bell_as_its_gradient(width):
    u = U.clone().requires_grad_()
    surrogate_sign(u, width).sum().backward()
    assert torch.equal(surrogate_sign(torch.tensor([-1.0, -0.0, 0.0, 1.0])), torch.tensor([-1.0, 1.0, 1.0, 1.0]))
    torch.testing.assert_close(u.grad, 2 * surrogate_slope(U, width), rtol=1e-14, atol=0)


@pytest.mark.parametrize("width", [0.5, 1.0, 2.5])
def test_the_gate_is_exact_and_has_the_bell_as_its_gradient(width):
    c = U.clone().requires_grad_()
    beta = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    gate = write_gate(c, beta, width)
    gate.sum().backward()
    assert torch.equal(gate.detach(), (U.abs() >= 0.7).double())
    bell = surrogate_slope(U.abs() - 0.7, width)
    torch.testing.assert_close(c.grad, bell * U.sign(), rtol=1e-14, atol=0)
    torch.testing.assert_close(beta.grad, bell.sum(), rtol=1e-14, atol=0)
