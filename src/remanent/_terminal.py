"""What a command says on stderr, and how it ends when it is told to."""

import signal
import sys


class Terminated(SystemExit):
    """A run that was told to end by SIGTERM, and that can go on.

    Args:
        message: how far it came, and how to go on.
    """

    STATUS = 128 + signal.SIGTERM

    def __init__(self, message: str) -> None:
        super().__init__(self.STATUS)
        self.message = message

    def __str__(self) -> str:
        return self.message


def write_line(text: str) -> None:
    """Writes a line in one piece, so that those of several processes stay apart; `print` writes its end separately."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
