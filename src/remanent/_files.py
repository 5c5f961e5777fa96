"""Files and configurations: written whole or not at all, and read with errors that name the problem."""

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from remanent._json import parse_json

Config = TypeVar("Config")


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it exists whole or not at all, whenever the process ends.

    Raises:
        OSError: the folder cannot be written.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def replace_between(text: str, begin: str, end: str, content: str, page: Path) -> str:
    """Replaces the content between two marks in the text of a page.

    Args:
        text: the text of the page.
        begin: the mark before the content.
        end: the mark after the content.
        content: the new content.
        page: the file of the page, for the error.

    Raises:
        ValueError: the text does not hold each mark once, in this order.

    >>> replace_between("a <b> c <d> e", "<b>", "<d>", "new", Path("page.md"))
    'a <b>\\n\\nnew\\n<d> e'
    """
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"`--page` must hold {begin} and then {end}, once each, got {page}")
    return f"{text.split(begin)[0]}{begin}\n\n{content}\n{end}{text.split(end)[1]}"


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Makes a folder that exists whole or not at all: gives a hidden folder beside it, which is renamed at the end.

    Raises:
        OSError: the folder around it cannot be written, or another process has made the folder meanwhile.
    """
    staged = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield staged
        staged.chmod(0o755)
        staged.rename(path)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes a value as indented JSON, whole."""
    write_whole(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not hold a JSON object.
    """
    if not path.is_file():
        raise FileNotFoundError(f"`{path.name}` must be a file in {path.parent}, got none")
    value = parse_json(path.read_bytes(), str(path))
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(value).__name__}")
    return value


def from_dict(cls: type[Config], values: dict[str, Any], where: str) -> Config:
    """Builds a configuration from a dict, and rejects unknown keys.

    Args:
        cls: a dataclass that checks its own values.
        values: the values of its fields, by name.
        where: the name of the dict in errors.

    Raises:
        ValueError: a key is unknown or missing, or a value is of another type.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ValueError(f"{where} has the unknown key {key!r}; the keys are {', '.join(fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ValueError(f"{where} must have the key {name!r}, got {', '.join(values) or 'none'}")
    for name, value in values.items():
        kind = fields[name].type
        if kind in (int, float, str, bool) and type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(f"{where}: `{name}` must be of type {kind.__name__}, got {value!r}")  # type: ignore
    return cls(**values)
