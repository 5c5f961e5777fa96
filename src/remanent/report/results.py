"""Results files and run folders: found, and read together into the records of all runs."""

from collections.abc import Iterable
from pathlib import Path

from remanent._files import without_locks
from remanent.records.lines import parse_line
from remanent.records.record import RECORD_FILE, Record, read_records
from remanent.tasks.metrics import METRICS


def find_results(folder: Path) -> list[Path]:
    """The files of a folder that hold records; JSON lines of another kind are passed over.

    Raises:
        FileNotFoundError: there are none.
    """
    found = [path for path in sorted(folder.glob("*.jsonl")) if _begins_with_a_record(path)]
    if not found:
        raise FileNotFoundError(f"`FILE` must be given where {folder}/ holds no records of `remanent grid`, got none")
    return found


def read_results(paths: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Reads results files and run folders; of several records with one id, the last one counts.

    Args:
        paths: files that `remanent grid` wrote, and folders of runs that `remanent train` finished.

    Returns:
        The records, and a sentence for everything that was left out: the last line of a file where it was cut short,
        which stays in the file, and folders without a record.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a line is not JSON, or none is a record; the message names the file and the line. A line that is no
            record is left out with a warning where others are.
    """
    records: dict[str, Record] = {}
    notes = []
    for path in without_locks(paths):
        file = path / RECORD_FILE if path.is_dir() else path
        if path.is_dir() and not file.exists():
            how = "train it with `remanent train`, or call `remanent.training.record_run(folder)`"
            notes.append(f"{path} holds no {RECORD_FILE} and is left out; {how}")
            continue
        if not file.is_file():
            raise FileNotFoundError(f"`FILE` must be a file or the folder of a run, got {path}")
        found = read_records(file, warn=True)
        for record in found.records:
            if record.metric not in METRICS:
                rule = f"{file}: `metric` must be one of {', '.join(METRICS)}"
                raise ValueError(f"{rule}, or one that a module registers (see `--import`), got {record.metric!r}")
            records[record.id] = record
        if found.broken is not None:
            notes.append(f"{file}, line {found.broken} was cut short and is left out")
    return list(records.values()), notes


def _begins_with_a_record(path: Path) -> bool:
    """Whether the first line is a record, or the beginning of one that was cut short."""
    first = next((line for line in path.read_bytes().splitlines() if line.strip()), b"")
    value = parse_line(first)
    return first.startswith(b"{") if value is None else {"id", "tests"} <= set(value)
