"""Watches over the processes of a run: one that hangs or is lost ends it, and is named."""

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
"""Seconds between two signs of life."""
PATIENCE = 3.0
"""Seconds without one after which a process is taken for dead or stopped."""
POINTS = 1_000_000
"""More than the points of a step that are counted."""
HUNG = 70
"""The exit status of a process that ended because another hung."""


class Sign(NamedTuple):
    """A sign of life.

    Attributes:
        beats: how many there have been.
        point: that the main thread came to.
    """

    beats: int
    point: int


class Watch:
    """Counts the points that each process comes to, which all do in the same order, and tells who is behind.

    A thread of each process writes down, in the store by which the processes met, that it lives and how far its
    main thread has come: to a step, and in it to a collective. A process whose main thread has come no further for
    the time-out of the launch reads what all have written, says which of them is behind, and ends. A process whose
    launcher is gone is told to stop, as by SIGTERM.

    Args:
        ranks: the processes.
        advice: how to go on, which is told beside.
    """

    def __init__(self, ranks: Ranks, advice: str) -> None:
        self.ranks, self.advice = ranks, advice
        self.point, self.beats = 0, 0
        self.moved = time.monotonic()
        self.parent = os.getppid()
        self.ended = threading.Event()
        self.store: Any = None
        if ranks.size > 1:
            own: Any = _get_default_store()  # another connection, whose time-out is not that of the others
            self.store = PrefixStore("watch", own.clone())
            self.store.set_timeout(timedelta(seconds=max(INTERVAL, min(10.0, ranks.launch.timeout))))
            self._write()
            ranks.gather(None)  # whoever reads finds something

    def enter(self, step: int) -> None:
        """The main thread begins a step."""
        self.point = step * POINTS
        self.come()

    def come(self) -> None:
        """The main thread comes to the next point, beyond which it may have to wait for the others."""
        self.point += 1
        self.moved = time.monotonic()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watches for the time of the context, where there is more than one process."""
        if self.store is None:
            yield
            return
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            with observe_collectives(lambda _: self.come()):
                yield
        finally:
            self.ended.set()
            thread.join(PATIENCE)

    def lost(self) -> str:
        """Which processes no longer live, in words; "" where all do, or there is but one."""
        if self.store is None:
            return ""
        try:
            before = self._read()
            time.sleep(PATIENCE)
            now = self._read()
        except dist.DistError:
            return "whoever started the processes, or rank 0, no longer answers"
        silent = [rank for rank in before if before[rank].beats == now[rank].beats]
        return f"{_named(silent)} lost or stopped in step {_step(now)}" if silent else ""

    def behind(self) -> str:
        """Which processes did not come as far as the others, in words; "" where all came as far."""
        found = self._read()
        ahead = max(sign.point for sign in found.values())
        late = [rank for rank, sign in found.items() if sign.point < ahead]
        return f"{_named(late)} behind the others in step {_step(found)}" if late else ""

    def _run(self) -> None:
        while not self.ended.wait(INTERVAL):
            if os.getppid() != self.parent:  # the launcher was killed, and with it all who would end this process
                self.parent = os.getppid()
                os.kill(os.getpid(), signal.SIGTERM)
            if time.monotonic() - self.moved > self.ranks.launch.timeout:
                self._end()
            try:
                self._write()
            except dist.DistError:
                continue  # what keeps the store is gone; the main thread will hear of it

    def _write(self) -> None:
        self.beats += 1
        self.store.set(f"{self.ranks.rank}", f"{self.beats} {self.point}")

    def _read(self) -> dict[int, "Sign"]:
        """The last sign of life of each process."""
        self._write()
        texts = self.store.multi_get([f"{rank}" for rank in range(self.ranks.size)])
        return {rank: Sign(*map(int, text.split())) for rank, text in enumerate(texts)}

    def _end(self) -> None:
        """Ends this process, whose main thread cannot be reached."""
        who = self.lost() or self.behind() or f"all processes wait in step {self.point // POINTS}"
        seconds = f"{self.ranks.launch.timeout:g}"
        write_line(f"remanent: error: rank {self.ranks.rank}: {who}: nothing moved for {seconds} s; {self.advice}")
        os._exit(HUNG)


def _named(ranks: list[int]) -> str:
    return f"rank {ranks[0]} was" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))} were"


def _step(signs: dict[int, Sign]) -> int:
    return max(sign.point for sign in signs.values()) // POINTS
