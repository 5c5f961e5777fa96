"""Compiles kernels and runs them on several threads: those of torch where they can be reached, otherwise Python's."""

import ctypes
import functools
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

_lock = threading.Lock()


class Process:
    """What belongs to this process alone: after a fork, a child has none of its parent's threads."""

    forked = False
    pool: ThreadPoolExecutor | None = None


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it
    Process.forked, Process.pool = True, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(kernel: Any, arguments: np.ndarray, workers: int) -> None:
    """Calls a kernel on several threads at once, and returns when all of them have returned.

    A kernel divides its work itself, so that any number of threads, started at any time, is right.
    """
    address = arguments.ctypes.data
    if workers == 1:
        kernel.call(address)
    elif kernel.team is not None and not Process.forked:
        kernel.team(kernel.address, address, workers, 0)
    else:
        others = [_pool().submit(kernel.call, address) for _ in range(workers - 1)]
        kernel.call(address)
        for other in others:
            other.result()


class Kernel:
    """A compiled kernel: its address, and how to call it on this thread or on torch's team of threads."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled  # holds the code
        self.address = compiled.address
        self.call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address)
        self.team = _torch_team()


@functools.cache
def compiled(function: Callable[..., None], dtype: torch.dtype) -> Kernel:
    """The kernel for arrays of a dtype: compiled at its first use on a machine, and read from disk from then on."""
    import numba

    signature = numba.void(element_pointer(dtype))  # type: ignore[no-untyped-call]
    return Kernel(compile_function(function, signature))


def element_pointer(dtype: torch.dtype) -> Any:
    """The type of the address of an array, as kernels see its dtype."""
    import numba

    from remanent.ops.cpu import kernels

    half = {torch.bfloat16: kernels.BFLOAT16, torch.float16: kernels.FLOAT16}
    element = half[dtype] if dtype in half else numba.from_dtype(torch.empty(0, dtype=dtype).numpy().dtype)
    return numba.types.CPointer(element)  # type: ignore[no-untyped-call]


def compile_function(function: Callable[..., None], signature: Any) -> Any:
    """A C function of a signature of Numba's, with its `address`; its code lives as long as what is returned."""
    with _lock:
        return _cached(function, signature)


def _cached(function: Callable[..., None], signature: Any) -> Any:
    """The compiled function from Numba's files on disk; compiled here where these are damaged or cannot be written.

    A full disk, or a file that a crash of the machine cut short or filled with zeros, must not stop a scan.
    """
    import numba

    def compile_cfunc(*, cache: bool) -> Any:
        return numba.cfunc(signature, error_model="numpy", cache=cache)(function)

    try:
        return compile_cfunc(cache=True)
    except Exception as error:  # what reading a damaged file raises is anything
        if "cannot cache" in str(error):  # no folder to write to
            return compile_cfunc(cache=False)
        cause = error
    made = compile_cfunc(cache=False)  # raises again where the function itself is the cause
    from numba.core.caching import FunctionCache

    files = FunctionCache(function)  # type: ignore[no-untyped-call]
    place = Path(files.cache_path, f"{function.__module__.rpartition('.')[2]}.{function.__name__}-*")
    rule = f"Numba's files {place} could not be used ({type(cause).__name__}: {cause})"
    try:
        files.flush()  # type: ignore[no-untyped-call]
        made = compile_cfunc(cache=True)
    except Exception as error:
        advice = "delete them or make room for them, or every process compiles again"
        warnings.warn(f"{rule} nor written again ({error}): {advice}", stacklevel=2)
    else:
        warnings.warn(f"{rule}, and have been written again", stacklevel=2)
    return made


@functools.cache
def _torch_team() -> Any:
    """A function that runs a C function on torch's OpenMP threads, or None where these are not GNU's.

    A second set of threads would compete with torch's, which wait for work in a loop for milliseconds.
    """
    try:
        team = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):
        return None
    team.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    team.restype = None
    return team


def _pool() -> ThreadPoolExecutor:
    with _lock:
        if Process.pool is None:
            Process.pool = ThreadPoolExecutor(max(os.cpu_count() or 1, torch.get_num_threads()), "remanent")
        return Process.pool
