"""The outputs of units over time, under a given input."""

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
    """The outputs of one unit of a model at every step.

    Args:
        model: any model.
        x: inputs, (B, T, M), or tokens (B, T), read in chunks, or in one piece by a model with attention.
        block: the number of the block, from 0 at the input.
        unit: the number of the unit in the block, from 0, in the order of `ModelConfig.unit`.

    Returns:
        The unit's outputs, (B, T, D); of a BMRU these are its states.

    Raises:
        ValueError: there is no such block or unit, or a shape does not fit.
        TypeError: `model` is not a SequenceModel, or `x` is not a tensor of its dtype.

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
        for left, right in pieces(0, x.shape[1], CHUNK if model.streams else x.shape[1]):
            _, state = model(x[:, left:right], state)
            seen.append(outputs.pop())
    return torch.cat(seen, dim=1)


def answering(model: SequenceModel) -> SequenceModel:
    """A model that shares the weights of the given one and answers at every step."""
    other = copy.copy(model)
    other.config = dataclasses.replace(model.config, head="every")
    return other


def every_output(module: Probed, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """The outputs of all units at every step of a chunk, side by side (B, T, W), and the state after it."""
    if not isinstance(module, SequenceModel):
        return run(module, x, state)
    units = [unit for block in module.blocks for unit in block.layer.units]  # type: ignore[union-attr]
    with _outputs_of(units) as outputs:
        _, state = module(x, state)
    return torch.cat(outputs, dim=-1), state


@contextmanager
def _outputs_of(units: list[Any]) -> Iterator[list[Tensor]]:
    """A list to which the outputs of each unit are added as it runs within the context."""
    seen: list[Tensor] = []
    handles = [unit.register_forward_hook(lambda _, __, output: seen.append(output[0])) for unit in units]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
