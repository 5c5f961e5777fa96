"""The processes of one run: the rank of this one, its part of each batch and of time, and how they agree."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from remanent._launched import Launched, launched
from remanent._options import check_at_least, check_choice, check_range
from remanent._plugins import suggested

STRATEGIES = ("ddp", "fsdp")
"""The choices of `Launch.strategy`."""
MOST_DEVICES = 1024
"""The most processes on a machine, more of which than it can hold would take it down."""
ACCELERATORS = ("cpu", "gpu")
"""The choices of `Launch.accelerator`."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class Launch:
    """The machines and processes that train a run; no part of its configuration, so that it can resume elsewhere.

    Args:
        devices: the number of processes on this machine, each on one device, in [1, 1024]; None for as many as the
            launcher started.
        strategy: how the processes hold the weights: "ddp" keeps all of them in each process, "fsdp" a part in each.
        time_shards: how many processes share the time of each sequence, at least 1; what remains shares the batch.
        accelerator: the kind of device of each process, "cpu" or "gpu".
        timeout: seconds without progress after which a process counts as hung, above 0.

    Raises:
        ValueError: a value is out of its range.
        TypeError: a count is not an int.
    """

    devices: int | None = None
    strategy: str = "ddp"
    time_shards: int = 1
    accelerator: str = "cpu"
    timeout: float = 600.0

    def __post_init__(self) -> None:
        if self.devices is not None:
            check_at_least("devices", self.devices, 1)
            check_range("devices", self.devices, 1, MOST_DEVICES)
        check_at_least("time_shards", self.time_shards, 1)
        check_choice("strategy", self.strategy, STRATEGIES)
        check_choice("accelerator", self.accelerator, ACCELERATORS)
        check_range("timeout", self.timeout, 0, float("inf"), open_low=True, open_high=True)
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise ValueError("`accelerator` must be cpu where torch finds no GPU, got gpu")

    def advice(self, folder: Path, processes: int, data_dir: str | None = None) -> str:
        """The command that resumes a run with as many processes on a machine, launched in the same way.

        Args:
            folder: the folder of the run.
            processes: the number of processes on a machine.
            data_dir: the folder that holds the data, where that is another one than the run began with.
        """
        words = ["train", "--resume", str(folder)]
        words += ["--data-dir", data_dir] if data_dir is not None else []
        words += ["--devices", str(processes)] if processes > 1 else []
        for name in ("strategy", "time_shards", "accelerator"):
            value = getattr(self, name)
            if value != getattr(Launch, name):
                words += [f"--{name.replace('_', '-')}", str(value)]
        return f"resume with {suggested(*words)}"


class Part(NamedTuple):
    """The part of something that a process holds.

    Attributes:
        place: the number of the part, from 0.
        size: the number of parts.
    """

    place: int
    size: int


WHOLE = Part(0, 1)
"""All of it."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run, of which `time.size` share each sequence and `data.size` share the batch.

    Processes that share a sequence have neighbouring ranks.

    Args:
        rank: the rank of this process.
        size: the number of processes.
        local_size: the number of processes on this machine.
        data: the part of the batch that this process holds.
        time: the part of the time that this process holds.
        time_group: the process group that shares the sequences of this process; None where time is whole.
        launch: how the processes were started.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    data: Part = WHOLE
    time: Part = WHOLE
    time_group: Any = None
    launch: Launch = field(default_factory=Launch)

    def all_do(self, action: Callable[[], Value]) -> Value:
        """Does `action` on every process and returns its result; if it raises on one, all raise, so that none waits."""
        try:
            value, error = action(), None
        except Exception as raised:
            value, error = None, raised
        for rank, (kind, words) in enumerate(self.gather((_kind(error), str(error)))):
            if kind == "NoneType":
                continue
            if error is not None:
                raise error
            raise _ERRORS.get(kind, RuntimeError)(f"{words} (on rank {rank})")
        return value  # type: ignore[return-value]

    def first_does(self, action: Callable[[], Value]) -> Value:
        """Does `action` on the first process alone and returns its result on all; if it raises, all raise."""
        return self.gather(self.all_do(lambda: action() if self.rank == 0 else None))[0]  # type: ignore[return-value]

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes, in the order of their ranks."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def sum(self, *values: float) -> list[float]:
        """The sum of each value over the processes."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def sum_over_time(self, value: Tensor) -> Tensor:
        """The sum over the processes that share the sequences of this one, in place."""
        if self.time_group is not None:
            dist.all_reduce(value, group=self.time_group)
        return value

    def rows(self, count: int) -> range:
        """The numbers of this process's examples, of `count` in all."""
        place, size = self.data
        return range(count * place // size, count * (place + 1) // size)

    def steps(self, x: Tensor) -> Tensor:
        """The steps of this process, of inputs or targets (B, T, ...)."""
        place, size = self.time
        return x if size == 1 else x.tensor_split(size, dim=1)[place]


_RAISED = (ValueError, TypeError, OSError, FileNotFoundError, FileExistsError, PermissionError)
_ERRORS: dict[str, type[Exception]] = {kind.__name__: kind for kind in _RAISED}


def _kind(error: Exception | None) -> str:
    """The nearest class of an error that the other processes can raise too, or its own name."""
    names = [kind.__name__ for kind in type(error).__mro__]
    return next((name for name in names if name in _ERRORS), names[0])


@contextmanager
def joined(launch: Launch) -> Iterator[Ranks]:
    """Joins the processes that the launcher started, within the context; without a launcher there is one process.

    Raises:
        ValueError: a variable of the launcher is wrong, or the number of processes does not fit `launch`.
    """
    given = launched() or Launched()
    size, local = given.size, given.local_size
    if launch.devices not in (None, local):
        came = f"{local} on this machine" if size > 1 else "none; start them by torchrun or by `remanent train`"
        raise ValueError(
            f"`devices` must be the number of processes that were started, got {launch.devices} and {came}"
        )
    if size % launch.time_shards:
        raise ValueError(f"`time_shards` must divide the number of processes, {size}, got {launch.time_shards}")
    if size == 1:
        yield Ranks(launch=launch)
        return
    ours = not dist.is_initialized()
    if ours:
        gpu = launch.accelerator == "gpu"
        if gpu:
            torch.cuda.set_device(given.local_rank)
        backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
        # the heartbeat ends the process before this does, since it knows more
        dist.init_process_group(backend, timeout=timedelta(seconds=2 * launch.timeout + 60))
    try:
        yield _ranks(launch, local)
    finally:
        if ours:
            dist.destroy_process_group()


def _ranks(launch: Launch, local: int) -> Ranks:
    rank, size, shards = dist.get_rank(), dist.get_world_size(), launch.time_shards
    alone = Ranks(rank, size, local, launch=launch)
    for other, theirs in enumerate(alone.gather(launch)):
        if theirs != launch:
            raise ValueError(f"every process must be launched alike, got {launch} on rank {rank}, {theirs} on {other}")
    device = "cuda" if launch.accelerator == "gpu" else "cpu"
    mesh = init_device_mesh(device, (size // shards, shards), mesh_dim_names=("data", "time"))
    group = mesh["time"].get_group() if shards > 1 else None
    data, time = divmod(rank, shards)
    return Ranks(rank, size, local, Part(data, size // shards), Part(time, shards), group, launch)
