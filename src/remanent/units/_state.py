"""States as users hold them, one tensor or a tuple, and as recurrences do, one tensor (..., W)."""

import torch
from torch import Tensor

from remanent.units._checks import check_state
from remanent.units.recurrence import Params, Recurrence

State = Tensor | tuple[Tensor, ...]
"""One tensor, or two where a unit has two states, as an LSTM has."""


def join_state(
    name: str,
    state: State,
    shape: tuple[int, ...],
    axes: str,
    like: Tensor,
    *,
    dtype: torch.dtype,
    parts: int,
    input_kind: str | None = None,
) -> Tensor:
    """One tensor (..., W) from a user's state, whose parts are checked as `check_state` does."""
    if parts == 1:
        return check_state(name, state, shape, axes, dtype, like, input_kind)
    if not isinstance(state, tuple | list) or len(state) != parts:
        raise TypeError(f"`{name}` must be a tuple of {parts} tensors, got {type(state).__name__}")
    named = [(f"{name}[{i}]", part) for i, part in enumerate(state)]
    return torch.cat([check_state(n, part, shape, axes, dtype, like, input_kind) for n, part in named], dim=-1)


def split_state(h: Tensor, parts: int) -> State:
    """A user's state from one tensor (..., W)."""
    return h if parts == 1 else tuple(part.clone() for part in h.chunk(parts, dim=-1))


def own_state(recurrence: Recurrence, p: Params, x: Tensor, D: int) -> Tensor:
    """A unit's own initial state (B, W): learned, or zeros."""
    B, W = x.shape[0], D * recurrence.state_parts
    start = recurrence.start(p)
    if start is not None:
        return start.expand(B, W)
    weight = next(iter(p.values()))
    return x.new_zeros(B, W, dtype=recurrence.state_dtype(weight.dtype))
