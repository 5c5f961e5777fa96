"""Runs sections of the benchmark: prints a table of each, and writes the numbers and the figures."""

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from remanent._allocator import reuse_freed_memory
from remanent._files import write_json
from remanent._options import check_at_least, check_choice, check_range
from remanent._restore import generators_kept, threads_set
from remanent._terminal import progress_bar
from remanent.bench.environment import environment
from remanent.bench.layers import time_layers
from remanent.bench.length import time_length
from remanent.bench.models.replay import time_replay
from remanent.bench.models.streaming import time_step, time_streaming
from remanent.bench.models.training_step import microseconds_a_step, time_model
from remanent.bench.packed import time_packed
from remanent.bench.scans import time_floor, time_scans, time_threads, time_transition
from remanent.bench.shards import time_shards
from remanent.bench.timing import MEASURED, Row, Settings
from remanent.records.training_config import MOST_THREADS

SECTIONS: dict[str, Callable[[Settings], list[Row]]] = {
    "scans": time_scans,
    "floor": time_floor,
    "layers": time_layers,
    "threads": time_threads,
    "transition": time_transition,
    "streaming": time_streaming,
    "step": time_step,
    "model": time_model,
    "length": time_length,
    "packed": time_packed,
    "shards": time_shards,
    "replay": time_replay,
}
"""Section name to the function that times it."""
ALLOCATORS = ("default", "reuse")
"""The choices of `allocator`."""
WIDTH = 120
"""The least width of a table; a narrower one would cut its numbers."""
RESULTS_FILE = "bench.json"
"""The name of the file that holds all numbers."""


def run_bench(
    names: Sequence[str] = (),
    folder: Path = Path("bench"),
    *,
    repeats: int = 7,
    threads: int | None = None,
    quick: bool = False,
    allocator: str = "default",
) -> Path:
    """Times sections one after the other, and writes the results so far after each of them.

    Args:
        names: the sections, keys of `SECTIONS`; all of them if empty.
        folder: the folder for `bench.json` and the figures, which must not exist.
        repeats: how often each case is timed, at least 1.
        threads: the threads of torch and jax, from 1 to 1,024; None for as many as torch has.
        quick: whether to use tiny shapes, for a trial.
        allocator: "default", or "reuse" to keep freed memory (glibc only).

    Returns:
        The folder.

    Raises:
        ValueError: a section or the allocator is unknown, or a number is below 1.
        FileExistsError: the folder exists.
        OSError: the folder cannot be written.
    """
    from rich.console import Console

    names = tuple(dict.fromkeys(names)) or tuple(SECTIONS)
    for name in names:
        check_choice("NAME", name, SECTIONS)
    threads = torch.get_num_threads() if threads is None else threads
    check_at_least("repeats", repeats, 1)
    check_at_least("threads", threads, 1)
    check_range("threads", threads, 1, MOST_THREADS)
    check_choice("allocator", allocator, ALLOCATORS)
    if folder.exists():
        raise FileExistsError(f"`--out` must not exist yet, got {folder}")
    if allocator == "reuse" and not reuse_freed_memory():
        raise ValueError("`allocator` must be default without glibc, got 'reuse'")
    folder.mkdir(parents=True)
    settings = Settings(repeats, threads, quick, allocator)
    results = environment() | dataclasses.asdict(settings) | {"command": _command(names, folder, settings), "rows": []}
    console = Console()
    console.width = max(console.width, WIDTH)
    with threads_set(threads), generators_kept(), progress_bar(len(names), still=True) as show:
        for number, name in enumerate(names):
            show(number, f"timing {name}")
            rows = SECTIONS[name](settings)
            _print(console, name, rows)
            results["rows"] += [dataclasses.asdict(row) for row in rows]
            write_json(folder / RESULTS_FILE, results)
            draw_section(folder, name, rows)
    console.print(f"{folder / RESULTS_FILE} has all numbers.", markup=False)
    return folder


def _command(names: Sequence[str], folder: Path, settings: Settings) -> str:
    """The command line that repeats the benchmark."""
    options = ["--out", str(folder), "--repeats", str(settings.repeats), "--threads", str(settings.threads)]
    options += ["--allocator", settings.allocator, *(["--quick"] if settings.quick else [])]
    return shlex.join(["remanent", "bench", *names, *options])


