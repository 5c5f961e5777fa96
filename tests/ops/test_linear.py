"""The linear scan: every backend equals the reference, real and complex, to the second derivative."""

from functools import lru_cache

import pytest
import torch

from cases import crossed
from helpers import assert_close
from remanent.ops import linear_scan
from remanent.ops.linear import BACKENDS
from remanent.ops.reference import linear_scan as time_loop

FAST = ["portable", "cpu"]
RUNS = ["reference", *FAST]
assert {*RUNS, "gpu"} == set(BACKENDS)  # "gpu" has test_gpu.py
TOLERANCE = {
    torch.float32: 1e-5,
    torch.float64: 1e-12,
    torch.complex64: 1e-5,
    torch.complex128: 1e-12,
    torch.bfloat16: 2e-2,
    torch.float16: 2e-3,
}


def case(T, dtype, *, reset=False, permuted=False, broadcast=True, B=3, D=5):
    generator = torch.Generator().manual_seed(T)
    wide = torch.complex128 if dtype.is_complex else torch.float64

    def draw(*shape):
        if permuted and len(shape) == 3:
            return torch.randn(shape[2], *shape[:2], generator=generator, dtype=wide).permute(1, 2, 0).to(dtype)
        return torch.randn(shape, generator=generator, dtype=wide).to(dtype)

    decay = draw(*((D,) if broadcast else (B, T, D)))
    decay = decay / (decay.abs() + 0.1)
    inputs = {"decay": decay, "value": draw(B, T, D), "h0": draw(B, D)}
    if reset:
        inputs["reset"] = torch.rand(B, T, generator=generator) < 0.2
        inputs["reset_state"] = draw(*((B, T, D) if reset == "each" else (D,)))
    return inputs


def run(inputs, backend):
    leaves = {k: v if v.dtype == torch.bool else v.detach().requires_grad_() for k, v in inputs.items()}
    states = linear_scan(**leaves, backend=backend)
    generator = torch.Generator().manual_seed(1)
    wide = torch.complex128 if states.is_complex() else torch.float64
    states.backward(torch.randn(states.shape, generator=generator, dtype=wide).to(states.dtype))
    return states.detach(), {k: v.grad for k, v in leaves.items() if v.dtype != torch.bool}


@lru_cache(4)
def reference(T, dtype, reset, permuted, broadcast):
    """A case and what the reference makes of it, once for all backends, which change fastest."""
    inputs = case(T, dtype, reset=reset, permuted=permuted, broadcast=broadcast)
    return inputs, run(inputs, "reference")


@crossed(
    together=3,
    dtype=list(TOLERANCE),
    T=[1, 2, 63, 64, 65, 1000],
    reset=[False, True],
    permuted=[False, True],
    backend=FAST,
)
def test_backend_equals_reference(backend, dtype, T, reset, permuted):
    for broadcast in (True, False):
        inputs, (expected, expected_grads) = reference(T, dtype, reset, permuted, broadcast)
        states, grads = run(inputs, backend)
        assert_close(states, expected, TOLERANCE[dtype], "states")
        for name, grad in grads.items():
            assert_close(grad, expected_grads[name], TOLERANCE[dtype], name)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", [torch.complex128, torch.float32, torch.bfloat16], ids=str)
def test_a_state_for_each_reset_equals_the_reference(backend, dtype):
    for T, permuted in ((1, False), (65, True), (130, False)):
        inputs, (expected, expected_grads) = reference(T, dtype, "each", permuted, permuted)
        states, grads = run(inputs, backend)
        assert_close(states, expected, TOLERANCE[dtype], "states")
        for name, grad in grads.items():
            assert_close(grad, expected_grads[name], TOLERANCE[dtype], name)
        assert not grads["reset_state"][~inputs["reset"]].any()


@crossed(
    broadcast=[False, True],
    reset=[False, True, "each"],
    dtype=[torch.float64, torch.complex128],
    backend=RUNS,
)
def test_gradcheck_to_second_order(backend, dtype, reset, broadcast):
    inputs = case(5, dtype, reset=reset, broadcast=broadcast, B=2, D=2)
    mask = inputs.pop("reset", None)
    leaves = [v.requires_grad_() for v in inputs.values()]

    def scan(decay, value, h0, reset_state=None):
        return linear_scan(decay, value, h0, reset=mask, reset_state=reset_state, backend=backend)

    assert torch.autograd.gradcheck(scan, leaves)
    assert torch.autograd.gradgradcheck(scan, leaves)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("reset", [False, True, "each"])
def test_opcheck(backend, dtype, reset):
    inputs = {k: v if v.dtype == torch.bool else v.requires_grad_() for k, v in case(9, dtype, reset=reset).items()}
    args = (*(inputs.get(k) for k in ("decay", "value", "h0", "reset", "reset_state")), backend)
    torch.library.opcheck(torch.ops.remanent.linear_scan.default, args)


def paired(inputs):
    return {k: torch.view_as_real(v).flatten(-2) if v.is_complex() else v for k, v in inputs.items()} | {"pairs": True}


