"""How long a run has trained, over all the times that it was resumed, as its files say."""

import time
from pathlib import Path

from remanent._files import read_json, write_json
from remanent._json import is_number
from remanent.training.folder import EXPERIMENT_FILE, METRICS_FILE

RESUMED_FILE = "resumed.json"
"""How long the run had trained when it was last resumed, and when that was; only if it was resumed."""


def note_resumed(folder: Path, seconds: float | None = None) -> None:
    """Notes that the run is resumed now.

    Args:
        folder: the folder of the run.
        seconds: how long the run has trained so far; None for the time that its files say.
    """
    so_far = training_seconds(folder, METRICS_FILE) if seconds is None else seconds
    write_json(folder / RESUMED_FILE, {"seconds": so_far, "began": time.time()})


def training_seconds(folder: Path, last: str) -> float:
    """The seconds of training until a file of the run's folder was last written.

    Raises:
        ValueError: the note of the last resume is corrupt.
    """
    note = {"seconds": 0.0, "began": (folder / EXPERIMENT_FILE).stat().st_mtime}
    path = folder / RESUMED_FILE
    if path.exists():
        found = read_json(path)
        for name in note:
            if not is_number(found.get(name)):
                raise ValueError(f"{path} must hold the number `{name}`, got {found.get(name)!r}")
            note[name] = found[name]
    if not (folder / last).exists():
        return note["seconds"]
    return round(note["seconds"] + max(0.0, (folder / last).stat().st_mtime - note["began"]), 2)
