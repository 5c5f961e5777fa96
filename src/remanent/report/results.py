"""Results files of `remanent grid`: found, and read and checked line by line."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from remanent.report.tables import SCORES

Record = dict[str, Any]
KINDS: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "recipe": (str,),
    "unit": (str,),
    "seed": (int,),
    "set": (dict,),
    "status": (str,),
    "metric": (str,),
    "chance": (int, float),
    "length_name": (str,),
    "length": (int,),
    "tests": (list,),
    "failing_length": (int, type(None)),
    "steps": (int,),
    "seconds": (dict, type(None)),
    "config": (dict,),
}
"""What a record must hold; one of a run that is done also its number of parameters and the seconds of training."""


def find_results(folder: Path) -> list[Path]:
    """The files of a folder that hold records of the grid; JSON lines of another kind are passed over.

    Raises:
        FileNotFoundError: there are none.
    """
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        first = next((line for line in path.read_bytes().splitlines() if line.strip()), None)
        value = None if first is None else _parse(first)
        if first is not None and (value is None or (isinstance(value, dict) and "id" in value and "tests" in value)):
            found.append(path)
    if not found:
        raise FileNotFoundError(f"`FILE` must be given where {folder}/ holds no records of `remanent grid`, got none")
    return found


def read_results(paths: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Reads results files; of several lines with one id, the last one counts.

    Args:
        paths: files of JSON lines that `remanent grid` wrote.

    Returns:
        The records, and a sentence for every file whose last line was cut short, which is left alone.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not JSON or not a record; the message names the file and the line.
    """
    records: dict[str, Record] = {}
    notes = []
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"`FILE` must be a file, got {path}")
        lines = [(i, line) for i, line in enumerate(path.read_bytes().splitlines(), start=1) if line.strip()]
        for number, line in lines:
            where, value = f"{path}, line {number}", _parse(line)
            if value is None and number == lines[-1][0] and (len(lines) > 1 or line.startswith(b"{")):
                notes.append(f"{where} was cut short and is left out")
            elif value is None:
                raise ValueError(f"{where} must hold JSON, got {line[:40].decode(errors='replace')!r}")
            else:
                record = _checked(value, where)
                records[record["id"]] = record
    return list(records.values()), notes


def _parse(line: bytes) -> Any:
    """A line's value; None where it is no JSON."""
    try:
        return json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None


def _checked(record: Any, where: str) -> Record:
    keys = list(record) if isinstance(record, dict) else [type(record).__name__]
    for key, kinds in KINDS.items():
        if key not in keys:
            raise ValueError(f"{where} must be a record of `remanent grid` with the key {key!r}, got {', '.join(keys)}")
        value = record[key]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"{where}: `{key}` must be of type {kinds[0].__name__}, got {value!r}")
    for key, choices in (("status", ("done", "failed")), ("metric", tuple(SCORES))):
        if record[key] not in choices:
            raise ValueError(f"{where}: `{key}` must be one of {', '.join(choices)}, got {record[key]!r}")
    for line in record["tests"]:
        if not isinstance(line, dict) or not _is_number(line.get("length")) or not _is_number(line.get("examples")):
            raise ValueError(f"{where}: `tests` must hold numbers `length` and `examples`, got {line!r}")
        if "score" not in line or not (line["score"] is None or _is_number(line["score"])):
            raise ValueError(f"{where}: `score` must be a number, or null where not finite, got {line!r}")
    if record["status"] == "done":
        needed = {"parameters": record.get("parameters"), "seconds.train": (record["seconds"] or {}).get("train")}
        for key, value in needed.items():
            if not _is_number(value):
                raise ValueError(f"{where}: `{key}` must be a number, got {value!r}")
    return record


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
