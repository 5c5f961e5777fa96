"""How measures run a unit or a model alike: batch first, with the whole state that it carries."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from remanent.models import SequenceModel
from remanent.models.state import ModelState
from remanent.units import RecurrentUnit

Probed = RecurrentUnit | SequenceModel
"""What can be measured: a unit, or a model such as `SequenceModel.load` reads from the folder of a run."""

CHUNK = 4096
"""The number of steps that a measure reads at a time where it does not need the whole sequence."""


def check_probed(module: Any) -> None:
    """Raises unless a module is a unit of one direction, or a model whose state does not grow."""
    if not isinstance(module, Probed):
        raise TypeError(f"`module` must be a RecurrentUnit or a SequenceModel, got {type(module).__name__}")
    if isinstance(module, RecurrentUnit) and module.bidirectional:
        raise ValueError("`module` must have one direction, got bidirectional=True")
    if isinstance(module, SequenceModel) and module.config.bidirectional:
        raise ValueError("`module` must have one direction, got a bidirectional model")
    if isinstance(module, SequenceModel) and module.attends:
        raise ValueError(
            "`module` must have a state of constant size, got a model with attention, which keeps every step"
        )


def check_sequences(module: Probed, name: str, x: Any) -> None:
    """Raises unless inputs fit the module: (B, T, M) or tokens (B, T), of at least one sequence and one step."""
    if not isinstance(x, Tensor):
        raise TypeError(f"`{name}` must be a torch.Tensor, got {type(x).__name__}")
    tokens = isinstance(module, SequenceModel) and module.config.reads_tokens
    size: int = module.config.input_size if isinstance(module, SequenceModel) else module.input_size
    dtype = torch.int64 if tokens else next(module.parameters()).dtype
    axes = ("B", "T") if tokens else ("B", "T", f"M={size}")
    if x.dim() != len(axes) or (not tokens and x.shape[-1] != size):
        raise ValueError(f"`{name}` must have shape ({', '.join(axes)}), got {tuple(x.shape)}")
    if 0 in x.shape[:2]:
        raise ValueError(f"`{name}` must have a sequence and a step, got B={x.shape[0]} and T={x.shape[1]}")
    if x.dtype != dtype:
        raise TypeError(f"`{name}` must have dtype {dtype}, got {x.dtype}")
    if tokens and not 0 <= int(x.min()) <= int(x.max()) < size:
        raise ValueError(f"`{name}` must hold tokens in [0, {size}), got {int(x.min())} to {int(x.max())}")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Puts a module into evaluation mode within the context, so that it drops nothing."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def run(module: Probed, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """Runs a module on inputs (B, T, ...): its outputs, batch first as well, and its state after the last step."""
    if isinstance(module, RecurrentUnit) and not module.batch_first:
        y, state = module(x.transpose(0, 1), state)
        return y.transpose(0, 1), state
    y, state = module(x, state)
    return y, state


def memories(state: Any) -> list[Tensor]:
    """The states of the units, (1 or L, B, W) each, without the sums and counts of a model's head."""
    return tree_leaves(state.layers if isinstance(state, ModelState) else state)


def flat(state: Any) -> Tensor:
    """The states of all units, one real row for each sequence, (B, W)."""
    parts = [torch.view_as_real(part).flatten(2) if part.is_complex() else part for part in memories(state)]
    return torch.cat([part.transpose(0, 1).flatten(1) for part in parts], dim=1)


def carried(state: Any) -> list[Tensor]:
    """All tensors of a state that gradients can pass through."""
    parts = [part for part in tree_leaves(state) if isinstance(part, Tensor)]
    return [part for part in parts if part.is_floating_point() or part.is_complex()]


def detached(state: Any) -> Any:
    """The same state as the start of a new graph."""

    def leaf(part: Tensor) -> Tensor:
        differentiable = part.is_floating_point() or part.is_complex()
        return part.detach().requires_grad_(differentiable)

    return tree_map_only(Tensor, leaf, state)


def pieces(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """The steps from `start` to `stop` in pieces of at most `size`, each as its own start and stop."""
    for left in range(start, stop, size):
        yield left, min(left + size, stop)
