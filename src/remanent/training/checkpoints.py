"""Checkpoints of a run: there whole or not at all, known by their checksum, the last ones and the best kept."""

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
"""Of the index; a higher one was written by a later version."""
INDEX = "index.json"


@dataclass(frozen=True)
class Checkpoint:
    """A line of the index.

    Args:
        file: its name in the folder.
        step: how many steps had been done.
        sha256: of its bytes.
        score: of the validation split then; None if it was not finite.
    """

    file: str
    step: int
    sha256: str
    score: float | None = None


class Checkpoints:
    """The checkpoints in a folder.

    The index is written after a checkpoint is, and before an older one is deleted: whenever the process ends, what it
    lists is there.

    Args:
        folder: where they lie; it exists.
        identity: of the run's configuration; those of another are refused.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity

    def write(
        self, save: Callable[[Path], None], step: int, score: float | None, *, keep: int, more_is_better: bool
    ) -> None:
        """Adds a checkpoint, and drops those that are neither among the last nor the best.

        Args:
            save: writes it to a path.
            step: how many steps have been done.
            score: of the validation split.
            keep: how many of the last are kept, at least 1.
            more_is_better: of two scores.

        Raises:
            OSError: it cannot be written; those before are as they were.
        """
        path = self.folder / f"step-{step}.ckpt"
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            save(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            temporary.replace(path)
        except (OSError, RuntimeError) as error:  # torch raises the latter where a disk is full
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
        """The last whole checkpoint and its number of steps; None where there has been none yet.

        One that is not whole is passed over, with a warning that says from which the run goes on.

        Raises:
            ValueError: none of those listed is whole, or they are another run's or a later version's.
        """
        listed = self.read()
        problems: list[str] = []
        for each in reversed(listed):
            path = self.folder / each.file
            problem = _problem(path, each.sha256)
            if problem is None:
                if problems:
                    came = f"{' and '.join(problems)}; the run goes on from step {each.step}"
                    warnings.warn(f"a checkpoint is damaged: {came}", stacklevel=2)
                return path, each.step
            problems.append(f"{path} {problem}")
        if listed:
            came = f"{' and '.join(problems)}; start anew elsewhere"
            raise ValueError(f"{self.folder} must hold a whole checkpoint, got {came}")
        return None

    def read(self) -> list[Checkpoint]:
        """What the index lists, from the first step to the last; nothing where there is none yet."""
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
    """Keeps a run's folder from everybody else who would train in it, until the context or the process ends.

    Raises:
        RuntimeError: another process trains in it.
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
    """What is wrong with a file, in words."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if found == sha256 else "has another checksum than it was written with"


def _sync(folder: Path) -> None:
    """Brings the names in a folder to the disk, where the system can."""
    if os.name != "posix":
        return
    handle: Any = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
