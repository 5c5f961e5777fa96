"""What the environment says about the processes of a run: torchrun's complete set of variables, and nothing else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""The environment variables that torchrun sets for each process; a part of them means nothing."""
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""The variables that Lightning and torchmetrics read as they are imported, to guess the rank of the process."""


class Launched(NamedTuple):
    """The place of this process among those that a launcher started.

    Attributes:
        rank: the number of this process, from 0.
        size: the number of processes.
        local_rank: the number of this process among those on its machine, from 0.
        local_size: the number of processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def launched() -> Launched | None:
    """The place that torchrun gave this process; None unless all of its variables are set.

    A scheduler (SLURM, LSF, MPI) sets variables of its own in every job, which say nothing about what a user wants to
    train: they are not read. A variable that is set but empty counts as not set.

    Raises:
        ValueError: a variable of a complete set holds no number that it can have.
    """
    if not all(os.environ.get(name) for name in VARIABLES):
        return None
    size, local_size = _number("WORLD_SIZE", 1, None), _number("LOCAL_WORLD_SIZE", 1, None)
    return Launched(_number("RANK", 0, size), size, _number("LOCAL_RANK", 0, local_size), local_size)


@contextmanager
def without(names: tuple[str, ...]) -> Iterator[None]:
    """Hides environment variables within the context."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _number(name: str, least: int, end: int | None) -> int:
    """The whole number that a variable holds, from `least` up to but not including `end`."""
    text = os.environ[name]
    if not text.isdecimal() or int(text) < least or (end is not None and int(text) >= end):
        rule = f"at least {least}" + ("" if end is None else f" and below {end}")
        raise ValueError(f"`{name}` must be a whole number, {rule}, where a launcher sets it, got {text!r}")
    return int(text)
