"""Where the runs of a grid are worked on: in processes of this machine, or by Ray; each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, Any, NamedTuple, Protocol

WORKER = ("-P", "-c", "from remanent.training._measure import main; main()")
"""The arguments of a Python that does one job."""
PAUSE = 0.05


class Ended(NamedTuple):
    """How the process of a run ended.

    Attributes:
        key: the run's.
        status: its exit status; below 0 if a signal ended it, None if that is not known.
        note: what it wrote on stderr.
    """

    key: str
    status: int | None
    note: str

    @property
    def reason(self) -> str:
        """What ended it, in words."""
        if self.status is None:
            return self.note
        if self.status < 0:
            return f"the process was ended by {signal.Signals(-self.status).name}"
        last = self.note.strip().splitlines()[-1:] or ["nothing on stderr"]
        return f"the process ended with status {self.status}: {last[0]}"


class Workers(Protocol):
    """Takes jobs and says how they ended."""

    def room(self) -> int:
        """How many more jobs can be worked on now."""

    def start(self, key: str, job: tuple[Any, ...]) -> None:
        """Begins a job."""

    def ended(self, seconds: float) -> list[Ended]:
        """The jobs that have ended since the last call; waits so long for one."""

    def close(self) -> None:
        """Ends what is still worked on."""


class Processes:
    """So many processes of this machine at a time.

    Each has a session of its own: Ctrl-C reaches the grid alone, which then ends them.

    Args:
        count: how many at a time.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.running: dict[str, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}

    def room(self) -> int:
        """How many more processes may be started."""
        return self.count - len(self.running)

    def start(self, key: str, job: tuple[Any, ...]) -> None:
        """Starts a process and hands it the job."""
        notes = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended; a pipe would fill up
        process = subprocess.Popen(
            [sys.executable, *WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=notes,
            start_new_session=True,
        )
        self.running[key] = process, notes
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps([os.getpid(), *job]).encode())
            process.stdin.close()
        except BrokenPipeError:  # it died already, as its status will tell
            pass

    def ended(self, seconds: float) -> list[Ended]:
        """The processes that have ended."""
        deadline = time.monotonic() + seconds
        while not (keys := [key for key, (process, _) in self.running.items() if process.poll() is not None]):
            if time.monotonic() >= deadline:
                return []
            time.sleep(PAUSE)
        return [self._take(key) for key in keys]

    def close(self) -> None:
        """Kills the processes; their runs go on from their checkpoints when asked for again."""
        for process, notes in self.running.values():
            process.kill()
            process.wait()
            notes.close()
        self.running.clear()

    def _take(self, key: str) -> Ended:
        process, notes = self.running.pop(key)
        notes.seek(0)
        text = notes.read().decode(errors="replace")
        notes.close()
        return Ended(key, process.returncode, text)
