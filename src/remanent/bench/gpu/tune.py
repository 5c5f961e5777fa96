"""Tilings of the kernels that read memory once, tried on the spot: each must be right, and the fastest is named."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

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
    weights,
)
from remanent.bench.passes import both_passes
from remanent.ops.gpu import once
from remanent.ops.gpu.once import Tiling

TRIED: dict[str, tuple[Tiling | None, ...]] = {
    "latch forward": (
        Tiling(parts=4, steps=32, warps=4),
        Tiling(parts=8, steps=16, warps=8),
        Tiling(parts=4, steps=8, warps=1, group=8),
        None,
    ),
    "latch backward": (Tiling(parts=8, steps=8, warps=8), None),
    "linear forward": (
        Tiling(parts=4, steps=32, warps=4),
        Tiling(parts=4, steps=16, warps=4),
        Tiling(parts=4, steps=8, warps=1, group=8),
        None,
    ),
    "linear backward": (Tiling(parts=8, steps=8, warps=8), Tiling(parts=4, steps=8, warps=1, group=8), None),
}
"""For each kernel, what is tried; None is the kernels of `scans.py`, which read inputs twice where they cut time."""
HALVES = {"": torch.float32, ", half": torch.bfloat16}


def checks(settings: Settings) -> list[Case]:
    """Whether each tiling gives what the portable backend gives, which also compiles it."""
    if settings.tiny:
        return [Case("tiling of all", partial(_check_all, settings), limit=120)]
    return [
        Case(f"tiling of {name}: {_label(tiling)}", partial(_check, settings, name, tiling), limit=150)
        for name, tilings in TRIED.items()
        for tiling in tilings
        if tiling is not None
    ]


def cases(settings: Settings) -> list[Case]:
    """The time of each kernel by each tiling, as a graph."""
    if settings.device != "cuda":
        return []
    return [
        Case(f"tilings of {name}{half}", partial(_time, settings, name, half), limit=150)
        for half in HALVES
        for name in TRIED
    ]


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
        return _compare(settings, Shape(1, 200, 5, reset=True), torch.float32)


def _check(settings: Settings, name: str, tiling: Tiling) -> dict[str, Any]:
    found = {}
    for half, dtype in HALVES.items():
        with _tiled({name + half: tiling}):
            for B, T, D in ((3, 5000, 70), (1, 70_001, 64)):
                found[f"{(B, T, D)}{half}"] = _compare(settings, Shape(B, T, D), dtype, name)["largest"]
    return {"found": found}


def _compare(settings: Settings, shape: Shape, dtype: torch.dtype, name: str = "") -> dict[str, Any]:
    largest: dict[str, float] = {}
    if "linear" not in name:
        inputs = latch_inputs(shape, dtype, settings.device)
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


def _time(settings: Settings, name: str, half: str) -> dict[str, Any]:
    """Milliseconds as a graph at two shapes, of the pass alone or of both; what is best is used from now on."""
    scan, direction = name.split()
    found: dict[str, Any] = {}
    totals = dict.fromkeys(TRIED[name], 1.0)
    for shape in (SHAPES[0], SHAPES[-1]):
        times = {}
        forward, leaves, grad = scan_inputs(scan, shape, HALVES[half], settings.device)
        run = forward if direction == "forward" else both_passes(forward, leaves, grad)
        for tiling in TRIED[name]:
            with _tiled({name + half: tiling}), torch.set_grad_enabled(direction == "backward"):
                times[_label(tiling)] = clock(run, settings.device).get("graph_ms", float("inf"))
                totals[tiling] *= times[_label(tiling)]
        found[str(shape)] = times
    best = min(totals, key=lambda tiling: totals[tiling])
    once.TILINGS[name + half] = best
    return found | {"best": _label(best)}


def _label(tiling: Tiling | None) -> str:
    if tiling is None:
        return "read twice"
    return f"{tiling.parts} x {tiling.steps}, warps {tiling.warps}, group {tiling.group}"


@contextmanager
def _tiled(tilings: Mapping[str, Tiling | None]) -> Iterator[None]:
    before = dict(once.TILINGS)
    once.TILINGS.update(tilings)
    try:
        yield
    finally:
        once.TILINGS.update(before)
