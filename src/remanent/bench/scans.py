"""Four sections on the scans alone: compared with others, with a copy of the same bytes, over threads, and of heads."""

import math

import torch
from torch import Tensor

from remanent.bench import peers
from remanent.bench.passes import latch_both, layer_both, linear_both, normal_inputs, positive_inputs, usable_cores
from remanent.bench.timing import Case, Row, Settings, add_ratios, measure
from remanent.ops import latch_scan, linear_scan, lookup_scan, transition_scan
from remanent.units import BMRU

SHAPES = ((8, 1024, 256), (4, 16384, 64), (16, 4096, 256))
"""The shapes (B, T, D) of the section "scans"."""
QUICK_SHAPES = ((2, 64, 8), (1, 256, 4))
"""The shapes (B, T, D) of a quick trial of "scans" and "floor"."""
FLOOR_SHAPES = ((16, 4096, 256), (4, 65536, 64), (1, 1048576, 64))
"""The shapes (B, T, D) of the section "floor"."""
THREADS_SHAPE = (16, 4096, 256)
"""The shape (B, T, D) of the section "threads"."""
QUICK_SHAPE = (2, 64, 8)
"""The shape (B, T, D) of a quick trial of "threads"."""
LATCH_FORWARD, LATCH_BACKWARD = 3, 5
"""The arrays (B, T, D) that the latch must move: two gates and the states forward; two gates, three gradients back."""
LINEAR_FORWARD, LINEAR_BACKWARD = 2, 3
"""The arrays (B, T, D) that a linear scan with a decay (D,) must move: value and states; then states, two gradients."""
HEADS = ((16, 4096, 16, 4), (16, 4096, 10, 5))
"""The shapes (B, T, H, K) of the section "transition", each with K tracers: beside a copy."""
TOKEN_HEADS = ((8, 4096, 8, 4),)
"""Those that look up tables of tokens, beside a GRU of as many hidden values."""
TRAINED_HEADS = ((4, 1024, 8, 4),)
"""Those whose both passes are timed."""
QUICK_HEADS = ((2, 16, 2, 3),)
"""Those of a quick trial."""
LETTERS = 64
"""The letters whose tables are looked up."""
COPY = 2
"""The arrays (B, T, D) that a copy moves: one is read and one written."""


def time_scans(settings: Settings) -> list[Row]:
    """Times both passes of a first-order scan, of this library and of those others that compute the same values."""
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
    """Compares the scans with the time in which a copy moves the bytes that they must move."""
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
    """Times both passes of the scans and of a BMRU on 1, 2, 4, ... threads, up to the number of cores."""
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


def time_transition(settings: Settings) -> list[Row]:
    """Times heads of K states: forward beside a copy, by tokens beside a GRU, and both passes beside torch's means."""
    rows: list[Row] = []
    for B, T, H, K in QUICK_HEADS if settings.quick else HEADS:
        logits = 4 * normal_inputs(1, B, T, H * K * K)[0]
        rows += _beside_copy(logits, K, settings.repeats)
    for B, T, H, K in QUICK_HEADS if settings.quick else TOKEN_HEADS:
        group = measure("transition", _head_sizes(B, T, H, K), _token_cases(B, T, H, K), settings.repeats)
        add_ratios(group, "nn.GRU over it", "nn.GRU", inverse=True)
        rows += group
    for B, T, H, K in QUICK_HEADS if settings.quick else TRAINED_HEADS:
        logits, grad = normal_inputs(2, B, T, H * K * K)
        cases = [Case(name, run(4 * logits, grad, K)) for name, run in peers.TRANSITIONS.items()]
        group = measure("transition", _head_sizes(B, T, H, K), cases, settings.repeats)
        add_ratios(group, "over transition_scan", "transition_scan both")
        rows += group
    return rows


def _beside_copy(logits: Tensor, K: int, repeats: int) -> list[Row]:
    """With as many tracers as states, the states have as many bytes as the logits."""
    B, T, W = logits.shape
    target = torch.zeros_like(logits)
    scan = Case("transition forward", lambda: transition_scan(logits, num_states=K, num_tracers=K))
    cases = [Case("copy_", lambda: target.copy_(logits)), Case("clone", logits.clone), scan]
    rows = measure("transition", _head_sizes(B, T, W // (K * K), K), cases, repeats)
    for row in rows:
        row.bytes = COPY * logits.nbytes
        if row.median and rows[0].median:
            row.floor_ratio = rows[0].median / row.median
    return rows


def _token_cases(B: int, T: int, H: int, K: int) -> list[Case]:
    draw = torch.Generator().manual_seed(0)
    tables = torch.randint(K, (LETTERS, H, K), generator=draw, dtype=torch.uint8)
    tokens = torch.randint(LETTERS, (B, T), generator=draw)
    torch.manual_seed(0)
    hidden = H * K * K
    gru, letters = torch.nn.GRU(hidden, hidden, batch_first=True), torch.randn(LETTERS, hidden)

    def run_gru() -> object:
        with torch.no_grad():
            return gru(letters[tokens])

    return [Case("lookup_scan", lambda: lookup_scan(tables, tokens)), Case("nn.GRU", run_gru)]


def _head_sizes(B: int, T: int, H: int, K: int) -> dict[str, int]:
    return {"B": B, "T": T, "H": H, "K": K, "R": K}


def sizes(shape: tuple[int, int, int]) -> dict[str, int]:
    """The sizes of a shape (B, T, D) by the names of its axes."""
    return dict(zip("BTD", shape, strict=True))
