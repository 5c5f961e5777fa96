"""Whether every scan gives on the GPU what the float64 reference gives, at awkward sizes and at huge ones."""

from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from remanent.bench.gpu.cases import Case, Settings
from remanent.bench.gpu.huge import more_than_31_bits
from remanent.bench.gpu.problems import (
    LIMITS,
    Inputs,
    Shape,
    compare,
    distance,
    exact,
    latch_inputs,
    linear_inputs,
    run_latch,
    run_linear,
    same_bits,
    weights,
)
from remanent.ops import latch_scan, linear_scan, reference

REAL = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
COMPLEX = (torch.complex64, torch.complex128)
SIZES = ((1, 5), (2, 256), (63, 5), (64, 256), (65, 130), (1000, 1), (1000, 5), (1000, 256))
"""Lengths and widths: those at which something ends, and beside."""
FEW_SIZES = ((63, 5), (65, 130), (1000, 256))
"""Of all variants but the first: what costs most is that kernels are compiled for each kind of width."""
CUMULATIVE_SIZES = ((65, 130), (1000, 5))
VARIANTS: dict[str, dict[str, Any]] = {
    "moving": {},
    "reset": {"reset": True},
    "each": {"reset": True, "each": True, "layout": "joint"},
    "constant": {"moves": False, "h0": False},
    "joint": {"layout": "joint", "reset": True},
    "time-first": {"layout": "time-first", "moves": False, "reset": True},
    "channels-first": {"layout": "channels-first"},
}
WIDTH = 1.5
"""Of the surrogate."""


def cases(settings: Settings) -> list[Case]:
    """All checks of the scans; first those of the kernels that most scans take, and that changed last."""
    found = [case for dtype in (torch.float32, torch.bfloat16) for case in _equal_cases(settings, dtype, "gpu")]
    found += [
        Case("latch bits, long: float32", partial(_long_bits, settings, torch.float32), limit=90),
        Case("repeated bits: float32", partial(_repeated, settings, torch.float32), limit=90),
        Case("linear, long", partial(_linear_long, settings), limit=90),
        Case("more than 2^31 elements", partial(more_than_31_bits, settings), limit=120),
        Case("worst gates", partial(_rare_writes, settings)),
        Case("many rows", partial(_many_rows, settings)),
        Case("compiled", partial(_compiled, settings), limit=120),
        Case("NaN and infinity", partial(_not_numbers, settings)),
    ]
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        found.append(Case(f"latch bits, long: {_short(dtype)}", partial(_long_bits, settings, dtype), limit=90))
        found.append(Case(f"repeated bits: {_short(dtype)}", partial(_repeated, settings, dtype), limit=90))
    found.append(Case("latch, epsilon, long", partial(_epsilon_long, settings), limit=90))
    found += [
        case for dtype in (torch.float16, torch.float64, *COMPLEX) for case in _equal_cases(settings, dtype, "gpu")
    ]
    return found + [case for dtype in REAL + COMPLEX for case in _equal_cases(settings, dtype, "portable")]


def _equal_cases(settings: Settings, dtype: torch.dtype, backend: str) -> list[Case]:
    found = []
    for variant, scan in product(VARIANTS, ("latch", "linear") if dtype in REAL else ("linear",)):
        if settings.tiny and (backend != "gpu" or (variant, dtype) not in _TINY):
            continue
        if backend == "portable" and variant not in ("moving", "reset", "each"):
            continue
        check = partial(equal_reference, settings, scan, variant, dtype, backend)
        name = f"{scan} equals the reference: {variant}, {_short(dtype)}, {backend}"
        found.append(Case(name, check, limit=150))
    return found


