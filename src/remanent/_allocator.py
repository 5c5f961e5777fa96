"""Where large results get their memory: from results that were freed; and the C library's own memory, as an option."""

import ctypes
import math
import os
import sys
import weakref
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # options of glibc's mallopt
_PAD = 64 * 2**20

LEAST = 4 * 2**20
"""Bytes of a result from which its memory is kept: below, an allocation costs about as much as this one."""
VARIABLE = "REMANENT_KEPT_MIB"
"""The environment variable of how many MiB are kept for results to come; 0 keeps none."""
_ALIGNMENT = 64
_idle: dict[int, list[np.ndarray]] = {}  # size to blocks that no tensor uses


def _kept_bytes() -> int:
    text = os.environ.get(VARIABLE, "1024")
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"the environment variable {VARIABLE} must be a number of MiB from 0, got {text!r}")
    return int(text) * 2**20


KEPT = _kept_bytes()
"""The most bytes that are kept while no tensor uses them."""


def empty_result(like: Tensor, shape: Sequence[int], strides: Sequence[int] | None = None) -> Tensor:
    """Allocates a tensor for a result of the library, large ones on a CPU in the memory of earlier ones.

    A block of memory belongs to one storage, and is handed out again only when no tensor uses that storage: it comes
    back from the destructor of the storage, as every view, and everything saved for a backward pass, holds it. Both
    ways are single operations on lists, so that threads need no lock, nor does a destructor that runs within them; a
    forked child has copies of its own. Such a storage cannot be resized.

    Args:
        like: a tensor that gives the dtype and the device.
        shape: the sizes.
        strides: the strides in elements, of a tensor without gaps; None for the order of the axes.
    """
    if not _may_be_kept(like, shape):
        return like.new_empty(shape) if strides is None else like.new_empty_strided(shape, strides)
    block = _block(_rounded(like.itemsize * math.prod(shape)))
    array = block[:]
    weakref.finalize(array, _give_back, block).atexit = False
    storage = torch.from_numpy(array).untyped_storage()  # holds the array, which nothing else does
    strides = _strides(shape) if strides is None else strides
    return like.new_empty(0).set_(storage, 0, tuple(shape), tuple(strides))


def reuse_freed_memory() -> bool:
    """Makes the process keep the memory of freed tensors for new ones, if the C library is glibc.

    By default, glibc returns large blocks to the system as they are freed, and the first access to each new page
    costs a page fault, so that filling a tensor of tens of MB takes several times as long as writing to memory in use,
    in every operation of torch; only large results of this library keep theirs. After the call, the process no longer
    shrinks: it keeps the memory of its peak (up to 2 GiB at the end of its memory), and its peak may be half as high
    again: a small object between two blocks can make either too short for the next tensor of its size. Call it before
    the first large tensor, as the commands `remanent train`, `evaluate` and `demo` do. It affects the whole process and
    cannot be undone.

    Returns:
        Whether it took effect; False without glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, _PAD))
    return all(mallopt(option, value) for option, value in settings)


def _may_be_kept(like: Tensor, shape: Sequence[int]) -> bool:
    """Whether a result is large, of the CPU and of no trace, and need not be filled by torch."""
    if not (type(like) in (Tensor, torch.nn.Parameter) and like.device.type == "cpu" and KEPT):
        return False
    if like.itemsize * math.prod(shape) < LEAST:
        return False
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined] # a property of the module
    return not (fills and torch.are_deterministic_algorithms_enabled())


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def _rounded(size: int) -> int:
    """A size up to an eighth larger, so that results of about one size share blocks; the rest is not touched."""
    step = 1 << max(0, size.bit_length() - 4)
    return -(-size // step) * step


def _block(size: int) -> np.ndarray:
    """An idle block of a size, the last that was used, or a new one that begins at a cache line."""
    try:
        return _idle.setdefault(size, []).pop()
    except IndexError:
        memory = np.empty(size + _ALIGNMENT, dtype=np.uint8)  # numpy asks for huge pages where the system has them
        return memory[-memory.ctypes.data % _ALIGNMENT :][:size]


def _give_back(block: np.ndarray) -> None:
    """Keeps a block; those of other sizes, then of its own, go where there are too many bytes."""
    size = len(block)
    _idle.setdefault(size, []).append(block)
    excess = sum(s * len(blocks) for s, blocks in _idle.copy().items()) - KEPT
    for other in sorted(_idle, key=lambda s: s == size):
        while excess > 0:
            try:
                _idle[other].pop(0)
            except IndexError:
                break
            excess -= other
