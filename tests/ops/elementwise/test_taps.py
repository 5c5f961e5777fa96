"""The weighted sum of the last steps: the same bits by a kernel and by torch's operations, and the same gradients."""

import pytest
import torch

from remanent.ops.elementwise import weighted_sum, weighted_taps
from remanent.ops.elementwise.taps import _steps

SHAPES = [(2, 1, 3), (3, 70, 5), (1, 200, 64), (0, 4, 3), (2, 0, 3)]


@pytest.mark.parametrize("taps", [2, 4, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_kernel_gives_the_bits_and_the_gradients_of_the_definition(shape, dtype, taps):
    torch.manual_seed(0)
    B, T, D = shape
    wide = torch.randn(B, T + taps, D, dtype=dtype).requires_grad_()
    weight, upstream = torch.randn(D, taps, dtype=dtype).requires_grad_(), torch.randn(shape, dtype=dtype)
    inputs = wide[:, 1:]  # rows of a batch lie apart, as behind a window
    found, expected = weighted_taps(inputs, weight), weighted_sum(_steps(inputs, weight), weight)
    assert torch.equal(found, expected)
    grads, right = (torch.autograd.grad((y * upstream).sum(), (wide, weight)) for y in (found, expected))
    torch.testing.assert_close(grads, right, rtol=2e-5 if dtype == torch.float32 else 1e-13, atol=1e-5)


def test_gradients_do_not_depend_on_the_number_of_threads():
    torch.manual_seed(0)
    inputs, weight = torch.randn(4, 300, 64).requires_grad_(), torch.randn(64, 4).requires_grad_()
    grads = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        grads.append(torch.autograd.grad(weighted_taps(inputs, weight).square().sum(), (inputs, weight)))
    torch.set_num_threads(1)
    assert all(map(torch.equal, *grads))


def test_other_layouts_and_dtypes_and_gradients_of_gradients():
    torch.manual_seed(0)
    inputs = torch.randn(6, 3, 4, dtype=torch.float64).transpose(0, 1).requires_grad_()
    weight = torch.randn(4, 2, dtype=torch.float64).requires_grad_()
    expected = weighted_sum(_steps(inputs, weight), weight)
    assert torch.equal(weighted_taps(inputs, weight), expected)
    half = weighted_taps(inputs.bfloat16(), weight.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), expected, rtol=0.03, atol=0.03)
    assert torch.autograd.gradcheck(weighted_taps, (inputs, weight))
    assert torch.autograd.gradgradcheck(weighted_taps, (inputs, weight))
