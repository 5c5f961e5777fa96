"""Heartbeats of the processes of a run: one that hangs or is lost ends the run, and is named."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, _get_default_store

from remanent._terminal import write_line
from remanent.distributed.ranks import Ranks
from remanent.ops.collectives import observe_collectives

INTERVAL = 1.0
"""The seconds between two heartbeats."""
PATIENCE = 3.0
"""The seconds without a heartbeat after which a process counts as dead or stopped."""
POINTS = 1_000_000
"""The points that a step has in the count of progress; more than a step can reach."""
HUNG = 70
"""The exit status of a process that ended because another one hung."""


class Beat(NamedTuple):
    """What a process last wrote about itself.

    Attributes:
        beats: how many heartbeats it has sent.
        point: the point that its main thread has reached.
    """

    beats: int
    point: int


class Heartbeat:
    """Counts the points that each process reaches, in an order that all share, and names the processes that are behind.

    A thread of each process writes its heartbeat and the point that its main thread has reached (a step, and a
    collective in it) to the store by which the processes met. A process whose main thread has not advanced for the
    launch's timeout reads what all have written, names those that are behind, and ends. A process whose launcher
    has died stops as it does on SIGTERM.

    Args:
        ranks: the processes of the run.
        advice: how to resume the run; it ends every message.
    """

    def __init__(self, ranks: Ranks, advice: str) -> None:
        self.ranks, self.advice = ranks, advice
        self.point, self.beats = 0, 0
        self.moved = time.monotonic()
        self.parent = os.getppid()
        self.ended = threading.Event()
        self.store: Any = None
        if ranks.size > 1:
            own: Any = _get_default_store()  # a connection of its own, since its timeout differs from the others'
            self.store = PrefixStore("heartbeat", own.clone())
            self.store.set_timeout(timedelta(seconds=max(INTERVAL, min(10.0, ranks.launch.timeout))))
            self._write()
            ranks.gather(None)  # from here on, every reader finds a heartbeat of every process

    def begin_step(self, step: int) -> None:
        """Notes that the main thread begins a step."""
        self.point = step * POINTS
        self.advance()

    def advance(self) -> None:
        """Notes that the main thread reached the next point, after which it may have to wait for the others."""
        self.point += 1
        self.moved = time.monotonic()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Sends heartbeats within the context, where there is more than one process."""
        if self.store is None:
            yield
            return
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            with observe_collectives(lambda _: self.advance()):
                yield
        finally:
            self.ended.set()
            thread.join(PATIENCE)

    def lost(self) -> str:
        """Which processes no longer live, in words; "" if all do, or if there is only one."""
        if self.store is None:
            return ""
        try:
            before = self._read()
            time.sleep(PATIENCE)
            now = self._read()
        except dist.DistError:
            return "the launcher, or rank 0, no longer answers"
        silent = [rank for rank in before if before[rank].beats == now[rank].beats]
        return f"{_named(silent)} lost or stopped in step {_step(now)}" if silent else ""

    def behind(self) -> str:
        """Which processes are behind the others, in words; "" if none is."""
        found = self._read()
        ahead = max(beat.point for beat in found.values())
        late = [rank for rank, beat in found.items() if beat.point < ahead]
        return f"{_named(late)} behind the others in step {_step(found)}" if late else ""

    def _run(self) -> None:
        while not self.ended.wait(INTERVAL):
            if os.getppid() != self.parent:  # the launcher, which would have ended this process, was killed
                self.parent = os.getppid()
                os.kill(os.getpid(), signal.SIGTERM)
            if time.monotonic() - self.moved > self.ranks.launch.timeout:
                self._end()
            try:
                self._write()
            except dist.DistError:
                continue  # the store's process is gone; the next collective of the main thread fails on its own

    def _write(self) -> None:
        self.beats += 1
        self.store.set(f"{self.ranks.rank}", f"{self.beats} {self.point}")

    def _read(self) -> dict[int, Beat]:
        """The last heartbeat of each process."""
        self._write()
        texts = self.store.multi_get([f"{rank}" for rank in range(self.ranks.size)])
        return {rank: Beat(*map(int, text.split())) for rank, text in enumerate(texts)}

    def _end(self) -> None:
        """Ends this process, whose main thread cannot be reached."""
        who = self.lost() or self.behind() or f"all processes wait in step {self.point // POINTS}"
        seconds = f"{self.ranks.launch.timeout:g}"
        write_line(f"remanent: error: rank {self.ranks.rank}: {who}: nothing moved for {seconds} s; {self.advice}")
        os._exit(HUNG)


def _named(ranks: list[int]) -> str:
    return f"rank {ranks[0]} was" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))} were"


def _step(beats: dict[int, Beat]) -> int:
    return max(beat.point for beat in beats.values()) // POINTS
