"""What units put out over time under a given input."""

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from remanent.analysis._probe import CHUNK, Probed, check_sequences, evaluating, pieces, run
from remanent.models import SequenceModel


@torch.no_grad()
def state_trajectory(model: SequenceModel, x: Tensor, *, block: int = 0, unit: int = 0) -> Tensor:
    """What one unit of a model puts out at every step.

    Args:
        model: any model.
        x: inputs, (B, T, M), taken in chunks, but for attention, which sees all of them at once.
        block: which block, counted from the input.
        unit: which of its units, as `ModelConfig.unit` names them.

    Returns:
        The unit's outputs, (B, T, D); of a BMRU these are its states.

    Raises:
        ValueError: there is no such block or unit, or a shape does not fit.
        TypeError: `model` is no SequenceModel, or `x` no tensor of its dtype.

    >>> from remanent import ModelConfig
    >>> state_trajectory(SequenceModel(ModelConfig(1, 1, hidden_size=8)), torch.randn(2, 30, 1)).shape
    torch.Size([2, 30, 8])
    """
    if not isinstance(model, SequenceModel):
        raise TypeError(f"`model` must be a SequenceModel, got {type(model).__name__}")
    check_sequences(model, "x", x)
    if not 0 <= block < len(model.blocks):
        raise ValueError(f"`block` must be in [0, {len(model.blocks)}), got {block}")
    units = model.blocks[block].layer.units  # type: ignore[union-attr]
    if not 0 <= unit < len(units):  # type: ignore[arg-type]
        raise ValueError(f"`unit` must be in [0, {len(units)}), got {unit}")  # type: ignore[arg-type]
    state, seen = None, []
    with evaluating(model), _outputs_of([units[unit]]) as outputs:  # type: ignore[index]
        for left, right in pieces(0, x.shape[1], x.shape[1] if model.attends else CHUNK):
            _, state = model(x[:, left:right], state)
            seen.append(outputs.pop())
    return torch.cat(seen, dim=1)


def answering(model: SequenceModel) -> SequenceModel:
    """The same model, of the same weights, with its head at every step."""
    other = copy.copy(model)
    other.config = dataclasses.replace(model.config, head="every")
    return other


def every_output(module: Probed, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """What all units put out at every step of a chunk, side by side (B, T, W), and what goes on."""
    if not isinstance(module, SequenceModel):
        return run(module, x, state)
    units = [unit for block in module.blocks for unit in block.layer.units]  # type: ignore[union-attr]
    with _outputs_of(units) as outputs:
        _, state = module(x, state)
    return torch.cat(outputs, dim=-1), state


@contextmanager
def _outputs_of(units: list[Any]) -> Iterator[list[Tensor]]:
    """A list to which each unit's outputs come as it runs."""
    seen: list[Tensor] = []
    handles = [unit.register_forward_hook(lambda _, __, output: seen.append(output[0])) for unit in units]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
