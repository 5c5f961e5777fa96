"""The section on whole layers: every unit compared with those of torch, and with the projection that all need."""

from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from torch import nn

from remanent.bench import peers
from remanent.bench.passes import layer_both, normal_inputs
from remanent.bench.timing import Case, Row, Settings, add_ratios, measure
from remanent.units import UNITS

SHAPES = ((8, 1024, 256), (8, 4096, 256))
"""The shapes (B, T, D) that are timed."""
QUICK_SHAPES = ((2, 32, 16),)
"""The shapes (B, T, D) of a quick trial."""


def time_layers(settings: Settings) -> list[Row]:
    """Times both passes of every layer, as the first of a model, whose input needs no gradient, and as a later one."""
    rows = []
    for (B, T, D), first in product(QUICK_SHAPES if settings.quick else SHAPES, (True, False)):
        x, grad, more = normal_inputs(3, B, T, D)
        torch.manual_seed(0)
        wide = torch.cat([grad, more], dim=-1)
        cases = [Case("nn.Linear(M, 2 D)", layer_both(nn.Linear(D, 2 * D), x, wide, first=first))]
        makers: dict[str, Callable[[], nn.Module]] = {
            getattr(make, "__name__", name): partial(make, D, D, batch_first=True) for name, make in UNITS.items()
        }
        makers |= {f"nn.{make.__name__}": partial(make, D, D, batch_first=True) for make in (nn.GRU, nn.LSTM)}
        for name, make in (makers | {"minGRU-pytorch minGRU": partial(_min_gru, D)}).items():
            try:
                cases.append(Case(name, layer_both(make(), x, grad, first=first)))
            except Exception as error:
                cases.append(Case(name, None, peers.reason(error)))
        group = measure("layers", {"B": B, "T": T, "M": D, "D": D, "first": int(first)}, cases, settings.repeats)
        add_ratios(group, "over nn.Linear", "nn.Linear(M, 2 D)")
        add_ratios(group, "nn.GRU over it", "nn.GRU", inverse=True)
        rows += group
    return rows


def _min_gru(D: int) -> nn.Module:
    from minGRU_pytorch.minGRU import minGRU

    return minGRU(D)
