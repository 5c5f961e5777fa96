"""C that this package wrote, compiled to a library, kept by its content, and loaded into this process."""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import stat
import tempfile
import warnings
from pathlib import Path

from remanent.export._native import find_compiler, run_command

FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fPIC", "-shared")
"""The flags of the C compiler; no flag may change a sum or a product, and none asks for what other processors lack."""


def cache_folder() -> Path:
    """Where compiled libraries are kept: `remanent/native` in XDG_CACHE_HOME, or in `~/.cache`."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "remanent" / "native"


def file_name(text: str) -> str:
    """The name of the library of a C file on machines like this one."""
    made_for = (text, *FLAGS, platform.system(), platform.machine(), *platform.libc_ver())
    return f"{hashlib.sha256(chr(0).join(made_for).encode()).hexdigest()}.so"


@functools.cache
def load_library(text: str) -> ctypes.CDLL | None:
    """The library of a C file; None, with a warning, where it cannot be compiled.

    It is compiled at its first use on a machine. It is written whole and then renamed, so that several processes may do
    this at once, into a folder that no other user may write to; where there is no such folder, it is not kept.

    Args:
        text: C that this package wrote.
    """
    compiler = find_compiler()
    if compiler is None:
        _warn_once("no C compiler is on the path (cc, gcc or clang): install one")
        return None
    folder = _own_folder()
    kept = None if folder is None else folder / file_name(text)
    if kept is not None and _is_own(kept):
        with contextlib.suppress(OSError):  # cut short by a crash of the machine: compiled again
            return ctypes.CDLL(str(kept))
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as place:
            library = Path(place, "model.so")
            Path(place, "model.c").write_text(text, encoding="utf-8")
            run_command([compiler, *FLAGS, "-o", str(library), "model.c", "-lm"], Path(place))
            if kept is None:
                return ctypes.CDLL(str(library))
            library.replace(kept)
            return ctypes.CDLL(str(kept))
    except (OSError, RuntimeError) as error:
        _warn_once(f"the C compiler {compiler} does not make a library that loads: {str(error).splitlines()[0]}")
        return None


def _own_folder() -> Path | None:
    """The folder of libraries, made if need be; None where it cannot be made, or others may write to it."""
    folder = cache_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if _is_own(folder) and os.access(folder, os.W_OK) else None


def _is_own(path: Path) -> bool:
    """Whether a path exists, belongs to this user, and can be written by no other."""
    try:
        found = path.stat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):
        return True
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.cache
def _warn_once(reason: str) -> None:
    warnings.warn(f'`engine` "native" runs as "torch", with the same results, since {reason}', stacklevel=2)
