"""A run's folder on storage that several machines share, at any address that fsspec reads."""

import hashlib
import json
import os
import socket
import uuid
from pathlib import Path
from typing import Any

from remanent.records.record import RECORD_FILE, Record
from remanent.training.checkpoints import INDEX

OWNER = "owner.json"
"""Who works on the run; whoever finds another there leaves it alone."""
SECONDS = "seconds.json"
"""How long it had trained when it was last copied."""
CHECKPOINTS = "checkpoints"


class Storage:
    """A run's folder on shared storage, beside the one on this machine that is worked in.

    What a run has done is copied there after each checkpoint, the index of checkpoints last: whenever it breaks off,
    what the index lists is there. Another machine goes on from it. A process that was cut off from the cluster, and
    whose run another has taken over, notices and ends.

    Args:
        address: where it lies: a path, or any that fsspec reads, such as s3://bucket/runs/NAME.
        folder: on this machine.

    Raises:
        ValueError: fsspec knows no such storage, or the package that it needs for it is not installed.
    """

    def __init__(self, address: str, folder: Path) -> None:
        from fsspec.core import url_to_fs

        try:
            self.files, self.root = url_to_fs(address)
        except ImportError as error:
            raise ValueError(f"`storage` must have its package installed, got {address!r}: {error}") from None
        except ValueError as error:
            raise ValueError(f"`storage` must be an address that fsspec reads, got {address!r}: {error}") from None
        self.folder = folder
        self.mark = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"
        self.sent: dict[str, str] = {}

    def claim(self) -> None:
        """Makes the run this process's; whoever had it notices when it next copies."""
        self.files.makedirs(self.root, exist_ok=True)
        for path in self.files.find(self.root):
            if Path(path).name.startswith("."):  # half a file, of one that broke off
                self.files.rm_file(path)
        self._put(OWNER, json.dumps({"owner": self.mark}).encode())

    def fetch(self) -> bool:
        """Copies the run here, where there is one.

        Returns:
            Whether there is.
        """
        if not self.files.exists(self._path("config.json")):
            return False
        names = [name for name in self._names() if name not in (OWNER, RECORD_FILE, SECONDS)]
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.files.cat_file(self._path(name)))
            self.sent[name] = _digest(path)
        (self.folder / CHECKPOINTS).mkdir(exist_ok=True)
        return True

    def copy(self) -> None:
        """Copies what has changed to the storage, and deletes there what is no longer here.

        Raises:
            OSError: another process has taken the run over, or nothing can be written there.
        """
        owner = self.read(OWNER)
        if owner is None or owner.get("owner") != self.mark:
            raise OSError(f"{self.root} must be this process's alone, got {owner}: another has taken the run over")
        index = f"{CHECKPOINTS}/{INDEX}"
        files = {path.relative_to(self.folder).as_posix(): path for path in self.folder.rglob("*") if path.is_file()}
        names = sorted(name for name in files if not Path(name).name.startswith("."))
        names.sort(key=lambda name: (name == index, name == "model.json", name == "config.json"))
        for name in names:
            digest = _digest(files[name])
            if self.sent.get(name) != digest:
                self._put(name, files[name].read_bytes())
                self.sent[name] = digest
        for name in self._names():
            if name.startswith(f"{CHECKPOINTS}/") and name not in files:
                self.files.rm_file(self._path(name))

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON file there; None where there is none."""
        self.files.invalidate_cache()  # of what others have written
        try:
            return json.loads(self.files.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def read_record(self) -> Record | None:
        """The record of the run; None where it has not ended.

        Raises:
            ValueError: the file there holds no record.
        """
        found = self.read(RECORD_FILE)
        return None if found is None else Record.from_dict(found, self._path(RECORD_FILE))

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Writes a JSON file there."""
        self._put(name, json.dumps(value).encode())

    def _names(self) -> list[str]:
        paths = self.files.find(self.root)
        root = self.root.rstrip("/") + "/"
        return [path.removeprefix(root) for path in paths if not Path(path).name.startswith(".")]

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def _put(self, name: str, content: bytes) -> None:
        """Writes a file whole: under another name first."""
        path = self._path(name)
        parent, _, last = path.rpartition("/")
        self.files.makedirs(parent, exist_ok=True)
        temporary = f"{parent}/.{last}.{self.mark}"
        self.files.pipe_file(temporary, content)
        self.files.mv(temporary, path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
