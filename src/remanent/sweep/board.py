"""What a grid shows while it runs: on a terminal a bar over all runs, elsewhere a line as each begins and ends."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from remanent.records.lines import parse_line
from remanent.records.record import Record
from remanent.tasks import METRICS

OF_TRAINING = 0.85
"""The share of a run that its training is taken for; the rest is for its tests."""
TAIL = 4096
"""The bytes at the end of a run's metrics in which its last step is looked for."""


class Working(NamedTuple):
    """A run in progress: its name, and what share of it is done, in [0, 1]."""

    name: str
    share: float = 0.0


class Board:
    """A bar with counts and the names of the runs in progress; a context, in which the bar is drawn.

    Several grids may share a board: their runs count together, and the bar stays while an outer context is open.

    Args:
        total: the number of runs of all grids that share it.
        shown: whether anything is shown.
    """

    def __init__(self, total: int, shown: bool) -> None:
        self.console = Console(quiet=not shown, soft_wrap=True)
        self.live = shown and self.console.is_terminal  # a notebook gets lines: its bars need ipywidgets
        self.total, self.before = total, 0
        self._begun: list[str] = []
        self._depth = 0
        columns = (BarColumn(bar_width=16), TextColumn("{task.fields[count]}"), TimeElapsedColumn())
        note = TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        self.progress = Progress(*columns, note, console=self.console, disable=not self.live)
        self.bar = self.progress.add_task("grid", total=total, count=f"0/{total}", note="")

    def __enter__(self) -> "Board":
        if self._depth == 0:
            self.progress.start()
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.progress.stop()

    def begin(self, name: str) -> None:
        """Says that a run has begun, where no bar shows it."""
        again = name in self._begun
        self._begun += [] if again else [name]
        if not self.live:
            count = f"{self._begun.index(name) + 1} of {self.total}"
            self.say(f"{name}: begins {'again ' if again else ''}({count})")

    def show(self, counts: Counter[str], working: Sequence[Working]) -> None:
        """Moves the bar to the counts of the grid that runs now."""
        ended = self.before + counts["done"] + counts["failed"] + counts["skipped"]
        numbers = ", ".join(f"{counts[name]} {name}" for name in ("done", "failed", "skipped"))
        names = [f"{run.name} ({run.share:.0%})" if run.share else run.name for run in working]
        self.progress.update(
            self.bar,
            completed=ended + sum(run.share for run in working),
            count=f"{ended}/{self.total}",
            note=f"{numbers}; running: {' '.join(names) or 'none'}",
        )

    def note(self, text: str) -> None:
        """Says what is done beside the runs: at the bar, or as a line."""
        if self.live:
            self.progress.update(self.bar, note=text)
        else:
            self.say(text)

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        self.console.print(line, markup=False, highlight=False)


def share_done(metrics: Path, steps: int) -> float:
    """What share of a run is done, in [0, 1], as the last step in its metrics says; 0 where there are none yet."""
    try:
        with metrics.open("rb") as file:
            file.seek(max(0, metrics.stat().st_size - TAIL))
            lines = file.read().splitlines()
    except OSError:
        return 0.0
    found = [step for line in lines if type(step := (parse_line(line) or {}).get("step")) is int]
    return min(1.0, OF_TRAINING * (found[-1] + 1) / steps) if found else 0.0


def outcome_line(record: Record) -> str:
    """The scores of a run, or why it failed, in one line."""
    if record.status == "failed":
        return f"failed, {record.error}"
    tests = record.tests or ((record.validation,) if record.validation else ())
    scores = ", ".join(
        f"{'not finite' if test.score is None else format(test.score, '.4f')} at {test.length:,}" for test in tests
    )
    seconds = f" ({record.seconds.train + record.seconds.test:.0f} s)" if record.seconds else ""
    title = METRICS[record.metric].title if record.metric in METRICS else record.metric
    title = title if record.tests else f"validation {title}"
    return f"{title} {scores} {record.length_name}{seconds}"
