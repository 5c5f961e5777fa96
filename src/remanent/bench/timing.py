"""Times cases in turn and gives their rows; the sections say what the cases compute."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

MEASURED = "measured"
"""The status of a row whose times were taken."""


@dataclass(frozen=True)
class Settings:
    """How all sections measure.

    Args:
        repeats: how often each case is timed, after a first time that is not counted.
        threads: the threads of torch, and of jax.
        quick: whether shapes are tiny, for a trial instead of a measurement.
        allocator: "default", or "reuse" if freed memory is kept.
    """

    repeats: int = 7
    threads: int = 1
    quick: bool = False
    allocator: str = "default"


@dataclass(frozen=True)
class Case:
    """A function to time.

    Args:
        name: the name of the row.
        run: the function; None if it cannot or should not be timed.
        status: the reason why not, where `run` is None.
        threads: the threads of torch while it runs; None for those that are set.
        arrays: the number of arrays of the case's shape that a run must move; 0 if that is of no interest.
        twice: whether each timed run follows one that is not timed, which fills the caches after another case.
        longest: the seconds that its times may add up to; once they do, it is not repeated.
    """

    name: str
    run: Callable[[], object] | None
    status: str = MEASURED
    threads: int | None = None
    arrays: int = 0
    twice: bool = False
    longest: float = math.inf


@dataclass
class Row:
    """One line of a table: a case with its times, in seconds, or the reason that there are none.

    Attributes:
        section: the name of the section.
        case: the name of the case.
        shape: the sizes, by the names that the section gives them.
        status: "measured", "not installed", or the reason why there are no times.
        threads: the threads of torch while it ran.
        repeats: the number of times that were taken.
        median: the median of the times.
        min: the shortest time.
        q25: the lower quartile of the times.
        q75: the upper quartile of the times.
        bytes: the bytes that a run must move; in "streaming", the size of the state.
        floor_ratio: the time in which a copy moves `bytes`, over the median.
        peak_bytes: the bytes by which the memory grew beside the inputs.
        parameters: the number of a model's parameters.
        compile_seconds: the seconds of a compiled model's first step, in which `torch.compile` compiled it, or read
            what an earlier process had compiled.
        note: a problem that left the times as they are.
        ratios: other quotients of medians, by their titles.
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
    parameters: int | None = None
    compile_seconds: float | None = None
    note: str = ""
    ratios: dict[str, float] = field(default_factory=dict)


def measure(section: str, shape: dict[str, int], cases: Sequence[Case], repeats: int) -> list[Row]:
    """Times cases in turn and gives a row for each, in their order."""
    threads = torch.get_num_threads()
    times, failures = time_in_turn(cases, repeats)
    rows = []
    for case in cases:
        row = Row(section, case.name, shape, failures.get(case.name, case.status), case.threads or threads)
        taken = times[case.name]
        if case.run is not None and case.name not in failures:
            row.repeats, row.min = len(taken), min(taken)
            low, row.median, high = (
                statistics.quantiles(taken, n=4, method="inclusive") if len(taken) > 1 else taken * 3
            )
            row.q25, row.q75 = low, high
        rows.append(row)
    return rows


def time_in_turn(
    cases: Sequence[Case], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Runs every case once without counting it, then all of them again and again, so that a slow spell hits all.

    Args:
        cases: the cases, each with a name of its own; a case that raises is not run again.
        repeats: how often each case is timed, less often where that takes longer than it may.
        clock: a function that gives the time in seconds.

    Returns:
        The times of each case in seconds, and the errors of the cases that failed, both by name.
    """
    times: dict[str, list[float]] = {case.name: [] for case in cases}
    failures: dict[str, str] = {}
    threads = torch.get_num_threads()
    gc.collect()
    collects = gc.isenabled()
    gc.disable()
    try:
        for repeat in range(repeats + 1):
            for case in cases:
                if case.run is None or case.name in failures or sum(times[case.name]) >= case.longest:
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
        if collects:
            gc.enable()
        torch.set_num_threads(threads)
    return times, failures


def add_ratios(rows: Sequence[Row], name: str, base: str, *, inverse: bool = False) -> None:
    """Adds to every row the ratio of its median to that of the case `base`, or the inverse, if both were measured."""
    found = next((row.median for row in rows if row.case == base), None)
    for row in rows:
        if found and row.median:
            row.ratios[name] = found / row.median if inverse else row.median / found


def describe(error: Exception) -> str:
    """The status of a case that failed: the error's type and its first line."""
    lines = str(error).strip().splitlines()
    return f"error: {type(error).__name__}" + (f": {lines[0][:160]}" if lines else "")