_TINY = (("moving", torch.float32), ("each", torch.bfloat16))


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def equal_reference(settings: Settings, scan: str, variant: str, dtype: torch.dtype, backend: str) -> dict[str, Any]:
    """Bits of set or hold, and values and gradients within the limits, at every length and width."""
    worst: dict[str, float] = {}
    sizes = SIZES if (variant, dtype) == ("moving", torch.float32) else FEW_SIZES
    for T, D in ((70, 4),) if settings.tiny else sizes:
        shape = Shape(1 if settings.tiny else 3, T, D, **VARIANTS[variant])
        if scan == "linear":
            inputs = linear_inputs(shape, dtype, settings.device, seed=T + D)
            grad = weights(inputs)
            compare(worst, "", run_linear(backend, inputs, grad), exact("linear_scan", inputs, grad), inputs)
            continue
        inputs = latch_inputs(shape, dtype, settings.device, seed=T + D)
        grad = weights(inputs)
        for epsilon in (0.0, 0.3, 1.0) if (T, D) in CUMULATIVE_SIZES else (0.0,):
            found = run_latch(backend, inputs, grad, epsilon, WIDTH)
            wanted = exact("latch_scan", inputs, grad, epsilon, WIDTH)
            if epsilon == 0:
                assert torch.equal(found[0].cpu(), wanted[0].to(dtype)), f"bits differ at {shape}"
            compare(worst, "" if epsilon == 0 else "epsilon ", found, wanted, inputs)
    limit = LIMITS[dtype]
    over = {name: value for name, value in worst.items() if not value <= limit}
    assert not over, f"over {limit}: {over}"
    return {"largest": {name: float(f"{value:.2e}") for name, value in worst.items()}}


def _long_bits(settings: Settings, dtype: torch.dtype) -> dict[str, Any]:
    """Set or hold where a time loop takes seconds: the bits of the float64 loop."""
    B, T, D = (1, 130, 5) if settings.tiny else (4, 20_000, 96)
    inputs = latch_inputs(Shape(B, T, D, reset=True), dtype, settings.device)
    found = latch_scan(**inputs, backend="gpu")  # type: ignore[arg-type]
    wanted = _loop_latch(inputs, 0.0)
    assert torch.equal(found, wanted.to(dtype)), "bits differ from the loop's"
    assert torch.equal(found, latch_scan(**inputs, backend="portable")), "bits differ from portable"  # type: ignore[arg-type]
    return {"shape": [B, T, D]}


def _epsilon_long(settings: Settings) -> dict[str, Any]:
    B, T, D = (1, 130, 5) if settings.tiny else (4, 20_000, 96)
    inputs = latch_inputs(Shape(B, T, D, reset=True), torch.float64, settings.device)
    found = latch_scan(**inputs, epsilon=0.5, backend="gpu")  # type: ignore[arg-type]
    apart = distance(found, _loop_latch(inputs, 0.5))
    assert apart <= 1e-12, f"{apart}"
    return {"shape": [B, T, D], "largest": apart}


def _loop_latch(inputs: Inputs, epsilon: float) -> Tensor:
    """The states by a loop in float64 on the device; only values, so nothing need be kept."""
    double = {k: v if v is None or v.dtype == torch.bool else v.double() for k, v in inputs.items()}
    with torch.no_grad():
        return reference.latch_scan(**double, epsilon=epsilon)  # type: ignore[arg-type]


def _linear_long(settings: Settings) -> dict[str, Any]:
    B, T, D = (1, 130, 5) if settings.tiny else (4, 40_000, 96)
    largest = {}
    for dtype in (torch.float32, torch.bfloat16, torch.complex64):
        inputs = linear_inputs(Shape(B, T, D, reset=True), dtype, settings.device)
        wide = torch.complex128 if dtype.is_complex else torch.float64
        double = {k: v if v is None or v.dtype == torch.bool else v.to(wide) for k, v in inputs.items()}
        with torch.no_grad():
            wanted = reference.linear_scan(**double)  # type: ignore[arg-type]
        largest[_short(dtype)] = distance(linear_scan(**inputs, backend="gpu"), wanted)  # type: ignore[arg-type]
        assert largest[_short(dtype)] <= LIMITS[dtype], f"{largest}"
    return {"shape": [B, T, D], "largest": largest}


def _repeated(settings: Settings, dtype: torch.dtype) -> dict[str, Any]:
    """The same bits again and again, of states and gradients: nothing depends on which program comes first."""
    sizes = ((1, 130, 5),) if settings.tiny else ((64, 1024, 256), (1, 200_000, 64), (3, 1000, 130))
    times = 2 if settings.tiny else 5
    for B, T, D in sizes:
        for moves in (True, False):
            shape = Shape(B, T, D, moves=moves, reset=True)
            latch, linear = latch_inputs(shape, dtype, settings.device), linear_inputs(shape, dtype, settings.device)
            grad = weights(latch)
            first = None
            for _ in range(times):
                found = (run_latch("gpu", latch, grad, 0.0, WIDTH), run_linear("gpu", linear, grad))
                bits = [t for states, grads in found for t in (states, *grads.values()) if t is not None]
                if first is not None:
                    assert same_bits(first, bits), f"other bits at {shape}"
                first = bits
    return {"times": times}


