"""The Triton kernels of rows and of a short convolution, interpreted on a CPU, against composed references."""

import pytest
import torch

from helpers import assert_close, interpreted_modules
from remanent.ops.elementwise import add_rms_norm, by_row, sum_norm, taps, triton_launch, weighted_sum, weighted_taps

pytest.importorskip("triton", reason="the GPU kernels need Triton")

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-14}


@pytest.fixture(scope="module")
def interpreted():
    (module,) = interpreted_modules(["remanent.ops.elementwise.triton_kernels"])
    return module


@pytest.fixture(autouse=True)
def kernels(interpreted, monkeypatch):
    monkeypatch.setattr(triton_launch, "kernels", lambda: interpreted)
    for module in (by_row, sum_norm, taps):
        monkeypatch.setattr(module, "on_gpu", lambda tensor: True)
    monkeypatch.setattr(triton_launch, "STEPS", 8)  # the interpreter adds number by number
    monkeypatch.setattr(triton_launch, "CHANNELS", 4)


def drawn(*shapes, dtype):
    """Leaves of these shapes, and the same in float64."""
    torch.manual_seed(0)
    leaves = [torch.randn(shape, dtype=torch.float64).to(dtype) for shape in shapes]
    return [v.requires_grad_() for v in leaves], [v.detach().double().requires_grad_() for v in leaves]


def compare(found, expected, leaves, wide, dtype):
    """Values, and every gradient, from gradients of all outputs that differ."""
    losses = []
    for outputs in (found, expected):
        torch.manual_seed(1)
        losses.append(sum((y * torch.randn(y.shape, dtype=torch.float64)).sum() for y in outputs))
    grads, right = torch.autograd.grad(losses[0], leaves), torch.autograd.grad(losses[1], wide)
    for name, actual, wanted in zip("abcdef", (*found, *grads), (*expected, *right), strict=False):
        assert_close(actual, wanted.to(dtype), 4 * TOLERANCE[dtype], name)


def composed(x, added, weight, eps):
    total = x if added is None else x + added
    return total, weight * total * (total.square().mean(-1, keepdim=True) + eps).rsqrt()


@pytest.mark.parametrize(("shape", "dtype"), [((2, 33, 5), torch.float32), ((3, 64), torch.float64)], ids=str)
def test_a_sum_and_its_norm_are_those_of_the_reference(shape, dtype):
    (x, added, weight), wide = drawn(shape, shape, shape[-1:], dtype=dtype)
    compare(add_rms_norm(x, added, weight, 0.1), composed(*wide, 0.1), (x, added, weight), wide, dtype)
    (x, weight), wide = drawn(shape[-2:], shape[-1:], dtype=dtype)
    found, expected = add_rms_norm(x, None, weight), composed(wide[0], None, wide[1], torch.finfo(dtype).eps)
    compare(found[1:], expected[1:], (x, weight), wide, dtype)
    with torch.no_grad():
        alone = add_rms_norm(x[1:2], None, weight).normed
    assert torch.equal(alone, found.normed[1:2])  # a row has its bits alone as among many


@pytest.mark.parametrize(
    ("shape", "K", "dtype"), [((2, 19, 3), 4, torch.float32), ((1, 2, 9), 3, torch.float64)], ids=str
)
def test_a_convolution_has_the_bits_of_the_definition_and_its_gradients(shape, K, dtype):
    B, T, D = shape
    (behind, weight), wide = drawn((B, T + K, D), (D, K), dtype=dtype)
    found = weighted_taps(behind[:, 1:], weight)  # rows of a batch lie apart, as behind a window
    assert torch.equal(found, weighted_sum(taps._steps(behind[:, 1:], weight), weight))
    expected = weighted_sum(taps._steps(wide[0][:, 1:], wide[1]), wide[1])
    compare((found,), (expected,), (behind, weight), wide, dtype)


def test_nothing_to_do_and_rows_that_no_program_holds():
    empty = torch.empty(2, 0, 5, requires_grad=True)
    add_rms_norm(empty, empty, torch.ones(5)).normed.sum().backward()
    assert torch.equal(empty.grad, torch.zeros(2, 0, 5))
    wide = torch.randn(1, triton_launch.WIDEST + 1)
    torch.testing.assert_close(
        add_rms_norm(wide, None, torch.ones_like(wide[0])).normed.square().mean(), torch.ones(())
    )