def _print(console: Any, name: str, rows: Sequence[Row]) -> None:
    """Prints the rows of a section as a table without empty columns, and below it the errors and notes."""
    from rich.table import Table

    columns = _columns(rows)
    table = Table(title=name, box=None)
    table.add_column("case", no_wrap=True)
    for title in columns:
        table.add_column(title, justify="right")
    notes = []
    for i, row in enumerate(rows):
        where = ", ".join(f"{axis}={size:,}" for axis, size in row.shape.items())
        if i == 0 or row.shape != rows[i - 1].shape:
            table.add_row(where, style="bold")
        if row.status == MEASURED:
            table.add_row(f"  {row.case}", *(cell(row) for cell in columns.values()))
        else:
            table.add_row(f"  {row.case}", row.status.split(":")[0])
        text = row.note if row.status == MEASURED else row.status if ":" in row.status else ""
        if text:
            notes.append(f"{row.case} at {where}: {text}")
    console.print(table)
    for note in notes:
        console.print(note, markup=False, highlight=False)
    console.print()


def _columns(rows: Sequence[Row]) -> dict[str, Callable[[Row], str]]:
    """The titles of the columns that are not empty, each with the function that writes the cell of a row."""

    def ratio(key: str) -> Callable[[Row], str]:
        return lambda row: f"{row.ratios[key]:.2f}" if key in row.ratios else ""

    columns: dict[str, Callable[[Row], str]] = {
        "median ms": lambda row: _milliseconds(row.median),
        "min": lambda row: _milliseconds(row.min),
        "spread": lambda row: "" if row.q25 is None or row.q75 is None else _milliseconds(row.q75 - row.q25),
        "MB": lambda row: "" if row.bytes is None else f"{row.bytes / 1e6:,.3g}",
        "floor": lambda row: "" if row.floor_ratio is None else f"{row.floor_ratio:.0%}",
        "peak MB": lambda row: "" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:,.0f}",
        "parameters": lambda row: "" if row.parameters is None else f"{row.parameters:,}",
        "compile s": lambda row: "" if row.compile_seconds is None else f"{row.compile_seconds:.1f}",
        **{key: ratio(key) for key in dict.fromkeys(key for row in rows for key in row.ratios)},
    }
    return {title: cell for i, (title, cell) in enumerate(columns.items()) if i == 0 or any(map(cell, rows))}


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e3 * seconds:,.3f}" if seconds < 0.01 else f"{1e3 * seconds:,.1f}"


def draw_section(folder: Path, name: str, rows: Sequence[Row]) -> None:
    """Draws the figures of a section, as SVG in a folder, where something grows in it."""
    if name not in ("length", "streaming", "model"):
        return
    from remanent.report.figures import growth, save_figure

    axis = "context" if name == "streaming" else "T"
    times: dict[str, dict[int, float]] = {}
    memory: dict[str, dict[int, float]] = {}
    for row in rows:
        if row.median:
            times.setdefault(row.case, {})[row.shape[axis]] = 1e3 * row.median
        if row.peak_bytes:
            memory.setdefault(row.case, {})[row.shape[axis]] = row.peak_bytes / 1e6
    if not times:
        return
    first = rows[0].shape
    if name == "streaming":
        labels = {"x_name": "steps before", "y_name": "one step (ms)"}
        save_figure(growth(times, title="One more step, batch of 1", **labels), folder / "streaming.svg")
        return
    if name == "model":
        title = f"Training step, {first['blocks']} blocks of {first['D']}"
        labels = {"x_name": "steps of a sequence", "y_name": "time for a step of it (µs)"}
        save_figure(growth(microseconds_a_step(rows), title=title, **labels), folder / "model.svg")
        return
    title = f"Forward and backward, {first['B'] * first['T']:,} steps in all, width {first['D']}"
    time_figure = growth(times, title=title, x_name="steps of a sequence", y_name="time (ms)")
    save_figure(time_figure, folder / "length-time.svg")
    if memory:
        memory_figure = growth(memory, title=title, x_name="steps of a sequence", y_name="memory above inputs (MB)")
        save_figure(memory_figure, folder / "length-memory.svg")
