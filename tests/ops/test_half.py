"""Half types on the CPU: kernels read and write them as such, and round each result of float32 once."""

import numba
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cases import crossed
from helpers import assert_close
from remanent.ops import latch_scan, latch_scan_joint, latch_step, linear_scan, reference, transition_scan
from remanent.ops.cpu import kernels

HALF = [torch.bfloat16, torch.float16]
GRAD_TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 2e-3}
halves = pytest.mark.parametrize("dtype", HALF, ids=str)


def every_number(dtype):
    """All 65,536 numbers of a half type."""
    return torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16).view(dtype)


def same_bits(found, expected):
    """Whether numbers are the same bits, and NaN where NaN is expected."""
    nan = expected.isnan()
    return torch.equal(found.isnan(), nan) and torch.equal(
        found.view(torch.int16)[~nan], expected.view(torch.int16)[~nan]
    )


@halves
def test_every_number_is_held_bit_for_bit(dtype):
    h0 = every_number(dtype)[None]
    candidate, threshold = torch.zeros(1, 3, h0.shape[1], dtype=dtype), torch.ones(h0.shape[1], dtype=dtype)
    for epsilon in (0.0, 0.5):
        states = latch_scan(candidate, threshold, threshold, h0, epsilon=epsilon, backend="cpu")
        assert all(same_bits(states[:, t], h0) for t in range(3))


@halves
def test_every_number_is_written_and_decides_as_it_does_in_float32(dtype):
    candidate = every_number(dtype)[None, None]
    for threshold in (0.0, 1e-6, 0.7, torch.inf, torch.nan):
        level = torch.full_like(candidate, threshold)
        wide = reference.latch_scan(candidate.float(), level.float(), candidate.float())
        found = latch_scan(candidate, level, candidate, backend="cpu")
        assert same_bits(found, wide.to(dtype))


@halves
@pytest.mark.parametrize("native", [True, False], ids=["instructions", "whole numbers"])
def test_numbers_between_two_are_rounded_as_torch_rounds_them(dtype, native, monkeypatch):
    """Both ways to convert float16; what is between, beside a tie, too small and too large."""
    if not native:
        monkeypatch.setattr(kernels, "converts_float16", lambda context: False)
    get, put = kernels.get, kernels.put

    @numba.njit
    def rounded(values, to, back):
        for i in range(values.shape[0]):
            put(to, i, 0, values[i])
            back[i] = get(to, i, 1)

    own = every_number(dtype).float()
    finite = own[own.isfinite()].sort().values
    ties = (finite[1:] + finite[:-1]) / 2
    above, below = ties.nextafter(torch.tensor(torch.inf)), ties.nextafter(torch.tensor(-torch.inf))
    values = torch.cat([own, ties, above, below, torch.tensor([65519.9, 65520.0, 3.4e38, 1e-45, -1e-45])])
    found, back = torch.empty(len(values), dtype=torch.int16), torch.empty(len(values))
    kind = np.uint16 if dtype == torch.bfloat16 else np.int16
    rounded(values.numpy(), found.numpy().view(kind), back.numpy())
    assert same_bits(found.view(dtype), values.to(dtype))
    torch.testing.assert_close(back, values.to(dtype).float(), rtol=0, atol=0, equal_nan=True)


class NothingWide(TorchDispatchMode):
    """Fails where a tensor of float32 has as many elements as a sequence."""

    def __init__(self, elements):
        super().__init__()
        self.elements = elements

    def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor) and value.dtype in (torch.float32, torch.float64):
                assert value.numel() < self.elements / 4, function
        return result


