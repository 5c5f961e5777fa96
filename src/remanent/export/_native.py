"""C compiled on this machine: a module as a program that is run on sequences or timed, or as a library that is kept."""

import contextlib
import ctypes
import functools
import hashlib
import platform
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np

from remanent._files import cache_folder, is_own
from remanent._machine import processor_name

FLAGS = ("-std=c99", "-O2")
"""The flags of the C compiler for a program."""
LIBRARY_FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fPIC", "-shared")
"""The flags of the C compiler for a library; none changes a sum or a product, or needs a certain processor."""


class StepTime(NamedTuple):
    """What a step of one stream takes on a machine.

    Attributes:
        seconds: the mean of the fastest of some rounds of many steps.
        runner: what takes the steps.
        processor: the machine's processor, of which one thread is used.
    """

    seconds: float
    runner: str
    processor: str


def check_new(path: Path) -> None:
    """Raises a FileExistsError if there is a file at a path."""
    if path.exists():
        raise FileExistsError(f"`{path.name}` must not exist yet, got {path}; choose another name or folder")


def find_compiler() -> str | None:
    """This machine's C compiler, or None."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def program_for(name: str, file: str) -> str:
    """One of the programs around a module, with its name filled in."""
    text = files("remanent.export").joinpath("c_parts", file).read_text(encoding="utf-8")
    return re.sub(r"NAME(?=_[A-Z])", name.upper(), text).replace("NAME", name)


def run_native(
    name: str,
    sources: dict[str, str],
    state_type: np.dtype,
    output_size: int,
    sequences: Sequence[np.ndarray],
    *,
    flags: Sequence[str] = FLAGS,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The outputs and states of a module over sequences, step by step.

    Args:
        name: of the module.
        sources: the text of its two files by name.
        state_type: of its state.
        output_size: values after a step.
        sequences: float32 (T, input_size), or tokens (T,).
        flags: for the compiler.

    Returns:
        For each sequence the outputs, (T, output_size), and the states (T,) after each step.

    Raises:
        RuntimeError: it does not compile or run; the message is the compiler's or the program's.
    """
    compiler = find_compiler()
    assert compiler is not None
    row = np.dtype([("y", np.float32, (output_size,)), ("state", state_type)])
    rows = np.frombuffer(_run_program(compiler, flags, name, sources, "harness.c", sequences), row)
    ends = np.cumsum([len(x) for x in sequences])
    return [(part["y"].copy(), part["state"].copy()) for part in np.split(rows, ends[:-1])]


def time_native(name: str, sources: dict[str, str], sequence: np.ndarray) -> StepTime:
    """What a step of a module takes, of a sequence that is repeated from its start.

    Args:
        name: of the module.
        sources: the text of its two files by name.
        sequence: float32 (T, input_size), or tokens (T,).

    Raises:
        RuntimeError: it does not compile or run.
    """
    compiler = find_compiler()
    assert compiler is not None
    seconds = float(_run_program(compiler, FLAGS, name, sources, "timing.c", [sequence]))
    return StepTime(seconds, f"{Path(compiler).name} {' '.join(FLAGS)}", processor_name())


def _run_program(
    compiler: str, flags: Sequence[str], name: str, sources: dict[str, str], file: str, sequences: Sequence[np.ndarray]
) -> bytes:
    """What one of the programs around a module writes when it is given sequences."""
    given = b"".join(np.uint32(len(x)).tobytes() + _four_bytes(x) for x in sequences)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        programs = {file: program_for(name, file), f"{name}_input.h": program_for(name, "input.h")}
        for source, text in (sources | programs).items():
            (place / source).write_text(text, encoding="utf-8")
        program = place / "program"
        run_command([compiler, *flags, "-o", str(program), file, f"{name}.c", "-lm"], place)
        return run_command([str(program)], place, given)


def _four_bytes(x: np.ndarray) -> bytes:
    return x.astype(np.float32 if np.issubdtype(x.dtype, np.floating) else np.uint32).tobytes()


def run_command(command: list[str], place: Path, given: bytes = b"", *, both: bool = False) -> bytes:
    """What a program in a folder writes to its output; or, of `both`, to that and to where its errors go.

    Raises:
        RuntimeError: it fails; the message holds its errors.
    """
    done = subprocess.run(command, cwd=place, input=given, capture_output=True)
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise RuntimeError(f"{Path(command[0]).name} must build and run the exported model, got {message}")
    return done.stdout + done.stderr if both else done.stdout


def file_name(text: str) -> str:
    """The name of the library of a C file on machines like this one."""
    made_for = (text, *LIBRARY_FLAGS, platform.system(), platform.machine(), *platform.libc_ver())
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
            run_command([compiler, *LIBRARY_FLAGS, "-o", str(library), "model.c", "-lm"], Path(place))
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
