"""Three sections on the scans alone: beside others' scans, against the floor that a copy sets, and over threads."""

import math

import torch
from torch import Tensor

from remanent.bench import peers
from remanent.bench.runs import latch_both, layer_both, linear_both, normal_inputs, positive_inputs, usable_cores
from remanent.bench.timing import Case, Row, Settings, add_ratios, measure
from remanent.ops import latch_scan, linear_scan
from remanent.units import BMRU

SHAPES = ((8, 1024, 256), (4, 16384, 64), (16, 4096, 256))
QUICK_SHAPES = ((2, 64, 8), (1, 256, 4))
FLOOR_SHAPES = ((16, 4096, 256), (4, 65536, 64), (1, 1048576, 64))
THREADS_SHAPE = (16, 4096, 256)
QUICK_SHAPE = (2, 64, 8)
LATCH_FORWARD, LATCH_BACKWARD = 3, 5
"""Arrays (B, T, D) that the passes of the latch move at least: two gates and the states; two gates, three gradients."""
LINEAR_FORWARD, LINEAR_BACKWARD = 2, 3
COPY = 2
"""What a copy moves: one array read, one written."""


def time_scans(settings: Settings) -> list[Row]:
    """Both passes of one first-order scan by us and by others, once their values were found equal."""
    rows = []
    for shape in QUICK_SHAPES if settings.quick else SHAPES:
        decay, value, grad = positive_inputs(*shape)
        expected = peers.exact(decay, value, grad)
        cases = [peers.checked_case(name, decay, value, grad, expected) for name in peers.SCANS]
        del expected
        candidate, threshold = normal_inputs(2, *shape)
        cases.insert(1, Case("latch_scan", latch_both(candidate, threshold, grad)))
        group = measure("scans", sizes(shape), cases, settings.repeats)
        add_ratios(group, "over linear_scan", "linear_scan")
        rows += group
    return rows


def time_floor(settings: Settings) -> list[Row]:
    """The scans against the time in which a copy moves the bytes that they must move at least."""
    rows: list[Row] = []
    for shape in QUICK_SHAPES if settings.quick else FLOOR_SHAPES:
        rows += _floor_group(shape, settings.repeats)
    return rows


def _floor_group(shape: tuple[int, int, int], repeats: int) -> list[Row]:
    cases = _floor_cases(shape)
    rows = measure("floor", sizes(shape), cases, repeats)
    copy = rows[0].median
    for row, case in zip(rows, cases, strict=True):
        row.bytes = 4 * case.arrays * math.prod(shape)
        if copy and row.median:
            row.floor_ratio = case.arrays / COPY * copy / row.median
    return rows


def _floor_cases(shape: tuple[int, int, int]) -> list[Case]:
    source, threshold, grad = normal_inputs(3, *shape)
    target = torch.zeros_like(source)
    halves = torch.cat([source, threshold], dim=-1).chunk(2, dim=-1)
    alpha, decay = torch.ones(shape[-1]), torch.rand(shape[-1], generator=torch.Generator().manual_seed(1))

    def latch(candidate: Tensor, threshold: Tensor) -> Tensor:
        return latch_scan(candidate, threshold, alpha)

    return [
        Case("copy_", lambda: target.copy_(source), arrays=COPY),
        Case("clone", source.clone, arrays=COPY),
        Case("latch forward", lambda: latch(source, threshold), arrays=LATCH_FORWARD),
        Case("latch forward, halves of one", lambda: latch(*halves), arrays=LATCH_FORWARD),
        Case("latch both", latch_both(source, threshold, grad), arrays=LATCH_FORWARD + LATCH_BACKWARD),
        Case("linear forward", lambda: linear_scan(decay, source), arrays=LINEAR_FORWARD),
        Case("linear both", linear_both(decay, source, grad), arrays=LINEAR_FORWARD + LINEAR_BACKWARD),
    ]


def time_threads(settings: Settings) -> list[Row]:
    """Both passes of the scans and of a BMRU on 1, 2, 4, ... threads, up to the number of cores."""
    shape = QUICK_SHAPE if settings.quick else THREADS_SHAPE
    D = shape[-1]
    value, threshold, grad = normal_inputs(3, *shape)
    torch.manual_seed(0)
    runs = {
        "latch_scan": latch_both(value, threshold, grad),
        "linear_scan": linear_both(torch.sigmoid(threshold), value, grad),
        "BMRU": layer_both(BMRU(D, D, batch_first=True), value, grad),
    }
    counts = [2**i for i in range(usable_cores().bit_length())]
    cases = [Case(f"{name}, threads {n}", run, threads=n) for name, run in runs.items() for n in counts]
    rows = measure("threads", sizes(shape), cases, settings.repeats)
    for start in range(0, len(rows), len(counts)):
        group = rows[start : start + len(counts)]
        add_ratios(group, "speed-up", group[0].case, inverse=True)
    return rows


def sizes(shape: tuple[int, int, int]) -> dict[str, int]:
    """A shape (B, T, D) with the names of its axes."""
    return dict(zip("BTD", shape, strict=True))
