"""Global state of torch that a function changes for its own use, and gives back as it was."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch


def generators_kept() -> AbstractContextManager[None]:
    """Gives torch's global generators back as they were, on the CPU and on GPUs that are in use."""
    in_use = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    return torch.random.fork_rng(devices=list(in_use))


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    """Sets the number of torch's threads within the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def determinism_kept() -> Iterator[None]:
    """Gives back whether torch insists on deterministic algorithms or warns, and whether cuDNN tries algorithms out."""
    mode, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.backends.cudnn.benchmark = benchmark
