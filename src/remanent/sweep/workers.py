"""Where the runs of a grid are done: in processes of this machine, or by Ray; each in a process of its own."""

import importlib
import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol

from remanent._launched import VARIABLES, without
from remanent._plugins import naming_extra
from remanent.sweep.jobs import Job, work

IMPORTED_LATE = ("remanent.training.run", "numba", "torch.utils.tensorboard", "safetensors.torch")
"""What a run imports only once it trains, which takes seconds: the server of which runs are forked has it ready."""
CAPACITY_AGE = 5.0
"""Seconds after which the size of a cluster is looked up again."""


class Ended(NamedTuple):
    """How the process of a run ended.

    Attributes:
        key: the run's identity.
        status: the exit status of its process; below 0 if a signal ended it, None if it is not known.
        note: what else is known, such as an error.
    """

    key: str
    status: int | None
    note: str

    @property
    def reason(self) -> str:
        """Why the process ended, in words."""
        if self.status is None:
            return self.note
        if self.status < 0:
            return f"the process was ended by {signal.Signals(-self.status).name}"
        return f"the process ended with status {self.status}" + (f", {self.note}" if self.note else "")


class RunningProcess(NamedTuple):
    """A process that does a job, and the connection on which it reports an error."""

    process: BaseProcess
    notes: Connection


class Workers(Protocol):
    """Takes jobs and reports how they ended."""

    def room(self) -> int:
        """How many more jobs can be started now."""

    def start(self, key: str, job: Job) -> None:
        """Starts a job."""

    def ended(self, seconds: float) -> list[Ended]:
        """The jobs that have ended since the last call; waits at most `seconds` for one."""

    def close(self) -> None:
        """Ends the jobs that are still running."""


class Processes:
    """Processes of this machine.

    Where the system can fork, they are forked from a server that has imported everything once, so that a run
    begins within a fraction of a second. The server itself never computes, so it has no threads that a
    fork would lose.

    Args:
        count: the number of processes at a time.
        preload: modules that the server imports beside this one.
    """

    def __init__(self, count: int, preload: tuple[str, ...] = ()) -> None:
        self.count = count
        self.running: dict[str, RunningProcess] = {}
        forks = "forkserver" in multiprocessing.get_all_start_methods()
        self.context: Any = multiprocessing.get_context("forkserver" if forks else "spawn")
        if forks:
            self.context.set_forkserver_preload([__name__, *IMPORTED_LATE, *preload])

    def room(self) -> int:
        """How many more processes may be started."""
        return self.count - len(self.running)

    def start(self, key: str, job: Job) -> None:
        """Starts a process for the job."""
        notes, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(target=_work_alone, args=(job, sender), name=key)
        with _safe_path():
            process.start()
        sender.close()
        self.running[key] = RunningProcess(process, notes)

    def ended(self, seconds: float) -> list[Ended]:
        """The processes that have ended."""
        if not self.running:
            time.sleep(seconds)
            return []
        wait([each.process.sentinel for each in self.running.values()], seconds)
        return [self._take(key) for key in list(self.running) if self.running[key].process.exitcode is not None]

    def close(self) -> None:
        """Kills the processes; their runs can be resumed from their checkpoints."""
        for each in self.running.values():
            each.process.kill()
        for key in list(self.running):
            self.running[key].process.join()
            self._take(key)

    def _take(self, key: str) -> Ended:
        process, notes = self.running.pop(key)
        status = process.exitcode
        try:
            note = notes.recv_bytes().decode() if notes.poll() else ""
        except EOFError:
            note = ""
        notes.close()
        process.close()
        return Ended(key, status, note)