@pytest.mark.parametrize("backend", RUNS)
@pytest.mark.parametrize("reset", [False, "each"])
def test_pairs_of_real_numbers_give_the_bits_of_complex_ones(backend, reset):
    for T, broadcast in ((1, True), (65, False), (130, True)):
        inputs = case(T, torch.complex64, reset=reset, broadcast=broadcast)
        leaves = {k: v.requires_grad_(v.is_complex()) for k, v in inputs.items()}
        expected, found = (linear_scan(**given, backend=backend) for given in (leaves, paired(leaves)))
        assert torch.equal(found, torch.view_as_real(expected).flatten(-2))
        wanted = [v for v in leaves.values() if v.is_complex()]
        weight = torch.randn(found.shape)
        grads = torch.autograd.grad((found * weight).sum(), wanted)
        others = torch.autograd.grad((torch.view_as_real(expected).flatten(-2) * weight).sum(), wanted)
        assert all(torch.equal(grad, other) for grad, other in zip(grads, others, strict=True))


def test_pairs_that_lie_anywhere_are_read():
    inputs = paired(case(9, torch.complex64, reset=True))
    expected = linear_scan(**inputs)
    assert torch.equal(time_loop(**inputs), linear_scan(**inputs, backend="reference"))
    room = torch.empty(3, 9, 13)
    room[..., 1:11] = inputs["value"]
    assert torch.equal(linear_scan(**inputs | {"value": room[..., 1:11]}), expected)


@pytest.mark.parametrize("reset", [False, "each"])
def test_pairs_are_an_operator_with_two_derivatives(reset):
    inputs = paired(case(9, torch.complex128, reset=reset, B=2, D=2))
    args = [inputs.get(k) for k in ("decay", "value", "h0", "reset", "reset_state")]
    leaves = [v.requires_grad_() if v is not None and v.dtype != torch.bool else v for v in args]
    torch.library.opcheck(torch.ops.remanent.linear_scan.default, (*leaves, "cpu", True))
    wanted = [v for v in leaves if v is not None and v.requires_grad]

    def scan(decay, value, h0, start=None):
        return linear_scan(decay, value, h0, reset=inputs.get("reset"), reset_state=start, pairs=True)

    assert torch.autograd.gradcheck(scan, wanted)
    assert torch.autograd.gradgradcheck(scan, wanted)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_chunks_of_a_sequential_backend_equal_the_whole(backend):
    inputs = case(100, torch.complex64)
    h0, value = inputs.pop("h0"), inputs.pop("value")
    whole = linear_scan(value=value, h0=h0, **inputs, backend=backend)
    first = linear_scan(value=value[:, :37], h0=h0, **inputs, backend=backend)
    second = linear_scan(value=value[:, 37:], h0=first[:, -1], **inputs, backend=backend)
    assert torch.equal(torch.cat([first, second], 1), whole)


@pytest.mark.parametrize("backend", RUNS)
def test_nothing_crosses_a_reset(backend):
    inputs = case(20, torch.float64, reset=True)
    inputs["reset"][:] = False
    inputs["reset"][:, 8] = True
    inputs["h0"].fill_(torch.nan).requires_grad_()
    states = linear_scan(**inputs, backend=backend)
    states[:, 8:].sum().backward()
    start = inputs["reset_state"].expand(3, 5)
    fresh = linear_scan(inputs["decay"], inputs["value"][:, 8:], start, backend=backend)
    torch.testing.assert_close(states[:, 8:].detach(), fresh, rtol=1e-12, atol=1e-12)
    assert torch.equal(inputs["h0"].grad, torch.zeros(3, 5, dtype=torch.float64))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"value": torch.zeros(4, 3)}, ValueError, r"`value` must have shape \(B, T, D\), got \(4, 3\)"),
        ({"value": torch.zeros(2, 0, 3)}, ValueError, "at least one time step, got T=0"),
        ({"pairs": True}, ValueError, r"with an even D with `pairs`, got \(2, 4, 3\)"),
        ({"pairs": 1}, TypeError, "`pairs` must be a bool, got 1"),
        (
            {"decay": torch.ones(2)},
            ValueError,
            r"`decay` must have shape \(B=2, T=4, D=3\) or \(D=3,\), got \(2,\)",
        ),
        ({"decay": torch.ones(3).cfloat()}, TypeError, "`decay` must have dtype float32, got complex64"),
        ({"h0": torch.ones(3)}, ValueError, r"`h0` must have shape \(B=2, D=3\), got \(3,\)"),
        ({"reset": torch.ones(2, 4)}, TypeError, "`reset` must have dtype bool, got float32"),
        (
            {"backend": "fast"},
            ValueError,
            "`backend` must be one of auto, reference, portable, cpu, gpu, got 'fast'",
        ),
        ({"backend": ["cpu"]}, TypeError, r"`backend` must be a str, got \['cpu'\]"),
        ({"value": torch.zeros(2, 4, 3).to_sparse()}, TypeError, r"`value` must be a dense tensor, got .*sparse_coo"),
    ],
)
def test_bad_input_is_refused_by_name(change, error, message):
    with pytest.raises(error, match=message):
        linear_scan(**({"decay": torch.ones(3), "value": torch.zeros(2, 4, 3)} | change))
