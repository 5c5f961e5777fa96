"""State of torch and of the process that a function changes for its own use, and gives back as it was."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name))
"""The signals that end a process, those of them that this system has."""


def generators_kept() -> AbstractContextManager[None]:
    """Gives torch's global generators back as they were, on the CPU and on GPUs that are in use."""
    in_use = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    return torch.random.fork_rng(devices=list(in_use))


@contextmanager
def threads_kept() -> Iterator[None]:
    """Gives the number of torch's threads back as it was."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    """Sets the number of torch's threads within the context."""
    with threads_kept():
        torch.set_num_threads(count)
        yield


def threads_allowed(wanted: int) -> int:
    """The threads to compute with: so many as are wanted, and no more than OMP_NUM_THREADS allows, where it is set."""
    allowed = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list has a number for each depth
    return min(wanted, int(allowed)) if allowed.isdecimal() and int(allowed) > 0 else wanted


@contextmanager
def variable_kept(name: str) -> Iterator[None]:
    """Gives an environment variable back as it was, or removes it again."""
    before = os.environ.get(name)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Gives the handlers of the signals that end a process back as they were; Python has them in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: it was not installed by Python
                signal.signal(number, handler)


@contextmanager
def determinism_kept() -> Iterator[None]:
    """Gives back whether torch insists on deterministic algorithms or warns, and whether cuDNN tries algorithms out."""
    mode, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def cudnn_off() -> Iterator[None]:
    """Runs torch's own kernels instead of those of cuDNN within the context."""
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before
