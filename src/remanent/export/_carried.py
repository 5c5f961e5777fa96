"""The state of streams in C as the state of the model in torch, and back."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent.export._blocks import unit_keys
from remanent.export._fold import packed_levels, step_data
from remanent.models import ModelState, SequenceModel
from remanent.models.row_linear import Restored
from remanent.models.state import BlockState
from remanent.units import StepData


class Carried(NamedTuple):
    """Where C keeps the state of a unit.

    Attributes:
        name: its member of the struct.
        place: how errors name it, as a session's states are named.
        step: what the unit computes, of the model as it was trained.
    """

    name: str
    place: str
    step: StepData


def carried_units(model: SequenceModel) -> list[list[Carried]]:
    """Where C keeps the state of each unit, block by block."""
    found = []
    for i, (names, block) in enumerate(zip(model.config.layers, model.blocks, strict=True)):
        units: Any = block.layer.units  # type: ignore[union-attr]
        steps = [step_data(unit) for unit in units]
        named = zip(unit_keys(names), steps, strict=True)
        found.append(
            [Carried(f"block_{i}_{key}", f"layers.{i}.{j}", step) for j, (key, step) in enumerate(named) if step]
        )
    return found


def read_state(states: np.ndarray, model: SequenceModel, carried: Sequence[Sequence[Carried]]) -> ModelState:
    """The state of the model from the structs (B,) of C."""
    fields = states.dtype.names or ()
    blocks = []
    for i, (units, block) in enumerate(zip(carried, model.blocks, strict=True)):
        window = None
        if f"block_{i}_conv_window" in fields:
            flat = torch.from_numpy(states[f"block_{i}_conv_window"].copy())
            window = flat.unflatten(1, (-1, block.conv.hidden_size)).transpose(0, 1).contiguous()  # type: ignore[union-attr, arg-type]
        blocks.append(BlockState(tuple(_read_unit(states, unit)[None] for unit in units), window))
    time = torch.from_numpy(states["time"].astype(np.int64)) if "time" in fields else None
    if "normed_total" not in fields:
        return ModelState.of(blocks, time=time)
    total = torch.from_numpy(states["normed_total"].copy())
    steps = torch.from_numpy(states["steps"].astype(np.float64))[:, None]
    return ModelState.of(blocks, total=total, steps=steps, time=time)


def write_state(
    states: np.ndarray, given: ModelState, model: SequenceModel, carried: Sequence[Sequence[Carried]]
) -> None:
    """Fills the structs (B,) of C from a state of the model.

    Raises:
        ValueError: a state that C keeps as a bit or a byte has a value that its unit never has.
    """
    written = states.copy()
    for units, layer in zip(carried, given.layers, strict=True):
        for unit, h in zip(units, layer, strict=True):
            _write_unit(written, unit, h[0])
    windows, fields = list(given.windows or ()), states.dtype.names or ()
    for i in range(len(carried)):
        if f"block_{i}_conv_window" in fields:
            written[f"block_{i}_conv_window"] = windows.pop(0).transpose(0, 1).flatten(1).numpy()
    if given.time is not None:
        written["time"] = given.time.numpy()
    if given.total is not None and given.steps is not None:
        head, steps = model.head, given.steps
        written["normed_total"], written["steps"] = given.total.numpy(), steps[:, 0].numpy()
        sums = given.total @ head.weight.detach().double().T + steps * head.bias.detach().double()
        if isinstance(head, Restored):
            sums = sums * head.deviation.double() + steps * head.mean.double()
        written["total"] = sums.numpy()
    states[:] = written


def _read_unit(states: np.ndarray, unit: Carried) -> Tensor:
    """The states (B, D) of a unit."""
    name, step = unit.name, unit.step
    kept = torch.from_numpy(states[name].copy())
    levels = packed_levels(step)
    if levels is not None:
        low, high = (level * step.values["alpha"].detach() for level in levels)
        found = torch.where(_bits(states[name], step.hidden_size), high, low)
        if f"{name}_written" in (states.dtype.names or ()):
            start = torch.zeros_like(low) if step.start is None else step.start.detach()
            found = torch.where(_bits(states[f"{name}_written"], step.hidden_size), found, start)
        return found
    if step.num_states > 1:
        return torch.nn.functional.one_hot(kept.long(), step.num_states).flatten(1).float()
    if kept.shape[1] == 2 * step.hidden_size:
        return torch.complex(*kept.chunk(2, dim=1))
    return kept


def _write_unit(states: np.ndarray, unit: Carried, h: Tensor) -> None:
    """Writes the states (B, D) of a unit."""
    name, step = unit.name, unit.step
    levels = packed_levels(step)
    if levels is not None:
        low, high = (level * step.values["alpha"].detach() for level in levels)
        is_high, is_low = h == high, h == low
        is_start = torch.zeros_like(is_low)
        if f"{name}_written" in (states.dtype.names or ()):
            is_start = h == (torch.zeros_like(low) if step.start is None else step.start.detach())
            states[f"{name}_written"] = _packed(is_high | is_low)
        _check_known(unit, h, is_high | is_low | is_start)
        states[name] = _packed(is_high)
    elif step.num_states > 1:
        tracers = h.unflatten(1, (-1, step.num_states))
        places = tracers.argmax(-1)
        known = (tracers == torch.nn.functional.one_hot(places, step.num_states)).all(-1)
        _check_known(unit, h, known.repeat_interleave(step.num_states, dim=1))
        states[name] = places.byte().numpy()
    else:
        states[name] = (torch.cat([h.real, h.imag], dim=1) if h.is_complex() else h).numpy()


def _check_known(unit: Carried, h: Tensor, known: Tensor) -> None:
    if not known.all():
        rule = f'`state["{unit.place}"]` must hold what its unit writes or starts from for the engine "native"'
        raise ValueError(f"{rule}, got {h[~known][0].item():g}")


def _bits(packed: np.ndarray, size: int) -> Tensor:
    """Bits (B, D) of bytes, the lowest first."""
    return torch.from_numpy(np.unpackbits(packed, axis=1, count=size, bitorder="little").astype(bool))


def _packed(bits: Tensor) -> np.ndarray:
    return np.packbits(bits.numpy(), axis=1, bitorder="little")
