"""The version of files: what tells whether those at a path are still the ones that were read."""

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

YOUNG = 2.0
"""The age in seconds below which a file counts by its content: clocks of file systems are coarser than programs."""


def version_of(paths: Iterable[Path]) -> str:
    """A hash of where files really lie, how large they are, and when they were changed last.

    A cache that has it in its key never gives the data of another folder after a change of the working directory, nor
    what a file held before it changed.

    Raises:
        OSError: a file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    now = time.time()
    for path in paths:
        status = path.stat()
        digest.update(
            f"{os.path.realpath(path)}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\0".encode()
        )
        if now - max(status.st_mtime, status.st_ctime) < YOUNG:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
