"""Complex numbers as pairs of real ones, real part first, and back: views where the memory allows it."""

from typing import Any

import torch
from torch import Tensor

PAIR_DTYPES = (torch.float32, torch.float64)
"""The dtypes of pairs."""


def as_pairs(value: Tensor) -> Tensor:
    """Complex numbers (..., D) as pairs (..., 2 D): the real part of a channel, then its imaginary part."""
    return torch.view_as_real(value.resolve_conj()).flatten(-2)


def as_complex(pairs: Tensor) -> Tensor:
    """Pairs (..., 2 D), which lie as complex numbers do, as such numbers (..., D)."""
    return torch.view_as_complex(pairs.unflatten(-1, (-1, 2)))


def complex_call(call: Any) -> Any:
    """The named tuple of a scan's arguments with its pairs as complex numbers; what is no pair stays as it is."""
    return call._make(as_complex(_laid(value)) if _has_pairs(value) else value for value in call)


def paired_call(call: Any) -> Any:
    """The named tuple of a scan's arguments with its complex numbers as pairs."""
    return call._make(as_pairs(value) if _is_complex(value) else value for value in call)


def _laid(pairs: Tensor) -> Tensor:
    """Pairs that lie as complex numbers do: a copy where they may not, as a part of another tensor may not."""
    if not torch.compiler.is_compiling():  # which does not trace the place in memory
        *others, last = pairs.stride()
        if last == 1 and pairs.storage_offset() % 2 == 0 and all(stride % 2 == 0 for stride in others):
            return pairs
    return pairs.clone(memory_format=torch.contiguous_format)


def _has_pairs(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype in PAIR_DTYPES


def _is_complex(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_complex()
