"""A file of JSON objects, one a line, to which many processes append; a line is there whole, or it is set aside."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from remanent._files import lock_of
from remanent._json import parse_json

AS_BYTES = getattr(os, "O_BINARY", 0)
"""Keeps Windows from writing line ends of its own."""


class Line(NamedTuple):
    """A whole line of a file: its number, counted from 1, and the object that it holds."""

    number: int
    value: dict[str, Any]


class Lines(NamedTuple):
    """What a file holds.

    Attributes:
        whole: its whole lines; blank ones are passed over.
        end: the byte at which they end.
        broken: the number of the last line where it is broken; None where it is whole.
    """

    whole: list[Line]
    end: int
    broken: int | None


def read_lines(path: Path) -> Lines:
    """Reads a file; one that does not exist yet has no lines.

    A last line that is no JSON object is broken: a process was killed, or still is, while it wrote it. It is left out,
    and where it stands is returned. A file that begins with something else holds no such lines at all.

    Raises:
        ValueError: a line before the last is broken, or the only line is none that was cut short; the message names
            the file and the line.
    """
    content = path.read_bytes() if path.exists() else b""
    whole: list[Line] = []
    begin = 0
    for number, line in enumerate(content.split(b"\n"), 1):
        value = parse_line(line)
        if value is not None:
            whole.append(Line(number, value))
        elif line.strip():
            is_last = not content[begin + len(line) :].strip()
            if is_last and (whole or line.startswith(b"{")):
                return Lines(whole, begin, number)
            text = line[:60].decode(errors="replace")
            raise ValueError(f"{path}, line {number} must hold a JSON object, got {text!r}")
        begin += len(line) + 1
    return Lines(whole, len(content), None)


def append_line(path: Path, value: dict[str, Any]) -> Path | None:
    """Appends an object in one write, under the file's lock, and waits until it is on the disk.

    The lock is a file of its own, as `lock_of` names it, which the system frees when its holder dies. The file itself
    is therefore never opened by a lock, and may be read where nothing can be written.

    Returns:
        Where a broken last line, which another process had left, was put; None if there was none.

    Raises:
        ValueError: a line before the last is broken, or the object holds a number that JSON does not have.
        OSError: the file cannot be written.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    line = encode_line(value)
    with FileLock(lock_of(path)):
        aside = _set_aside(path)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | AS_BYTES, 0o644)
        try:
            size = os.fstat(handle).st_size
            if size and _last_byte(path) != b"\n":
                line = b"\n" + line
            if os.write(handle, line) < len(line):
                os.ftruncate(handle, size)
                raise OSError(f"{path} could not be written: no space is left")
            os.fsync(handle)
        finally:
            os.close(handle)
    return aside


def repair(path: Path) -> Path | None:
    """Moves a broken last line to PATH.broken-1 (-2, ...).

    Returns:
        Where it was put; None if there was none.

    Raises:
        ValueError: a line before the last is broken; nothing is touched then.
    """
    from filelock import FileLock

    if read_lines(path).broken is None:
        return None
    with FileLock(lock_of(path)):
        return _set_aside(path)


def encode_line(value: dict[str, Any]) -> bytes:
    """An object as a line.

    Raises:
        ValueError: it holds a number that JSON does not have.
    """
    return (json.dumps(value, allow_nan=False) + "\n").encode()


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The object that a line holds; None where it holds none."""
    try:
        value = parse_json(line, "the line")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _last_byte(path: Path) -> bytes:
    """The last byte of a file that has one."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _set_aside(path: Path) -> Path | None:
    """Copies a broken last line beside the file, then cuts it off; it is never in neither place."""
    lines = read_lines(path)
    if lines.broken is None:
        return None
    number = 1
    while (aside := path.with_name(f"{path.name}.broken-{number}")).exists():
        number += 1
    with aside.open("xb") as file:
        file.write(path.read_bytes()[lines.end :])
        file.flush()
        os.fsync(file.fileno())
    os.truncate(path, lines.end)
    return aside
