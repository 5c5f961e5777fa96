"""What a grid shows while it runs: a bar over all runs, and a line for each run that has ended."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from remanent.records.record import Record
from remanent.tasks import METRICS


class Board:
    """A bar with counts and the names of the runs in progress.

    Args:
        total: the number of runs.
        shown: whether anything is drawn.
    """

    def __init__(self, total: int, shown: bool) -> None:
        self.console = Console(quiet=not shown, soft_wrap=True)
        columns = (BarColumn(bar_width=16), MofNCompleteColumn(), TimeElapsedColumn())
        note = TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        self.progress = Progress(*columns, note, console=self.console, disable=not shown)
        self.bar = self.progress.add_task("grid", total=total, note="")

    def show(self, counts: Counter[str], working: Sequence[str]) -> None:
        """Moves the bar."""
        numbers = ", ".join(f"{counts[name]} {name}" for name in ("done", "failed", "skipped"))
        note = f"{numbers}; running: {' '.join(working) or 'none'}"
        self.progress.update(self.bar, completed=counts["done"] + counts["failed"] + counts["skipped"], note=note)

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        self.console.print(line, markup=False, highlight=False)


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