class RayTasks:
    """Tasks of Ray, on this machine or on a cluster whose nodes share the folders of the runs and the results.

    Args:
        count: the number of tasks at a time; None for as many as the cluster has room for.
        threads: the cores that a run takes.
        gpus: the number of GPUs that a run takes; below 1, runs share one.
        address: the address of a cluster; None to start Ray on this machine.

    Raises:
        ModuleNotFoundError: Ray is not installed.
    """

    def __init__(self, count: int | None, threads: int, gpus: float, address: str | None) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        with naming_extra():
            self.ray: Any = importlib.import_module("ray")  # much of it has no types
        self.count, self.needs = count, {"CPU": float(threads), "GPU": gpus}
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            own = {"address": "local", "num_cpus": (count or 1) * threads}  # even where another cluster runs here
            self.ray.init(**own, include_dashboard=False, **quiet)
        else:
            self.ray.init(address=address, **quiet)
        task = self.ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)  # the grid itself retries
        self.task = task(_work_under_ray)
        self.running: dict[Any, str] = {}
        self.capacity, self.asked = 0, -CAPACITY_AGE

    def room(self) -> int:
        """How many more tasks the cluster has cores and GPUs for."""
        if time.monotonic() - self.asked >= CAPACITY_AGE:
            has = self.ray.cluster_resources()
            self.capacity = min(int(has.get(kind, 0) / need) for kind, need in self.needs.items() if need)
            self.asked = time.monotonic()
        return min(self.capacity, self.count or self.capacity) - len(self.running)

    def start(self, key: str, job: Job) -> None:
        """Gives the job to Ray."""
        self.running[self.task.remote(job)] = key

    def ended(self, seconds: float) -> list[Ended]:
        """The tasks that have ended, also because their process or node was lost."""
        if not self.running:
            time.sleep(seconds)
            return []
        done, _ = self.ray.wait(list(self.running), num_returns=1, timeout=seconds)
        return [self._take(task) for task in done]

    def close(self) -> None:
        """Cancels the tasks and shuts Ray down."""
        for task in self.running:
            self.ray.cancel(task, force=True)
        self.ray.shutdown()

    def _take(self, task: Any) -> Ended:
        key = self.running.pop(task)
        try:
            return Ended(key, *self.ray.get(task))
        except self.ray.exceptions.RayError as error:
            return Ended(key, None, f"{type(error).__name__}: {str(error).splitlines()[0]}")


def has_ray() -> bool:
    """Whether Ray is installed."""
    return importlib.util.find_spec("ray") is not None


def make_workers(count: int | None, threads: int, gpus: float, address: str | None) -> Workers:
    """Chooses where the runs of a grid are done.

    Args:
        count: the number of runs at a time; None for one, or, where Ray is installed, as many as there are cores for.
        threads: the cores that a run takes.
        gpus: the number of GPUs that a run takes, which Ray assigns.
        address: the address of a Ray cluster; None for this machine, where Ray is used for more than one run at a time.
    """
    if address is not None or gpus:
        return RayTasks(count, threads, gpus, address)
    if count is None:
        count = max(1, (os.cpu_count() or 1) // threads) if has_ray() else 1
    return RayTasks(count, threads, gpus, None) if count > 1 and has_ray() else Processes(count)


def _work_under_ray(job: Job) -> tuple[int | None, str]:
    """Does a job in a process beside Ray's worker, which does not load torch.

    A run inside the worker would make the worker crash now and then as it ends.
    """
    processes = Processes(1, preload=("ray",))  # a new process reads the main module of its parent, which is Ray's
    processes.start("", job)
    while not (ended := processes.ended(60.0)):
        pass
    return ended[0].status, ended[0].note


def _work_alone(job: Job, notes: Connection) -> None:
    """Does a job in this process, and exits with its status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the grid, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with without(VARIABLES):  # one process trains a run of a grid, whoever launched the grid
            status = work(job)
    except Exception as error:
        notes.send_bytes(f"{type(error).__name__}: {error}".encode())
        status = 1
    sys.exit(status)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Starts Python without the working directory on its path, where a file may be named as a package that it imports.

    A process that is started gets the path of this one before it unpickles its job, but imports packages earlier.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def _end_with_parent() -> None:
    """Ends this process when the grid's process has ended, so that another grid can take its run."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
