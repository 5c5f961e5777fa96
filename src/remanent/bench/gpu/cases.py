"""What a case is, and how a process runs a list of them: none that fails ends the rest."""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

PASSED = "passed"


@dataclass(frozen=True)
class Settings:
    """Where and how large.

    Args:
        device: "cuda", or "cpu" for Triton's interpreter.
        tiny: whether sizes are tiny: to try out, not to measure.
        data_dir: a folder that holds MNIST's IDX files; None for the environment's REMANENT_DATA.
        only: a regular expression, found in the names of the cases that are run; all if empty.
        again: whether cases run that have passed before, by the same code on the same machine.
        learn_seconds: how long a model is trained.
    """

    device: str = "cuda"
    tiny: bool = False
    data_dir: str | None = None
    only: str = ""
    again: bool = False
    learn_seconds: float = 55.0


@dataclass(frozen=True)
class Case:
    """Something to check or to measure.

    Args:
        name: differs from all others of its part.
        run: returns the figures to write down; raises AssertionError where a check fails.
        limit: the seconds after which it counts as hung.
    """

    name: str
    run: Callable[[], dict[str, Any]]
    limit: float = 60.0


def run_cases(cases: Sequence[Case], events: Path) -> int:
    """Runs the cases that no other process has taken, and appends a line to `events` before and after each.

    Returns:
        0, or 1 where the GPU took no more work after an error, so that a new process must run the rest.
    """
    for number, case in enumerate(cases):
        if not _taken(events.with_name(f"{number}.taken")):
            continue
        _append(events, {"case": case.name, "limit": case.limit})
        start = time.perf_counter()
        try:
            found = case.run()
            _synchronize()
            status = PASSED
        except AssertionError as error:
            found, status = {}, f"failed: {_first_lines(error)}"
        except Exception as error:
            found, status = {}, f"error: {type(error).__name__}: {_first_lines(error)}"
        seconds = round(time.perf_counter() - start, 3)
        _append(events, {"case": case.name, "status": status, "seconds": seconds, **found})
        try:
            _synchronize()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        except Exception:
            return 1
    return 0


def _taken(mark: Path) -> bool:
    """Whether this process is the first to take a case, which makes the file."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _first_lines(error: Exception) -> str:
    return " / ".join(str(error).strip().splitlines()[:6])[:600]
