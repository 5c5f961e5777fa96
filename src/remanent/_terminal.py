"""Lines on stderr, and the exception that ends a command on SIGTERM."""

import codecs
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PLAIN = {"±": "+/-", "\u2013": "-", "\u2014": "-", "\u2026": "...", "\u00d7": "x", "\u2265": ">=", "\u2264": "<="}
"""What stands for signs of tables and messages where the terminal's encoding does not have them; others become ?."""


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


@contextmanager
def writable_output() -> Iterator[None]:
    """Lets standard output write every text within the context, whatever its encoding: signs it lacks become others."""
    codecs.register_error("remanent", _replace)
    out, before = sys.stdout, getattr(sys.stdout, "errors", None)
    if before not in ("strict", "surrogateescape") or not hasattr(out, "reconfigure"):
        yield
        return
    out.reconfigure(errors="remanent")
    try:
        yield
    finally:
        out.reconfigure(errors=before)


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for the first sign that the output lacks; a byte of a file's name that is no text stays as it is."""
    assert isinstance(error, UnicodeEncodeError)
    sign = error.object[error.start]
    byte = ord(sign) - 0xDC00
    return bytes([byte]) if 0x80 <= byte <= 0xFF else PLAIN.get(sign, "?"), error.start + 1


def write_line(text: str) -> None:
    """Writes a line in one piece, so that lines of several processes do not mix; `print` writes its end separately."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
