"""Checkpoints of a run: written whole or not at all, verified by checksums; the last ones and the best are kept."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from remanent._files import from_dict, read_json, write_json

FORMAT = 1
"""The format of the index; a later version writes a higher number."""
INDEX = "index.json"
"""The name of the index in the folder of checkpoints."""


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


class Checkpoints:
    """The checkpoints in a folder.

    The index is written after a new checkpoint and before an older one is deleted, so that all that it lists exists,
    whenever the process ends.

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
        listed = [each for each in self.read() if each.step < step]
        listed.append(Checkpoint(path.name, step, digest, score))
        scored = [each for each in listed if each.score is not None]
        best = max(scored, key=lambda c: (c.score if more_is_better else -c.score, c.step), default=None)  # type: ignore[operator]
        kept = [each for each in listed if each in listed[-keep:] or each is best]
        write_json(
            self.folder / INDEX,
            {"format": FORMAT, "run": self.identity, "checkpoints": [asdict(each) for each in kept]},
        )
        _sync(self.folder)
        names = {each.file for each in kept}
        for other in self.folder.glob("*.ckpt*"):
            if other.name not in names:
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

    def read(self) -> list[Checkpoint]:
        """The entries of the index, from the first step to the last; empty if there is no index yet."""
        path = self.folder / INDEX
        if not path.exists():
            return []
        index = read_json(path)
        if index.get("format") != FORMAT:
            raise ValueError(f"{path} must have the format {FORMAT} of this version, got {index.get('format')!r}")
        if index.get("run") != self.identity:
            raise ValueError(
                f"{path} must be of the run in config.json, {self.identity}, got {index.get('run')!r}, of another one"
            )
        return [from_dict(Checkpoint, each, str(path)) for each in index.get("checkpoints", [])]


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Locks the folder of a run against other trainings, until the context or the process ends.

    Raises:
        RuntimeError: another process trains in the folder.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RuntimeError(
            f"the run's folder must not be in use, got {folder}, in which another process trains"
        ) from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


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
