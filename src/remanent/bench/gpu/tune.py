"""Tilings of the kernels that read memory once, tried on the spot: each must be right, and the fastest is named."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from remanent.bench.gpu.cases import Case, Settings
from remanent.bench.gpu.event_times import clock
from remanent.bench.gpu.fast import SHAPES, scan_inputs
from remanent.bench.gpu.problems import (
    LIMITS,
    Shape,
    distance,
    latch_inputs,
    linear_inputs,
    run_latch,
    run_linear,
    there,
    weights,
)
from remanent.bench.gpu.right import equal_reference
from remanent.bench.passes import both_passes
from remanent.ops.gpu import once
from remanent.ops.gpu.once import Tiling

WIDE = Tiling(block=64, parts=8, steps=16, warps=8, group=16, pair=2)
"""A thread takes two channels at once: words of 64 bits, or of 32 in half types."""
TRIED: dict[str, tuple[Tiling | None, ...]] = {
    "latch forward": (
        Tiling(parts=4, steps=32, warps=4),
        Tiling(parts=8, steps=16, warps=8),
        WIDE,
        None,
    ),
    "latch backward": (Tiling(parts=8, steps=8, warps=8), None),
    "linear forward": (
        Tiling(parts=4, steps=8, warps=1, group=8),
        Tiling(parts=4, steps=16, warps=4),
        WIDE._replace(parts=4, warps=4),
        None,
    ),
    "linear backward": (Tiling(parts=8, steps=8, warps=8), Tiling(parts=4, steps=8, warps=1, group=8), None),
    "latch forward, half": (WIDE, WIDE._replace(parts=4, warps=4), Tiling(parts=8, steps=16, warps=8), None),
    "latch backward, half": (WIDE._replace(steps=8), WIDE._replace(parts=16, steps=4, warps=16), None),
    "linear forward, half": (WIDE._replace(parts=4, warps=4), WIDE._replace(steps=8), None),
    "linear backward, half": (WIDE._replace(parts=4, steps=8, warps=4), WIDE._replace(steps=4), None),
}
"""For each kernel, what is tried; None is the kernels of `scans.py`, which read inputs twice where they cut time."""
PAIRED: dict[str, Tiling | None] = {name: tilings[0] for name, tilings in TRIED.items() if name.endswith("half")}
"""Half types in pairs in all kernels."""
HALF = ", half"


def checks(settings: Settings) -> list[Case]:
    """Whether each tiling gives what the portable backend gives, which also compiles it; half types in pairs first."""
    if settings.tiny:
        return [Case("tiling of all", partial(_check_all, settings), limit=120)]
    tried = [
        Case(f"tiling of {name}: {_label(tiling)}", partial(_check, settings, name, tiling), limit=150)
        for name, tilings in sorted(TRIED.items(), key=lambda item: not item[0].endswith(HALF))
        for tiling in tilings
        if tiling is not None
    ]
    pairs = [
        Case(
            f"{scan} in pairs: {variant}, {_short(dtype)}",
            partial(_in_pairs, settings, scan, variant, dtype),
            limit=150,
        )
        for dtype in (torch.bfloat16, torch.float16)
        for variant in ("reset", "time-first", "joint", "constant")[: 4 if dtype == torch.bfloat16 else 2]
        for scan in ("latch", "linear")
    ]
    return [*tried, *pairs]


def cases(settings: Settings) -> list[Case]:
    """The time of each kernel by each tiling, as a graph."""
    if settings.device != "cuda":
        return []
    return [Case(f"tilings of {name}", partial(_time, settings, name), limit=150) for name in TRIED]


def use(rows: Sequence[Mapping[str, Any]]) -> None:
    """Uses from now on what rows of `cases` have found best."""
    for row in rows:
        name = str(row["case"]).removeprefix("tilings of ")
        if name in once.TILINGS and "best" in row:
            tilings = {_label(tiling): tiling for tiling in TRIED[name]}
            once.TILINGS[name] = tilings.get(row["best"], once.TILINGS[name])


def _check_all(settings: Settings) -> dict[str, Any]:
    small = Tiling(parts=8, steps=8, warps=1, group=2)
    with _tiled(dict.fromkeys(once.TILINGS, small)):
        return _compare(settings, Shape(1, 140, 3, reset=True), torch.float32)


def _in_pairs(settings: Settings, scan: str, variant: str, dtype: torch.dtype) -> dict[str, Any]:
    with _tiled(PAIRED):
        return equal_reference(settings, scan, variant, dtype, "gpu")


def _check(settings: Settings, name: str, tiling: Tiling) -> dict[str, Any]:
    """In the forms that `fast` times, so that what is compiled here is found compiled there."""
    dtypes = (torch.bfloat16, torch.float16) if name.endswith(HALF) else (torch.float32,)
    with _tiled({name: tiling}):
        return {
            f"{(B, T, D)}, {_short(dtype)}": _compare(settings, Shape(B, T, D, h0=False), dtype, name)["largest"]
            for dtype in dtypes
            for B, T, D in ((3, 5000, 70), (1, 70_001, 64))
        }


def _compare(settings: Settings, shape: Shape, dtype: torch.dtype, name: str = "") -> dict[str, Any]:
    largest: dict[str, float] = {}
    if "linear" not in name:
        inputs = latch_inputs(shape, dtype, settings.device)
        inputs["alpha"] = there(inputs, "alpha")[0, 0]
        double = {k: v if v is None or v.dtype == torch.bool else v.double() for k, v in inputs.items()}
        grad = weights(inputs)
        states, grads = run_latch("gpu", inputs, grad, 0.0, 1.0)
        wanted, others = run_latch("portable", double, grad.double(), 0.0, 1.0)
        assert torch.equal(states, wanted.to(dtype)), f"bits differ at {shape}"
        largest |= {f"latch {k}": distance(grads[k], v) for k, v in others.items() if inputs[k] is not None}
    if "latch" not in name:
        inputs = linear_inputs(shape, dtype, settings.device)
        double = {k: v if v is None or v.dtype == torch.bool else v.double() for k, v in inputs.items()}
        grad = weights(inputs)
        states, grads = run_linear("gpu", inputs, grad)
        wanted, others = run_linear("portable", double, grad.double())
        largest["linear states"] = distance(states, wanted)
        largest |= {f"linear {k}": distance(grads[k], v) for k, v in others.items() if inputs[k] is not None}
    assert all(value <= LIMITS[dtype] for value in largest.values()), f"{largest}"
    return {"largest": largest}


def _time(settings: Settings, name: str) -> dict[str, Any]:
    """Milliseconds as a graph at two shapes, of the pass alone or of both; what is best is used from now on.

    A tiling that gives other values than the kernels that read twice is named, and not used.
    """
    scan, direction = name.removesuffix(HALF).split()
    dtype = torch.bfloat16 if name.endswith(HALF) else torch.float32
    found: dict[str, Any] = {}
    totals, wrong = dict.fromkeys(TRIED[name], 1.0), set()
    for shape in (SHAPES[0], SHAPES[-1]):
        times = {}
        forward, leaves, grad = scan_inputs(scan, shape, dtype, settings.device)
        run = (lambda once=forward: (once(),)) if direction == "forward" else both_passes(forward, leaves, grad)
        with _tiled({name: None}), torch.set_grad_enabled(direction == "backward"):
            wanted = run()
        for tiling in TRIED[name]:
            with _tiled({name: tiling}), torch.set_grad_enabled(direction == "backward"):
                if not all(_near(*pair, dtype) for pair in zip(run(), wanted, strict=True)):
                    wrong.add(tiling)
                times[_label(tiling)] = clock(run, settings.device).get("graph_ms", float("inf"))
            totals[tiling] *= times[_label(tiling)]
        found[str(shape)] = times
    best = min((tiling for tiling in totals if tiling not in wrong), key=lambda tiling: totals[tiling])
    once.TILINGS[name] = best
    return found | {"best": _label(best), "wrong": [_label(tiling) for tiling in TRIED[name] if tiling in wrong]}


def _near(one: Tensor, other: Tensor, dtype: torch.dtype) -> bool:
    """Whether two results are within the limit of a dtype, on their device; NaN is not."""
    apart, size = (one.float() - other.float()).abs().max(), other.float().abs().max()
    return bool(apart <= LIMITS[dtype] * size)


def _label(tiling: Tiling | None) -> str:
    if tiling is None:
        return "read twice"
    label = f"{tiling.parts} x {tiling.steps}, warps {tiling.warps}, group {tiling.group}"
    return label if tiling.pair == 1 else f"{label}, pairs"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@contextmanager
def _tiled(tilings: Mapping[str, Tiling | None]) -> Iterator[None]:
    before = dict(once.TILINGS)
    once.TILINGS.update(tilings)
    try:
        yield
    finally:
        once.TILINGS.update(before)
