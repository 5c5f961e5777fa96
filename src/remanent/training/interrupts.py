"""How a signal ends a run: a handler notes it, and the run ends after its step, with a checkpoint."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from remanent.distributed.ranks import Ranks

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""The signals that end a run after its step; of two, the first one here decides how the end is named."""
RELAY = 1.0
"""Seconds within which a launcher passes Ctrl-C on to processes that have it already: it is the same one."""
SAID = b"\nremanent: the run ends after this step, with a checkpoint; Ctrl-C again ends it at once\n"


class Interrupted(BaseException):
    """The end of a run by Ctrl-C, which becomes a KeyboardInterrupt once Lightning has ended.

    Lightning would take a KeyboardInterrupt for its own, and ignore Ctrl-C from then on.
    """


@contextmanager
def heeding_interrupts(module: Any, ranks: Ranks, *, said: bool) -> Iterator[None]:
    """Makes Ctrl-C end the run after its step within the context, and a second one end it at once.

    Python would raise KeyboardInterrupt wherever the main thread is, also within a queue of TensorBoard's, whose thread
    then waits for minutes. A handler that only sets a flag interrupts nothing.

    Only Python's own handler is replaced: where a program ignores Ctrl-C or handles it itself, and outside of the main
    thread, nothing changes.

    Args:
        module: the module whose `signalled` is set to the number of the signal.
        ranks: the processes of the run.
        said: whether the first process writes a line about it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, _noting(module, ranks, said and ranks.rank == 0))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _noting(module: Any, ranks: Ranks, said: bool) -> Any:
    first = 0.0

    def note(*_: Any) -> None:
        nonlocal first
        now = time.monotonic()
        if module.signalled != signal.SIGINT:
            module.signalled, first = signal.SIGINT, now
            if said:
                os.write(2, SAID)  # not by a stream, in the middle of whose own write this may be called
        elif ranks.size == 1 or now - first > RELAY:
            raise Interrupted

    return note
