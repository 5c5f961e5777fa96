"""The processes of one run: which of them this is, what it holds of a batch and of time, and how they agree."""

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from remanent._options import check_at_least, check_choice, check_range

STRATEGIES = ("ddp", "fsdp")
ACCELERATORS = ("cpu", "gpu")
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher such as torchrun tells each process."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class Launch:
    """On what a run is trained; not a part of its configuration, so that it may go on elsewhere.

    Args:
        devices: processes on this machine, one a device, at least 1; None for as many as the launcher started.
        strategy: how the processes share the weights: "ddp" keeps them whole on each, "fsdp" a part of them.
        time_shards: how many processes share the time of each sequence, at least 1; the others share the batch.
        accelerator: "cpu" or "gpu", one a process.
        timeout: seconds without a sign of life after which a process is taken for hung, above 0.

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
        check_at_least("time_shards", self.time_shards, 1)
        check_choice("strategy", self.strategy, STRATEGIES)
        check_choice("accelerator", self.accelerator, ACCELERATORS)
        check_range("timeout", self.timeout, 0, float("inf"), open_low=True, open_high=True)
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise ValueError("`accelerator` must be cpu where torch finds no GPU, got gpu")

    def advice(self, folder: Path, processes: int) -> str:
        """How to go on with a run on as many processes of a machine, and in the same way."""
        words = ["remanent", "train", "--resume", str(folder)]
        words += ["--devices", str(processes)] if processes > 1 else []
        for name in ("strategy", "time_shards", "accelerator"):
            value = getattr(self, name)
            if value != getattr(Launch, name):
                words += [f"--{name.replace('_', '-')}", str(value)]
        return f"go on with `{shlex.join(words)}`"


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run, of which `time[1]` share each sequence and `data[1]` the batch.

    Processes that share a sequence have neighbouring ranks.

    Args:
        rank: this process's.
        size: how many there are.
        local_size: how many of them are on this machine.
        data: which part of the batch this one has, and of how many.
        time: which part of the time, and of how many.
        time_group: those that share this one's sequences; None where time is whole.
        launch: how they were started.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    data: tuple[int, int] = (0, 1)
    time: tuple[int, int] = (0, 1)
    time_group: Any = None
    launch: Launch = field(default_factory=Launch)

    def all_do(self, action: Callable[[], Value]) -> Value:
        """What `action` returns here; where it raises on one process, all raise, and none waits."""
        try:
            value, error = action(), None
        except Exception as raised:
            value, error = None, raised
        for rank, (kind, words) in enumerate(self.gather((type(error).__name__, str(error)))):
            if kind == "NoneType":
                continue
            if error is not None:
                raise error
            raise _ERRORS.get(kind, RuntimeError)(f"{words} (on rank {rank})")
        return value  # type: ignore[return-value]

    def first_does(self, action: Callable[[], Value]) -> Value:
        """Does it on the first process alone, and gives all what it returned; where it raises, all raise."""
        return self.gather(self.all_do(lambda: action() if self.rank == 0 else None))[0]  # type: ignore[return-value]

    def gather(self, value: Value) -> list[Value]:
        """A value of every process, in the order of ranks."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def sum(self, *values: float) -> list[float]:
        """The sums over the processes."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def sum_over_time(self, value: Tensor) -> Tensor:
        """The sum over the processes that share this one's sequences."""
        if self.time_group is not None:
            dist.all_reduce(value, group=self.time_group)
        return value

    def rows(self, count: int) -> range:
        """Which of so many examples are this process's."""
        place, size = self.data
        return range(count * place // size, count * (place + 1) // size)

    def steps(self, x: Tensor) -> Tensor:
        """This process's steps of (B, T, ...)."""
        place, size = self.time
        return x if size == 1 else x.tensor_split(size, dim=1)[place]


_RAISED = (ValueError, TypeError, OSError, FileNotFoundError, FileExistsError, PermissionError)
_ERRORS: dict[str, type[Exception]] = {kind.__name__: kind for kind in _RAISED}


@contextmanager
def joined(launch: Launch) -> Iterator[Ranks]:
    """Meets the other processes that the launcher started; alone where there was none.

    Raises:
        ValueError: the launcher said too little, or what it started does not fit `launch`.
    """
    size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
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
    missing = [name for name in VARIABLES if name not in os.environ]
    if missing:
        raise ValueError(f"a launcher of processes must set {', '.join(VARIABLES)}, got no {' and no '.join(missing)}")
    ours = not dist.is_initialized()
    if ours:
        gpu = launch.accelerator == "gpu"
        if gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
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
    return Ranks(rank, size, local, (data, size // shards), (time, shards), group, launch)
