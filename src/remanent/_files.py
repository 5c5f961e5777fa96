"""Files, figures and configurations: where they are kept, written whole or not at all, and read with clear errors."""

import dataclasses
import io
import json
import math
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from remanent._json import parse_json

Config = TypeVar("Config")
RANDOM = "[a-z0-9_]{8}"
"""What `tempfile` makes names unique with."""
PARTIAL = re.compile(rf"\..+\.{RANDOM}\.part|\..+\.jsonl?\.{RANDOM}|\..+\.safetensors\.{RANDOM}")
"""The name of a file before it is whole, also as earlier versions called them; a name that nobody gives a file."""
LOCKS = ".locks"
"""The folder of the files that processes lock, beside what they write."""
OLD = 86_400.0
"""The seconds after which a file or folder that is not whole yet is one that a killed process left."""


def write_whole(path: Path, content: bytes, *, new: bool = False) -> None:
    """Writes a file so that it exists whole or not at all, whenever the process ends.

    A process that is killed meanwhile leaves a hidden file; a write of the same file removes it once it is a day old.

    Args:
        path: the file.
        content: what it will hold.
        new: whether the file must not exist yet, not even if another process has written it a moment before.

    Raises:
        FileExistsError: `new` is set, and the file exists.
        OSError: the folder cannot be written.
    """
    _remove_old(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        if new:
            _name_new(Path(temporary), path)
        else:
            Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def lock_of(path: Path) -> Path:
    """The file that processes lock before they write to a path, in the hidden folder `.locks` beside it.

    The folder is made if need be. No list of runs or results has it, neither `runs/*` of a shell nor a glob.

    Raises:
        OSError: the folder cannot be made.
    """
    place = path.parent / LOCKS
    place.mkdir(parents=True, exist_ok=True)
    return place / path.name


def without_locks(paths: Iterable[Path]) -> list[Path]:
    """The paths without the files NAME.lock, which earlier versions left beside each run and each file of results."""
    return [path for path in paths if not (path.suffix == ".lock" and path.is_file())]


def cache_folder(name: str) -> Path | None:
    """A folder of the user's cache, made if need be: for what can be made again, and may be executed.

    It is `remanent/NAME` in XDG_CACHE_HOME, or else where the system keeps the caches of a user.

    Returns:
        The folder; None where it cannot be written, or others may write to it.
    """
    try:
        folder = _caches() / "remanent" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return None
    return folder if is_own(folder) and os.access(folder, os.W_OK) else None


def is_own(path: Path) -> bool:
    """Whether a path exists, belongs to this user, and can be written by no other."""
    try:
        found = path.stat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):
        return True
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _caches() -> Path:
    """The folder of the user's caches."""
    named = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    if (given := Path(os.environ.get(named, ""))).is_absolute():
        return given
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


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

    A process that is killed meanwhile leaves the hidden folder; the next call removes it once it is a day old.

    Raises:
        OSError: the folder around it cannot be written, or another process has made the folder meanwhile.
    """
    _remove_old(path)
    staged = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield staged
        staged.chmod(0o755)
        staged.rename(path)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def remove_partial(folder: Path) -> None:
    """Removes the files in a folder that killed processes left before they were whole; no process may write there."""
    for path in folder.glob(".*"):
        if PARTIAL.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def partial_folders(path: Path) -> list[Path]:
    """The hidden folders beside a path in which `new_folder` began to make it, here or in a process that was killed."""
    name = re.compile(rf"\.{re.escape(path.name)}\.{RANDOM}(\.part)?")
    return [each for each in path.parent.glob(".*") if name.fullmatch(each.name) and each.is_dir()]


def _name_new(temporary: Path, path: Path) -> None:
    """Gives a file its name, which no file may have; a rename would replace that file."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise FileExistsError(f"{path} must not exist yet, got a file that was written meanwhile") from None
    except OSError:  # the system has no hard links
        path.touch(exist_ok=False)
        temporary.replace(path)
    temporary.unlink(missing_ok=True)


def _remove_old(path: Path) -> None:
    """Removes what killed processes left of a path before it was whole, if that is long ago."""
    name = re.compile(rf"\.{re.escape(path.name)}\.{RANDOM}\.part")
    for each in path.parent.glob(".*.part"):
        try:
            if name.fullmatch(each.name) and time.time() - each.stat().st_mtime > OLD:
                shutil.rmtree(each, ignore_errors=True) if each.is_dir() else each.unlink()
        except OSError:  # another process removed it, or it is another user's
            continue


def figure_bytes(figure: Any, kind: str) -> bytes:
    """The bytes of a figure of matplotlib as "png" or "svg", the same for the same figure."""
    import matplotlib

    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "remanent"}):
        figure.savefig(content, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)
    return content.getvalue()


def write_json(path: Path, value: Any) -> None:
    """Writes a value as indented JSON, whole."""
    write_whole(path, (to_json(value, indent=2) + "\n").encode())


def to_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON, which has neither NaN nor infinity: null stands for them.

    >>> to_json({"score": float("nan"), "all": (1.0, float("inf"))})
    '{"score": null, "all": [1.0, null]}'
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


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
