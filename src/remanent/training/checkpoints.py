"""Checkpoints of a run: written whole or not at all, verified by checksums; the last ones and the best are kept."""

import hashlib
import os
import pickle
import re
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

from remanent._files import from_dict, read_json, write_json

FORMAT = 1
"""The format of the index; a later version writes a higher number."""
INDEX = "index.json"
"""The name of the index in the folder of checkpoints."""
NOTE = "remanent"
"""The key of a checkpoint under which its `Note` stands."""
FILE = re.compile(r"step-(\d+)\.ckpt")
"""The name of a checkpoint's file, with its step."""
PARTIAL = re.compile(r"\.step-\d+\.ckpt\.\d+")
"""The name of a file in which a checkpoint is written before it gets its own name."""


class Note(NamedTuple):
    """What a checkpoint says of itself, for when the index is lost.

    Attributes:
        run: the identity of the run's configuration.
        score: the score of the validation split; None if it is unknown or was not finite.
    """

    run: str
    score: float | None


@dataclass(frozen=True)
class Checkpoint:
    """An entry of the index.

    Args:
        file: the name of the checkpoint's file in the folder.
        step: the number of steps that were done.
        sha256: the checksum of the file.
        score: the score of the validation split at that step; None if it was not finite.
    """

    file: str
    step: int
    sha256: str
    score: float | None = None

    def __post_init__(self) -> None:
        if self.file != f"step-{self.step}.ckpt":
            raise ValueError(f"`file` must be step-{self.step}.ckpt for `step` {self.step}, got {self.file!r}")
        if not (self.score is None or type(self.score) in (int, float)):
            raise ValueError(f"`score` must be a number or null, got {self.score!r}")


class Checkpoints:
    """The checkpoints in a folder.

    The index is written after a new checkpoint and before an older one is deleted, so that all that it lists exists,
    whenever the process ends. Where the index is lost or damaged, it is made again from the checkpoints, each of which
    knows its step, its run and its score.

    Args:
        folder: the folder of the checkpoints, which must exist.
        identity: the identity of the run's configuration; the checkpoints of another run are rejected.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity

    def write(
        self, save: Callable[[Path], None], step: int, score: float | None, *, keep: int, more_is_better: bool
    ) -> None:
        """Adds a checkpoint, and deletes those that are neither among the last nor the best.

        Args:
            save: a function that writes the checkpoint to a path.
            step: the number of steps that are done.
            score: the score of the validation split; None if it is unknown or not finite.
            keep: how many of the last checkpoints are kept, at least 1.
            more_is_better: whether the higher of two scores is the better one.

        Raises:
            OSError: the checkpoint cannot be written; the ones before are as they were.
        """
        path = self.folder / f"step-{step}.ckpt"
        listed = [each for each in self.read() if each.step < step]
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            save(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            temporary.replace(path)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError when the disk is full
            temporary.unlink(missing_ok=True)
            raise OSError(f"the checkpoint of step {step} must be written to {path}, got {error}") from None
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        listed.append(Checkpoint(path.name, step, digest, score))
        best = _best(listed, more_is_better)
        kept = [each for each in listed if each in listed[-keep:] or each is best]
        self._write_index(kept)
        _sync(self.folder)
        names = {each.file for each in kept}
        for other in self.folder.iterdir():  # a file of any other name is the user's own
            if PARTIAL.fullmatch(other.name) or (FILE.fullmatch(other.name) and other.name not in names):
                other.unlink()

    def newest(self) -> tuple[Path, int] | None:
        """The last whole checkpoint and its number of steps; None if there is no checkpoint yet.

        A damaged checkpoint is skipped, with a warning that names the step from which the run resumes.

        Raises:
            ValueError: all checkpoints are damaged, or they belong to another run or a later version.
        """
        listed = self.read()
        problems: list[str] = []
        for each in reversed(listed):
            path = self.folder / each.file
            problem = _problem(path, each.sha256)
            if problem is None:
                if problems:
                    found = f"{' and '.join(problems)}; the run resumes from step {each.step}"
                    warnings.warn(f"a checkpoint is damaged: {found}", stacklevel=2)
                return path, each.step
            problems.append(f"{path} {problem}")
        if listed:
            found = f"{' and '.join(problems)}; start the run again in another folder"
            raise ValueError(f"{self.folder} must hold a whole checkpoint, got {found}")
        return None

    def best(self, more_is_better: bool) -> tuple[Path, int] | None:
        """The checkpoint of the best score, of several the last one, and its number of steps; None if none has a score.

        Args:
            more_is_better: whether the higher of two scores is the better one.

        Raises:
            ValueError: that checkpoint is damaged.
        """
        found = _best(self.read(), more_is_better)
        if found is None:
            return None
        problem = _problem(self.folder / found.file, found.sha256)
        if problem is not None:
            rule = f"{self.folder / found.file} must be whole, since the run ends with its weights, got one that"
            raise ValueError(f"{rule} {problem}; start the run again in another folder")
        return self.folder / found.file, found.step

    def read(self) -> list[Checkpoint]:
        """The entries of the index, from the first step to the last; empty if there is no checkpoint yet.

        A lost or damaged index is made again from the checkpoints, with a warning; unless there is a single one, which
        a run leaves that was killed before it wrote its first index.

        Raises:
            ValueError: the index or a checkpoint is of another run or a later version, or no checkpoint is whole.
        """
        path = self.folder / INDEX
        if not path.exists():
            found, problems = self._rebuild()
            if len(found) > 1 or problems:
                warnings.warn(_rebuilt(path, "must be a file, got none", found, problems), stacklevel=2)
            return found
        try:
            index = read_json(path)
            self._check_owner(path, index)
            entries = index["checkpoints"]
            if not entries:
                raise ValueError(f"`checkpoints` must list one or more, got {entries!r}")
            listed = [from_dict(Checkpoint, each, f"a checkpoint of {path}") for each in entries]
        except _OtherRunError as error:
            raise ValueError(str(error)) from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            found, problems = self._rebuild()
            if not found:
                raise ValueError(f"{path} must be an index of checkpoints, got a damaged one ({error})") from None
            warnings.warn(_rebuilt(path, f"is damaged ({error})", found, problems), stacklevel=2)
            return found
        return sorted(listed, key=lambda each: each.step)

    def _check_owner(self, path: Path, index: dict[str, Any]) -> None:
        if type(index["format"]) is int and index["format"] != FORMAT:
            raise _OtherRunError(f"{path} must have the format {FORMAT} of this version, got {index['format']!r}")
        self._check_run(path, index["run"])

    def _check_run(self, path: Path, run: str) -> None:
        if run != self.identity:
            raise _OtherRunError(
                f"{path} must be of the run in config.json, {self.identity}, got {run!r}, of another one"
            )

    def _write_index(self, listed: list[Checkpoint]) -> None:
        index = {"format": FORMAT, "run": self.identity, "checkpoints": [asdict(each) for each in listed]}
        write_json(self.folder / INDEX, index)

    def _rebuild(self) -> tuple[list[Checkpoint], list[str]]:
        """Makes the index again from the whole checkpoints in the folder, if there are any.

        Returns:
            Its entries, and what is wrong with the other checkpoints, in words.
        """
        found, problems = [], []
        for path in self.folder.glob("step-*.ckpt"):
            if not FILE.fullmatch(path.name):
                continue
            try:
                step, note = _inspect(path)
            except ValueError as error:
                problems.append(f"{path} {error}")
                continue
            if note is not None:
                self._check_run(path, note.run)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.append(Checkpoint(path.name, step, digest, note.score if note else None))
        if problems and not found:
            raise ValueError(
                f"{self.folder} must hold a whole checkpoint, got {' and '.join(problems)}; "
                "start the run again in another folder"
            )
        found.sort(key=lambda each: each.step)
        if found:
            self._write_index(found)
        return found, problems


class _OtherRunError(ValueError):
    """The checkpoints are not this run's."""


