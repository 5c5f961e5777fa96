"""Runs tests with the oldest, the pinned and the newest torch, on the oldest and the newest Python that is here.

`make matrix` calls it; it needs nothing but Python. Each pair gets a virtual environment of its own in `.matrix`, which
takes several GB where the registry has no torch without CUDA.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".matrix"
TESTS = ["tests/units", "tests/ops", "tests/models"]
"""What is run unless tests are named: what torch computes, compiles, exports and saves."""
EXTRAS = "train,onnx,dev"
"""The extras that the tests need."""
OF_TORCH = re.compile(r"(torch|triton|sympy|networkx|setuptools|nvidia-.*|cuda-.*)==", re.IGNORECASE)
"""Pinned packages whose versions torch decides."""
OLDEST = (3, 11)
"""The oldest Python that the project takes."""


class Outcome(NamedTuple):
    """What became of one pair of versions."""

    torch: str
    python: str
    passed: bool
    line: str


def main() -> int:
    """Runs every pair, prints one line for each, and returns 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", nargs="+", default=torch_versions(), help="versions; 'newest' for what pip takes")
    parser.add_argument("--python", nargs="+", default=pythons(), help="interpreters")
    parser.add_argument("tests", nargs="*", default=TESTS, help="arguments for pytest")
    options = parser.parse_args()
    outcomes = [run(torch, python, options.tests) for python in options.python for torch in options.torch]
    for outcome in outcomes:
        print(f"torch {outcome.torch}, {outcome.python}: {'passed' if outcome.passed else 'FAILED'}: {outcome.line}")
    return not all(outcome.passed for outcome in outcomes)


def torch_versions() -> list[str]:
    """The floor in `pyproject.toml`, the version in `constraints.txt`, and the newest."""
    floor = re.search(r'"torch>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    pinned = re.search(r"^torch==([\d.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert floor is not None
    assert pinned is not None
    return [f"{floor[1]}.*", pinned[1], "newest"]


def pythons() -> list[str]:
    """The oldest and the newest Python here that the project takes, on the path or of pyenv."""
    places = [shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], 30)]
    places += sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.*/bin/python"))
    found = {version: str(place) for place in [sys.executable, *places] if place and (version := version_of(place))}
    kept = sorted(version for version in found if version >= OLDEST)
    return [found[version] for version in dict.fromkeys((kept[0], kept[-1]))]


def version_of(python: str | Path) -> tuple[int, ...]:
    """Major and minor version; empty where the interpreter does not run."""
    asked = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, check=False)
    return tuple(int(part) for part in asked.stdout.split()) if asked.returncode == 0 else ()


def run(torch: str, python: str, tests: list[str]) -> Outcome:
    """Makes the environment of a pair, unless it is there, and runs the tests in it."""
    version = ".".join(str(part) for part in version_of(python))
    folder = FOLDER / f"torch-{torch.rstrip('.*')}-python-{version}"
    print(f"== torch {torch}, Python {version}", flush=True)
    if not (folder / "ready").exists() and (failed := make(folder, torch, python)):
        return Outcome(torch, f"Python {version}", False, failed)
    shown = subprocess.run(
        [folder / "bin/python", "-c", "import torch; print(torch.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    command = [folder / "bin/python", "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider"]
    with subprocess.Popen([*command, *tests], cwd=ROOT, stdout=subprocess.PIPE, text=True) as tested:
        assert tested.stdout is not None
        last = ""
        for line in tested.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return Outcome(shown.stdout.strip(), f"Python {version}", tested.returncode == 0, last)


def make(folder: Path, torch: str, python: str) -> str:
    """Makes an environment; returns what failed, or nothing."""
    FOLDER.mkdir(exist_ok=True)
    kept = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not OF_TORCH.match(line)]
    constraints = FOLDER / "constraints.txt"
    constraints.write_text("\n".join(kept) + "\n")
    wanted = "torch" if torch == "newest" else f"torch=={torch}"
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--constraint", constraints]
    for command in (
        [python, "-m", "venv", folder],
        [*pip, "--upgrade", wanted],  # alone, since the project would be content with less than the newest
        [*pip, wanted, "--editable", f"{ROOT}[{EXTRAS}]"],
    ):
        if subprocess.run(command, check=False).returncode:
            return f"could not be installed: {' '.join(str(word) for word in command)}"
    (folder / "ready").touch()
    return ""


if __name__ == "__main__":
    sys.exit(main())