def _many_rows(settings: Settings) -> dict[str, Any]:
    """More rows than a grid's second axis may have, and single channels."""
    B, T, D = (5, 20, 1) if settings.tiny else (70_000, 65, 1)
    inputs = latch_inputs(Shape(B, T, D), torch.float32, settings.device)
    found = latch_scan(**inputs, backend="gpu")  # type: ignore[arg-type]
    assert torch.equal(found, _loop_latch(inputs, 0.0).float()), "bits differ"
    return {"shape": [B, T, D]}


def _rare_writes(settings: Settings) -> dict[str, Any]:
    """States that are held for as long as there is, over all levels of the look-back: only a first gate writes."""
    B, T, D = (1, 130, 5) if settings.tiny else (2, 150_000, 64)
    inputs = latch_inputs(Shape(B, T, D), torch.float32, settings.device)
    candidate, threshold = inputs["candidate"], inputs["threshold"]
    assert candidate is not None
    assert threshold is not None
    threshold.fill_(100.0)
    candidate[:, 0, : D // 2] = 1000.0
    grad = weights(inputs)
    states, grads = run_latch("gpu", inputs, grad, 0.0, WIDTH)
    _, wanted = run_latch(
        "portable", {k: None if v is None else v.double() for k, v in inputs.items()}, grad.double(), 0.0, WIDTH
    )
    assert torch.equal(states, latch_scan(**inputs, backend="portable")), "bits differ"  # type: ignore[arg-type]
    largest = {name: distance(value, wanted[name]) for name, value in grads.items() if name in ("candidate", "h0")}
    assert all(value <= 1e-4 for value in largest.values()), f"{largest}"
    return {"largest": largest}


def _not_numbers(settings: Settings) -> dict[str, Any]:
    """A NaN in a gate holds, and none crosses a write or a reset."""
    T = 140 if settings.tiny else 3000
    candidate = torch.zeros(1, T, 1, device=settings.device)
    candidate[:, 70], candidate[:, 71], candidate[:, 100], candidate[:, 130] = -2.0, torch.nan, torch.inf, -0.0
    threshold = torch.ones_like(candidate)
    threshold[:, 130] = 0.0
    alpha, h0 = torch.tensor([0.7], device=settings.device), torch.full((1, 1), torch.nan, device=settings.device)
    states = latch_scan(candidate, threshold, alpha, h0, backend="gpu").flatten().cpu()
    assert states[:70].isnan().all()
    assert torch.equal(states[70:], torch.tensor([-0.7] * 30 + [0.7] * (T - 100)))
    reset = torch.zeros(1, T, dtype=torch.bool, device=settings.device)
    reset[:, 100] = True
    found = linear_scan(
        torch.ones(1, device=settings.device), torch.ones_like(candidate), h0, reset=reset, backend="gpu"
    )
    assert found[0, :100].isnan().all()
    assert torch.equal(found[0, 100:, 0].cpu(), torch.arange(1.0, T - 99))
    return {}


def _compiled(settings: Settings) -> dict[str, Any]:
    """The same bits where the scans stand in a compiled graph."""
    if settings.tiny:
        return {"skipped": "takes a compiler"}
    inputs = latch_inputs(Shape(4, 1000, 96), torch.float32, settings.device)
    gates = [inputs[k] for k in ("candidate", "threshold", "alpha", "h0")]

    def both(c: Tensor, b: Tensor, a: Tensor, h: Tensor) -> Tensor:
        states = latch_scan(c, b, a, h, backend="gpu")
        return linear_scan(torch.sigmoid(b), states * 2, h, backend="gpu")

    compiled = torch.compile(both, fullgraph=True)
    leaves = [gate.detach().requires_grad_() for gate in gates if gate is not None]
    found, wanted = compiled(*leaves), both(*leaves)
    assert distance(found, wanted) <= 1e-5
    alone = torch.compile(latch_scan, fullgraph=True)
    assert torch.equal(alone(*leaves, backend="gpu"), latch_scan(*leaves, backend="gpu")), "bits differ"
    for one, other in zip(
        torch.autograd.grad(found.sum(), leaves), torch.autograd.grad(wanted.sum(), leaves), strict=True
    ):
        assert distance(one, other) <= 1e-4
    return {}
