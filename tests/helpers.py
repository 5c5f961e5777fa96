"""Comparisons, and marks, that several test files use."""

import importlib
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest
from torch import Tensor

COMPILER = any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))
HEADERS = Path(sysconfig.get_paths()["include"], "Python.h").exists()


def compiles(test):
    """Marks a test that calls `torch.compile`, which needs a C++ compiler, and warns of its own parts."""
    marks = (
        pytest.mark.skipif(
            not (COMPILER and HEADERS), reason="torch.compile needs a C++ compiler and Python's headers"
        ),
        pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex"),
        pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    )
    for mark in marks:
        test = mark(test)
    return test


def interpreted_modules(names: list[str]) -> list[ModuleType]:
    """Modules of kernels as Triton's interpreter runs them; apart from compiled ones that are loaded already."""
    loaded = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        try:
            return [importlib.import_module(name) for name in names]
        finally:
            for name in names:
                sys.modules.pop(name, None)
            sys.modules.update(loaded)


def assert_close(actual: Tensor, expected: Tensor, tolerance: float, name: str) -> None:
    """Same dtype and shape, and the largest difference within `tolerance` of the largest value."""
    assert actual.dtype == expected.dtype, name
    assert actual.shape == expected.shape, name
    wide = expected.cdouble() if expected.is_complex() else expected.double()
    error = (actual - wide).abs().max() / wide.abs().max().clamp(min=1e-300)
    assert error <= tolerance, f"{name}: relative error {error:.2e}"


def with_traps(folder):
    """The folder, with files that are named as packages which the program imports; none of them may be executed."""
    for name in ("jsonargparse", "torch", "yaml", "filelock"):
        (folder / f"{name}.py").write_text("raise SystemExit(f'{__file__} was executed')\n")
    return folder
