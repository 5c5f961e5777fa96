"""An exported module, compiled for this machine and run on sequences."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

FLAGS = ("-std=c99", "-O2")
"""The flags of the C compiler."""


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
    given = b"".join(np.uint32(len(x)).tobytes() + _four_bytes(x) for x in sequences)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for file, text in (sources | {"harness.c": program_for(name, "harness.c")}).items():
            (place / file).write_text(text, encoding="utf-8")
        program = place / "program"
        built = ["harness.c", f"{name}.c"]
        run_command([compiler, *flags, "-o", str(program), *built, "-lm"], place)
        out = run_command([str(program)], place, given)
    rows = np.frombuffer(out, row)
    ends = np.cumsum([len(x) for x in sequences])
    return [(part["y"].copy(), part["state"].copy()) for part in np.split(rows, ends[:-1])]


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
