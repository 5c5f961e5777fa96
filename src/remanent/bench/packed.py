"""The section on packed sequences: a batch of one long and many short ones, beside the same batch padded."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from remanent.bench.length import measure_memory
from remanent.bench.passes import both_passes
from remanent.bench.timing import Case, Row, Settings, add_ratios, measure
from remanent.units import BMRU, CMRU, LRU, MinGRU

SHAPES = ((64, 4000, 64), (256, 20_000, 64))
"""The shapes (B, T, D) that are timed: one sequence of T steps, the others of `SHORT`."""
QUICK_SHAPES = ((4, 64, 8),)
"""The shapes of a quick trial."""
LOOPS, LONGEST_LOOP = ("nn.GRU",), 4000
"""Layers with a loop over time, and the most steps T for which they are timed: 20,000 took a minute a run."""
SHORT = 20
"""The steps of a short sequence."""
PADDED = 1 << 19
"""The most steps B T of a batch that is padded; for more, only packed sequences are timed."""
LAYERS: dict[str, Callable[..., nn.Module]] = {
    "BMRU": BMRU,
    "CMRU": CMRU,
    "MinGRU": MinGRU,
    "LRU": LRU,
    "nn.GRU": nn.GRU,
}
"""Name to layer."""


def time_packed(settings: Settings) -> list[Row]:
    """Times both passes of layers of D channels on 2 D features, packed and padded, and measures the memory.

    The ratio "over padded" is what leaving out the padding leaves of a layer's time; "memory over input" counts what
    the forward pass needs beside its input, its output included.
    """
    rows: list[Row] = []
    for B, T, D in QUICK_SHAPES if settings.quick else SHAPES:
        packed, shape = packed_input(B, T, 2 * D), {"B": B, "T": T, "D": D, "real steps": T + (B - 1) * SHORT}
        for name in LAYERS:
            if name in LOOPS and T > LONGEST_LOOP:
                skipped = Case(f"{name} packed", None, f"skipped: loops over more than {LONGEST_LOOP:,} steps")
                rows += measure("packed", shape, [skipped], settings.repeats)
                continue
            torch.manual_seed(0)
            layer = LAYERS[name](2 * D, D)
            cases = [Case(f"{name} packed", _both(layer, packed))]
            if B * T <= PADDED:
                cases.append(Case(f"{name} padded", _both(layer, torch.randn(T, B, 2 * D))))
            group = measure("packed", shape, cases, settings.repeats)
            add_ratios(group, "over padded", f"{name} padded")
            if not settings.quick:  # a process each, which takes seconds
                group[0].peak_bytes, group[0].note = measure_memory(f"packed {name}", (B, T, D), settings)
                if group[0].peak_bytes is not None:
                    group[0].ratios["memory over input"] = group[0].peak_bytes / packed.data.nbytes
            rows += group
    return rows


def packed_input(B: int, T: int, M: int) -> PackedSequence:
    """A sequence of T steps and B - 1 of `SHORT` steps, of M features, packed without a padded batch in between."""
    batch_sizes = torch.ones(T, dtype=torch.int64)
    batch_sizes[:SHORT] = B
    draw = torch.Generator().manual_seed(0)
    return PackedSequence(torch.randn(int(batch_sizes.sum()), M, generator=draw), batch_sizes)


def packed_forward(name: str, packed: PackedSequence, D: int) -> Callable[[], object]:
    """A run of the forward pass of a layer, without gradients."""
    return partial(_forward, LAYERS[name](packed.data.shape[1], D), packed)


@torch.no_grad()
def _forward(layer: nn.Module, x: Tensor | PackedSequence) -> object:
    return layer(x)


def _both(layer: nn.Module, x: Tensor | PackedSequence) -> Callable[[], object]:
    with torch.no_grad():
        grad = torch.ones_like(_output(layer, x))
    return both_passes(lambda: _output(layer, x), list(layer.parameters()), grad)


def _output(layer: nn.Module, x: Tensor | PackedSequence) -> Tensor:
    y = layer(x)[0]
    return y.data if isinstance(y, PackedSequence) else y
