"""Cases that are timed in turn, and the rows that come of it; what the cases compute stands in the sections."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

MEASURED = "measured"


@dataclass(frozen=True)
class Settings:
    """How everything is measured.

    Args:
        repeats: how often each case is timed, after one time that is not counted.
        threads: of torch, and of jax.
        quick: whether shapes are tiny: to try out, not to measure.
        allocator: "default", or "reuse" where freed memory is kept.
    """

    repeats: int = 7
    threads: int = 1
    quick: bool = False
    allocator: str = "default"


@dataclass(frozen=True)
class Case:
    """Something to time.

    Args:
        name: what the row is called.
        run: what is timed; None if it cannot or should not be.
        status: why not, where `run` is None.
        threads: of torch while it runs; None for those there are.
        arrays: how many arrays of the case's shape a run must move at least; 0 if that is of no interest.
        twice: whether each timed run follows one that is not timed, which fills the caches after another case.
    """

    name: str
    run: Callable[[], object] | None
    status: str = MEASURED
    threads: int | None = None
    arrays: int = 0
    twice: bool = False


@dataclass
class Row:
    """One line of a table: a case with its times, in seconds, or the reason that there are none.

    Attributes:
        section: the section's name.
        case: the case's name.
        shape: the sizes, as the section calls them.
        status: "measured", "not installed", or what else was in the way.
        threads: of torch while it ran.
        repeats: how many times were taken.
        median: of the times.
        min: the shortest.
        q25: the lower quartile.
        q75: the upper quartile.
        bytes: what a run must move at least; of streaming, the size of the state.
        floor_ratio: the time a copy takes for so many bytes, over the median.
        peak_bytes: what the memory grew by, above the inputs.
        note: what went wrong beside the times.
        ratios: other quotients of medians, by what they are.
    """

    section: str
    case: str
    shape: dict[str, int]
    status: str = MEASURED
    threads: int = 1
    repeats: int = 0
    median: float | None = None
    min: float | None = None
    q25: float | None = None
    q75: float | None = None
    bytes: int | None = None
    floor_ratio: float | None = None
    peak_bytes: int | None = None
    note: str = ""
    ratios: dict[str, float] = field(default_factory=dict)


def measure(section: str, shape: dict[str, int], cases: Sequence[Case], repeats: int) -> list[Row]:
    """Times cases in turn; one row a case, in their order."""
    threads = torch.get_num_threads()
    times, failures = time_in_turn(cases, repeats)
    rows = []
    for case in cases:
        row = Row(section, case.name, shape, failures.get(case.name, case.status), case.threads or threads)
        taken = times[case.name]
        if case.run is not None and case.name not in failures:
            row.repeats, row.min = len(taken), min(taken)
            low, row.median, high = statistics.quantiles(taken, n=4, method="inclusive") if repeats > 1 else taken * 3
            row.q25, row.q75 = low, high
        rows.append(row)
    return rows


def time_in_turn(
    cases: Sequence[Case], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Runs every case once, uncounted, then every case once again, and so on, so that a slow spell hits all.

    Args:
        cases: with names that differ; a case that raises is not run again.
        repeats: how often each is timed.
        clock: tells the seconds.

    Returns:
        The times of each case in seconds, and what the cases that failed raised, by name.
    """
    times: dict[str, list[float]] = {case.name: [] for case in cases}
    failures: dict[str, str] = {}
    threads = torch.get_num_threads()
    gc.collect()
    gc.disable()
    try:
        for repeat in range(repeats + 1):
            for case in cases:
                if case.run is None or case.name in failures:
                    continue
                if case.threads is not None:
                    torch.set_num_threads(case.threads)
                try:
                    if case.twice:
                        case.run()
                    start = clock()
                    case.run()
                except Exception as error:
                    failures[case.name] = describe(error)
                    continue
                if repeat:
                    times[case.name].append(clock() - start)
    finally:
        gc.enable()
        torch.set_num_threads(threads)
    return times, failures


def add_ratios(rows: Sequence[Row], name: str, base: str, *, inverse: bool = False) -> None:
    """Adds to every row its median over that of the case `base`, or the inverse, where both were measured."""
    found = next((row.median for row in rows if row.case == base), None)
    for row in rows:
        if found and row.median:
            row.ratios[name] = found / row.median if inverse else row.median / found


def describe(error: Exception) -> str:
    """An error as a status: its type and its first line."""
    lines = str(error).strip().splitlines()
    return f"error: {type(error).__name__}" + (f": {lines[0][:160]}" if lines else "")
