"""Gates that are normalised by running statistics, folded into weights and biases for inference."""

import dataclasses
from typing import Any

import torch
from torch import nn

from remanent.latches.layer_runs import check_module
from remanent.units import RecurrentUnit
from remanent.units.cell import RecurrentCell
from remanent.units.latching.gate_norm import GATE_NORM_NAMES, plain_gates


@torch.no_grad()
def fold_gate_norm(module: nn.Module) -> list[str]:
    r"""Folds the running statistics and gains of latches with `gate_norm="batch"` into their weights and biases.

    The units then have `gate_norm="none"`, and give the same in evaluation, up to rounding, at the cost of plain gates.
    Gates that are normalised over the channels of a step depend on it, and stay as they are.

    Args:
        module: a unit, a cell, a model, or any module that holds some; it is changed in place.

    Returns:
        The names of the units and cells that were folded, as `module.named_modules()` gives them: "" for `module`.

    Raises:
        ValueError: there is nothing to fold, or a latch has no biases for the means.
        TypeError: `module` is not a module.

    >>> from remanent import BMRU
    >>> unit = BMRU(3, 8, gate_norm="batch").eval()
    >>> fold_gate_norm(unit), "gate_mean_l0" in unit.state_dict()
    ([''], False)
    """
    check_module(module)
    found = {
        name: unit
        for name, unit in module.named_modules()
        if isinstance(unit, RecurrentUnit | RecurrentCell) and getattr(unit.recurrence, "gate_norm", "") == "batch"
    }
    if not found:
        raise ValueError(f"`module` must hold a latch with gate_norm='batch', got none in {type(module).__name__}")
    for name, unit in found.items():
        if not unit.bias:
            raise ValueError(f"`module` must have biases in its latches, got none in {name or type(unit).__name__}")
    for unit in found.values():
        _fold(unit)
    part: Any
    for part in module.modules():
        config = getattr(part, "config", None)
        if dataclasses.is_dataclass(config) and not isinstance(config, type) and hasattr(config, "gate_norm"):
            part.config = dataclasses.replace(config, gate_norm="none")  # a model is saved as it is now
    return list(found)


def _fold(unit: RecurrentUnit | RecurrentCell) -> None:
    layers = unit._suffixes() if isinstance(unit, RecurrentUnit) else [""]
    for suffix in layers:
        p = unit._params(suffix) if isinstance(unit, RecurrentUnit) else unit._params()
        plain, _ = plain_gates(p, "batch")
        for name in ("weight_ih", "bias_ih"):
            p[name].copy_(plain[name])
        for name in GATE_NORM_NAMES:
            delattr(unit, name + suffix)
    unit._shapes.pop("gate_gain")
    unit._buffer_names = ()
    unit.recurrence.set_option("gate_norm", "none")
