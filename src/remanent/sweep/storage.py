"""The folder of a run on storage that several machines share, at any address that fsspec reads."""

import hashlib
import json
import os
import re
import socket
import uuid
from pathlib import Path, PureWindowsPath
from typing import Any

from remanent._json import is_number
from remanent.records.lines import parse_line
from remanent.records.record import RECORD_FILE, Record
from remanent.training.checkpoints import FILE, INDEX

OWNER = "owner.json"
"""The file that names the process which owns the run; every other process leaves the run alone."""
SECONDS = "seconds.json"
"""The file that says how long the run had trained when it was last copied."""
CHECKPOINTS = "checkpoints"
PARTIAL = re.compile(r"\.(.+\.(json|jsonl|ckpt|safetensors)|events\.out\..+)\..+")
"""The name of a file of a run that is being written: a dot, the name of the whole file, and the mark of the process."""


class Storage:
    """The folder of a run on shared storage, and its working copy on this machine.

    After each checkpoint the working copy is copied to the storage, the index of checkpoints last: whatever the index
    lists is there, and another machine can resume from it. A process that lost contact with the cluster, and whose run
    another has taken over, notices this and ends.

    Args:
        address: a path, or any address that fsspec reads, such as s3://bucket/runs/NAME.
        folder: the working copy on this machine.

    Raises:
        ValueError: fsspec knows no such storage, or the package that it needs is not installed.
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
        """Makes this process the owner of the run; the owner before notices when it next copies."""
        self.files.makedirs(self.root, exist_ok=True)
        for path in self.files.find(self.root):
            if PARTIAL.fullmatch(path.rpartition("/")[2]):  # left by a process that was killed
                self.files.rm_file(path)
        self._put(OWNER, json.dumps({"owner": self.mark}).encode())

    def fetch(self) -> bool:
        """Copies the run from the storage to this machine.

        Returns:
            Whether the storage holds the run.

        Raises:
            ValueError: the storage lists a file outside the run's folder.
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
        """Copies what has changed to the storage, and deletes there what was deleted here.

        Raises:
            OSError: another process has taken the run over, or the storage cannot be written.
            ValueError: the storage lists a file outside the run's folder, or does not say who owns the run.
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
        if index not in files:  # the working copy was lost, and says nothing about what is needed
            return
        for name in self._names():
            folder, _, last = name.rpartition("/")
            if folder == CHECKPOINTS and FILE.fullmatch(last) and name not in files:
                self.files.rm_file(self._path(name))

    def read(self, name: str) -> dict[str, Any] | None:
        """Reads a JSON object of the storage; None where there is none.

        Raises:
            ValueError: the file there holds something else.
        """
        self.files.invalidate_cache()  # which does not know what other processes have written
        try:
            content = self.files.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        value = parse_line(content)
        if value is None:
            found = content[:40].decode(errors="replace")
            raise ValueError(f"{self._path(name)} must hold a JSON object, got {found!r}")
        return value

    def read_seconds(self) -> float:
        """How long the run had trained when it was last copied; 0 where the storage does not say.

        Raises:
            ValueError: the file there holds no such number.
        """
        seconds: Any = (self.read(SECONDS) or {"seconds": 0.0}).get("seconds")
        if not is_number(seconds) or seconds < 0:
            raise ValueError(f"{self._path(SECONDS)} must hold `seconds`, a number of at least 0, got {seconds!r}")
        return float(seconds)

    def read_record(self) -> Record | None:
        """The record of the run; None where it has not ended.

        Raises:
            ValueError: the file there holds no record.
        """
        found = self.read(RECORD_FILE)
        return None if found is None else Record.from_dict(found, self._path(RECORD_FILE))

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Writes a JSON file to the storage."""
        self._put(name, json.dumps(value).encode())

    def _names(self) -> list[str]:
        """The run's files on the storage, relative to its folder; each stays inside it, wherever it is copied."""
        root = self.root.rstrip("/") + "/"
        names = [path.removeprefix(root) for path in self.files.find(self.root)]
        for name in names:
            parts = name.replace("\\", "/").split("/")
            if ".." in parts or "" in parts or PureWindowsPath(name).drive:
                raise ValueError(f"{self.root} must list files inside it alone, got {name!r}")
        return [name for name in names if not name.rpartition("/")[2].startswith(".")]

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def _put(self, name: str, content: bytes) -> None:
        """Writes a file under another name first, so that it is there whole or not at all."""
        path = self._path(name)
        parent, _, last = path.rpartition("/")
        self.files.makedirs(parent, exist_ok=True)
        temporary = f"{parent}/.{last}.{self.mark}"
        self.files.pipe_file(temporary, content)
        self.files.mv(temporary, path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