def scans(dtype, B, T, D, draw):
    """Each scan as a function of its leaves, and the leaves; states after resets are sequences."""
    new = lambda *shape: torch.randn(shape, generator=draw).to(dtype)  # noqa: E731
    reset, each = torch.rand(B, T, generator=draw) < 0.1, new(B, T, D)
    options = {"reset": reset, "backend": "cpu"}
    one_hot = torch.nn.functional.one_hot(torch.randint(2, (B, D // 2), generator=draw), 2).flatten(1).to(dtype)
    return {
        "latch": (
            lambda *v: latch_scan(*v[:4], reset_state=v[4], **options),
            [new(B, T, D), new(B, T, D), new(D), new(B, D), each],
        ),
        "joint": (
            lambda *v: latch_scan_joint(v[0], None, v[1], epsilon=0.3, **options),
            [new(B, T, 3 * D), new(B, D)],
        ),
        "linear": (
            lambda *v: linear_scan(*v[:3], reset_state=v[3], **options),
            [new(B, T, D).sigmoid(), new(B, T, D), new(B, D), each],
        ),
        "heads": (
            lambda *v: transition_scan(*v, num_states=2, epsilon=0.3, **options),
            [new(B, T, D * 2), one_hot],
        ),
    }


@halves
def test_no_sequence_is_converted(dtype):
    B, T, D = 2, 640, 8
    for run, leaves in scans(dtype, B, T, D, torch.Generator().manual_seed(0)).values():
        leaves = [leaf.requires_grad_() for leaf in leaves]
        with NothingWide(B * T * D):
            states = run(*leaves)
            states.backward(torch.ones_like(states))
        assert all(leaf.grad.dtype == dtype and leaf.grad.isfinite().all() for leaf in leaves)


@crossed(
    together=3,
    dtype=HALF,
    name=["latch", "joint", "linear", "heads"],
    T=[1, 64, 65, 130],
    lies=["rows", "time first", "apart"],
)
def test_results_are_those_of_float32_rounded_once(name, dtype, T, lies):
    """Tensors lie as they come: batch first, time first, or with channels that are not side by side."""
    run, leaves = scans(dtype, 3, T, 6, torch.Generator().manual_seed(T))[name]
    if lies == "time first":
        leaves = [v.transpose(0, 1).contiguous().transpose(0, 1) if v.dim() == 3 else v for v in leaves]
    elif lies == "apart":
        leaves = [v.repeat_interleave(2, -1)[..., ::2] for v in leaves]
    found = [v.detach().requires_grad_() for v in leaves]
    wide = [v.detach().float().requires_grad_() for v in leaves]
    states, expected = run(*found), run(*wide)
    assert torch.equal(states, expected.to(dtype))
    grad = torch.randn(states.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    states.backward(grad)
    expected.backward(grad.float())
    for one, other in zip(found, wide, strict=True):
        assert_close(one.grad, other.grad.to(dtype), GRAD_TOLERANCE[dtype], name)


@halves
def test_parameters_gather_their_gradients_in_float32(dtype):
    """4,096 equal terms: a sum in a half type would stop at 256 or 2,048, or be infinite."""
    B, T = 1, 4096
    decay, value = torch.zeros(1, dtype=dtype, requires_grad=True), torch.full((B, T, 1), 0.5, dtype=dtype)
    states = linear_scan(decay, value, backend="cpu")
    states.backward(torch.full_like(states, 0.5))
    assert decay.grad.item() == torch.tensor((T - 1) / 4).to(dtype).item()


@halves
def test_a_step_has_the_bits_of_the_scan(dtype):
    from remanent.ops.cpu import step

    torch.manual_seed(0)
    gates, alpha, h = torch.randn(4, 2 * 33).to(dtype), torch.rand(33).to(dtype), torch.randn(4, 33).to(dtype)
    with torch.no_grad():
        found = step.latch_step(gates, alpha, h, 0.0)
        assert torch.equal(found, latch_scan_joint(gates[:, None], alpha, h, backend="reference")[:, 0])
        candidate, threshold = gates.chunk(2, dim=-1)
        assert torch.equal(found, latch_step(candidate, threshold, alpha, h))
    assert step.latch_step(gates, alpha, h, 0.3) is None  # the reference rounds the product, and then the sum
