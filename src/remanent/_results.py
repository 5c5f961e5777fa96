"""A results file: a line of JSON a run, appended by many processes, each line whole or set aside."""

import json
import os
from pathlib import Path
from typing import Any


def append_record(path: Path, record: dict[str, Any]) -> Path | None:
    """Appends one line, in one write under the file's lock, and waits until it is on the disk.

    The lock is a file of its own beside the results, PATH.lock, which the system frees when its holder dies: so
    nothing that locks ever opens the results themselves, and they may be read where nothing can be written.

    Returns:
        Where a broken last line, which another process had left, was put; None if there was none.

    Raises:
        ValueError: a line before the last is broken, or the record holds a number that JSON does not have.
        OSError: the file cannot be written.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    line = (json.dumps(record, allow_nan=False) + "\n").encode()
    with FileLock(f"{path}.lock"):
        aside = _set_aside(path)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(handle, line) < len(line):
                os.ftruncate(handle, size)
                raise OSError(f"{path} could not be written: no space is left")
            os.fsync(handle)
        finally:
            os.close(handle)
    return aside


def read_records(path: Path) -> list[dict[str, Any]]:
    """Reads all records; a last line that is broken, or being written, is not there yet.

    Raises:
        ValueError: a line before the last is broken; the message names the file and the line.
    """
    return _parse(path)[0]


def repair(path: Path) -> Path | None:
    """Moves a broken last line, which a killed process left, to PATH.broken-1 (-2, ...).

    Returns:
        Where it was put; None if there was none.

    Raises:
        ValueError: a line before the last is broken; then nothing is touched.
    """
    from filelock import FileLock

    if not path.exists() or _parse(path)[1] == path.stat().st_size:
        return None
    with FileLock(f"{path}.lock"):
        return _set_aside(path)


def _set_aside(path: Path) -> Path | None:
    """Copies the broken end beside the file, then cuts it off; between the two it is only there twice."""
    _, end = _parse(path)
    if not path.exists() or end == path.stat().st_size:
        return None
    number = 1
    while (aside := path.with_name(f"{path.name}.broken-{number}")).exists():
        number += 1
    with aside.open("xb") as file:
        file.write(path.read_bytes()[end:])
        file.flush()
        os.fsync(file.fileno())
    os.truncate(path, end)
    return aside


def _parse(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records, and where the whole lines end."""
    content = path.read_bytes() if path.exists() else b""
    records = []
    begin = 0
    for number, line in enumerate(content.split(b"\n"), 1):
        record = _read(line)
        if record is not None:
            records.append(record)
        elif line.strip():
            if content[begin + len(line) :].strip():
                raise ValueError(
                    f"{path} must hold a JSON object in line {number}, got {line[:60].decode(errors='replace')!r}"
                )
            return records, begin
        begin += len(line) + 1
    return records, len(content)


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.decode())
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
