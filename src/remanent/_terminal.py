"""Lines and bars on stderr and in notebooks, and the exception that ends a command on SIGTERM."""

import codecs
import importlib
import io
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PLAIN = {"±": "+/-", "\u2013": "-", "\u2014": "-", "\u2026": "...", "\u00d7": "x", "\u2265": ">=", "\u2264": "<="}
"""What stands for signs of tables and messages where the terminal's encoding does not have them; others become ?."""
INTERVAL = 0.2
"""The seconds between two pictures of a bar; a front end draws no faster."""


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


@contextmanager
def progress_bar(total: float, *, lines: bool = True, still: bool = False) -> Iterator[Callable[[float, str], None]]:
    """A bar on stderr within the context, where that is a terminal; elsewhere a line for each new note.

    What is printed meanwhile stands above the bar, and goes where it always does if standard output is a file.

    Gives a function of what is done so far, in [0, `total`], and of a note about what is done now.

    Args:
        total: what there is to do, above 0.
        lines: whether notes become lines where there is no terminal.
        still: whether the bar is drawn only when it moves, without a thread that takes time from what is measured.
    """
    if not sys.stderr.isatty():
        said: list[str] = []

        def say(done: float, note: str) -> None:
            if lines and note not in said[-1:]:
                said.append(note)
                write_line(f"remanent: {note}")

        yield say
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    note = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(bar_width=16), TaskProgressColumn(), TimeRemainingColumn(), note)
    above = sys.stdout.isatty()  # rich would send what is printed to a file to the terminal
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, auto_refresh=not still, redirect_stdout=above) as progress:
        task = progress.add_task("", total=total)
        yield lambda done, note: progress.update(task, completed=done, description=note, refresh=still)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class CellBar:
    """Shows bars of rich as text in one place of a cell's output: rich itself needs ipywidgets there, or only warns.

    Args:
        progress: a `rich.progress.Progress`, made with `silent_console` and without its own refreshing.
        width: how many columns a line has.
    """

    def __init__(self, progress: Any, width: int = 88) -> None:
        self.progress, self.width = progress, width
        self._handle: Any = None
        self._shown = 0.0

    def show(self, *, now: bool = False) -> None:
        """Draws the bars as they are; unless `now`, not if this was done a moment ago."""
        if not now and time.monotonic() - self._shown < INTERVAL:
            return
        self._shown = time.monotonic()
        data = {"text/plain": self._text()}
        if self._handle is None:
            display: Any = importlib.import_module("IPython.display")
            self._handle = display.display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def _text(self) -> str:
        from rich.console import Console

        written = io.StringIO()
        console = Console(file=written, force_jupyter=False, force_terminal=False, width=self.width)
        console.print(self.progress.get_renderable())
        return written.getvalue().rstrip()


def silent_console() -> Any:
    """A console that draws nothing, for a bar that `CellBar` shows."""
    from rich.console import Console

    return Console(quiet=True, force_jupyter=False)
