"""C that this package wrote, compiled to a library, kept by its content, and loaded into this process."""

import contextlib
import ctypes
import functools
import hashlib
import platform
import tempfile
import warnings
from pathlib import Path

from remanent._files import cache_folder, is_own
from remanent.export._native import find_compiler, run_command

FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fPIC", "-shared")
"""The flags of the C compiler; no flag may change a sum or a product, and none asks for what other processors lack."""


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
    folder = cache_folder("native")
    kept = None if folder is None else folder / file_name(text)
    if kept is not None and is_own(kept):
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


@functools.cache
def _warn_once(reason: str) -> None:
    warnings.warn(f'`engine` "native" runs as "torch", with the same results, since {reason}', stacklevel=2)
