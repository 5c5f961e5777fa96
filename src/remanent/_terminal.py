"""Lines on stderr, and the exception that ends a command on SIGTERM."""

import signal
import sys


class Terminated(SystemExit):
    """The end of a run by SIGTERM, from which it can be resumed.

    Args:
        message: the last step of the run, and how to resume it.
    """

    STATUS = 128 + signal.SIGTERM
    """The exit status of a process that SIGTERM ended."""

    def __init__(self, message: str) -> None:
        super().__init__(self.STATUS)
        self.message = message

    def __str__(self) -> str:
        return self.message


def write_line(text: str) -> None:
    """Writes a line in one piece, so that lines of several processes do not mix; `print` writes its end separately."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
