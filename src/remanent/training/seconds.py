"""How long a run has trained, from the times of its files, without the pauses between an interruption and a resume."""

import time
from pathlib import Path

from remanent._files import read_json, write_json

RESUMED = "resumed.json"
"""The file of a run's folder that says how long it had trained when it was last resumed, and when that was."""


def note_resumed(folder: Path, seconds: float | None = None) -> None:
    """Notes that the run is resumed now.

    Args:
        folder: of the run.
        seconds: how long it has trained so far; None for what its files say.
    """
    so_far = training_seconds(folder, "metrics.jsonl") if seconds is None else seconds
    write_json(folder / RESUMED, {"seconds": so_far, "began": time.time()})


def training_seconds(folder: Path, last: str) -> float:
    """The seconds of training until a file of the run's folder was last written."""
    note = {"seconds": 0.0, "began": (folder / "config.json").stat().st_mtime}
    if (folder / RESUMED).exists():
        note = read_json(folder / RESUMED)
    if not (folder / last).exists():
        return note["seconds"]
    return round(note["seconds"] + max(0.0, (folder / last).stat().st_mtime - note["began"]), 2)
