"""States of heads as one-hot vectors, side by side for each head and tracer, and as the places of their ones."""

import torch
from torch import Tensor

from remanent.ops.arguments import HeadSizes

MOST_STATES = 255
"""The most states of a head: a byte holds one."""


def start_places(heads: int, sizes: HeadSizes, device: torch.device | None = None) -> Tensor:
    """The state in which tracer r of head k starts, (k R + r) mod K, as (H, R)."""
    count = heads * sizes.tracers
    return (torch.arange(count, device=device) % sizes.states).view(heads, sizes.tracers)


def start_state(like: Tensor, heads: int, sizes: HeadSizes) -> Tensor:
    """The start of all heads as one-hot vectors, (D,), in the dtype and on the device of `like`."""
    return one_hot(start_places(heads, sizes, like.device), sizes.states, like.dtype)


def started(h: Tensor, start: Tensor) -> Tensor:
    """The states (..., D) with those of zeros alone replaced by the start (D,)."""
    return torch.where((h == 0).all(-1, keepdim=True), start, h)


def one_hot(places: Tensor, K: int, dtype: torch.dtype) -> Tensor:
    """The places of ones (..., H, R) as one-hot vectors side by side, (..., H R K)."""
    return (places[..., None] == torch.arange(K, device=places.device)).to(dtype).flatten(-3)


def places_of(h: Tensor, heads: int, sizes: HeadSizes) -> Tensor:
    """The places of the ones of states (..., D), as (..., H, R)."""
    return by_head(h, heads, sizes).argmax(-1)


def by_head(h: Tensor, heads: int, sizes: HeadSizes) -> Tensor:
    """States (..., D) as (..., H, R, K)."""
    return h.unflatten(-1, (heads, sizes.tracers, sizes.states))


def is_one_hot(h: Tensor, K: int) -> bool:
    """Whether states (..., D) are one-hot in each K numbers; a state of zeros is not. It takes few calls of torch."""
    ones = (h.detach().reshape(-1, K) == 1).any(1)
    return bool(ones.all() & (h.count_nonzero() == len(ones)))  # a one in each, and nothing else


def check_one_hot(name: str, h: Tensor, K: int) -> None:
    """Raises unless states (..., D) are one-hot in each K numbers, as they are where epsilon is 0."""
    if is_one_hot(h, K):
        return
    parts = h.detach().unflatten(-1, (h.shape[-1] // K, K))
    fits = (((parts == 0) | (parts == 1)).all(-1) & (parts.sum(-1) == 1)).flatten(0, -2)
    row, tracer = (~fits).nonzero()[0].tolist()
    found = parts.flatten(0, -3)[row, tracer].tolist()
    raise ValueError(
        f"`{name}` must be one-hot in each {K} numbers where `epsilon` is 0, or zeros for the start, "
        f"got {found} for tracer {tracer} of row {row}"
    )
