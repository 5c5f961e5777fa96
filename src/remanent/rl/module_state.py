"""The state of a unit or a model as tensors of a tensordict, batch first, each under a key of its own."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from remanent.models import ModelState, SequenceModel
from remanent.models.state import batch_axis
from remanent.units import RecurrentUnit

Memory = RecurrentUnit | SequenceModel
"""What remembers: a unit, or a model of units."""
PAIR = ("_h", "_c")
"""How the keys of a state of two tensors end, as those of TorchRL's `LSTMModule` do."""


class Part(NamedTuple):
    """A tensor of a state.

    Attributes:
        ending: how its default key ends.
        axis: the axis of the batch, as the unit or model has the state.
        shape: that of one sequence in a tensordict, after the axes of the batch.
        dtype: its dtype in a tensordict, where a complex number is a pair of real ones.
        is_complex: whether the unit has it in complex numbers.
    """

    ending: str
    axis: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    is_complex: bool


class StateForm(NamedTuple):
    """How the state of a unit or a model is written into a tensordict, and read from it.

    Attributes:
        parts: its tensors.
        frame: a state with True in place of each tensor, and False in place of None.
    """

    parts: tuple[Part, ...]
    frame: Any

    @classmethod
    def of(cls, memory: Memory) -> "StateForm":
        """The form of the states that a unit or a model has."""
        state = memory.initial_state(1)
        if isinstance(state, ModelState):
            named = [(f"_{name.replace('.', '_')}", batch_axis(name)) for name in state.named()]
        elif isinstance(state, tuple):
            endings = PAIR if len(state) == 2 else tuple(f"_{i}" for i in range(len(state)))
            named = [(ending, 1) for ending in endings]
        else:
            named = [("", 1)]
        parts = []
        for (ending, axis), tensor in zip(named, _tensors(state), strict=True):
            row = _as_real(tensor.movedim(axis, 0))[0]
            parts.append(Part(ending, axis, tuple(row.shape), row.dtype, tensor.is_complex()))
        return cls(tuple(parts), tree_map(lambda leaf: leaf is not None, state))

    def read(self, tensors: list[Tensor]) -> Any:
        """The state of B sequences, from tensors (B, ...)."""
        given = zip(self.parts, tensors, strict=True)
        return self._state([_as_complex(value, part).movedim(0, part.axis) for part, value in given])

    def read_steps(self, tensors: list[Tensor]) -> Any:
        """The states at every step, with an axis of T after that of the batch, from tensors (B, T, ...)."""
        given = zip(self.parts, tensors, strict=True)
        moved = [_as_complex(value, p).movedim((0, 1), (p.axis, p.axis + 1)) for p, value in given]
        return self._state(moved)

    def write(self, state: Any) -> list[Tensor]:
        """Tensors (B, ...) from the state of B sequences."""
        tensors = zip(self.parts, _tensors(state), strict=True)
        return [_as_real(value.movedim(part.axis, 0)) for part, value in tensors]

    def _state(self, tensors: list[Tensor]) -> Any:
        left, (held, spec) = iter(tensors), tree_flatten(self.frame)
        return tree_unflatten([next(left) if holds else None for holds in held], spec)


def own_where_zeros(form: StateForm, tensors: list[Tensor], memory: Memory) -> list[Tensor]:
    """States (B, T, ...), with the own initial state of a unit or model where all tensors of a step are zeros."""
    if memory.starts_at_zeros:
        return tensors
    written = torch.stack([(value != 0).reshape(*value.shape[:2], -1).any(2) for value in tensors]).any(0)
    own = form.write(memory.initial_state(1))
    return [
        torch.where(written.reshape(*written.shape, *(1,) * (value.dim() - 2)), value, start[:, None])
        for value, start in zip(tensors, own, strict=True)
    ]


def _tensors(state: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(state)[0] if leaf is not None]


def _as_real(value: Tensor) -> Tensor:
    return torch.view_as_real(value) if value.is_complex() else value


def _as_complex(value: Tensor, part: Part) -> Tensor:
    return torch.view_as_complex(value.contiguous()) if part.is_complex else value