def _best(listed: list[Checkpoint], more_is_better: bool) -> Checkpoint | None:
    """The checkpoint of the best score, of several the last one; None if none has a score."""
    sign = 1 if more_is_better else -1
    scored = [(sign * each.score, each.step, each) for each in listed if each.score is not None]
    return max(scored, key=lambda found: found[:2])[-1] if scored else None


def _rebuilt(path: Path, problem: str, found: list[Checkpoint], problems: list[str]) -> str:
    """The warning that the index was made again."""
    others = "".join(f"; {other}" for other in problems)
    return f"{path} {problem}; it was made again from {', '.join(each.file for each in found)}{others}"


def _inspect(path: Path) -> tuple[int, Note | None]:
    """The step of a checkpoint by its own content, and what it says of itself; None if an earlier version wrote it.

    Raises:
        ValueError: the file is damaged, or its name says another step.
    """
    import torch

    try:
        with ZipFile(path) as parts:
            damaged = parts.testzip()  # torch itself compares no checksums
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, EOFError, BadZipFile, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ValueError(f"is damaged ({error})") from None
    values: dict[str, Any] = content if isinstance(content, dict) else {}
    step, note = values.get("global_step"), values.get(NOTE)
    if type(step) is not int or path.name != f"step-{step}.ckpt":
        raise ValueError("is damaged" if step is None else f"holds step {step!r}")
    return step, None if note is None else Note(note["run"], note["score"])


def _problem(path: Path, sha256: str) -> str | None:
    """What is wrong with a file, in words; None if its checksum is right."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if found == sha256 else "has another checksum than it was written with"


def _sync(folder: Path) -> None:
    """Writes the names in a folder to the disk, where the system can do that."""
    if os.name != "posix":
        return
    handle: Any = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
