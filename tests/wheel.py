"""Builds sdist and wheel; runs the README's first example, an export and the demonstration from the wheel alone.

`make wheel-test` calls it. The wheel is installed in an empty environment outside of the project; what it depends on is
read from the environment that runs this file, since to install torch again would take minutes.
"""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEYOND = """
from remanent import ModelConfig, SequenceModel
from remanent.export import export_c

SequenceModel(ModelConfig(3, 2)).save("saved")
module = export_c(SequenceModel.load("saved"), "exported")  # compared with torch where there is a compiler
import remanent
print(remanent.__file__, remanent.__version__)
"""
"""What follows the README's example: a model is saved, loaded and exported."""
OF_WHEEL = ("remanent/py.typed", "remanent/export/c_parts/common.c", "remanent/report/page_parts/latch.js")
OF_SDIST = ("pyproject.toml", "src/remanent/__init__.py", "tests/conftest.py", "docs/index.md", "constraints.txt")
"""Some files without which one of the two is of no use."""


def main() -> int:
    """Builds, installs and runs; a command that fails ends the program with its status."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run([sys.executable, "-m", "build", "--outdir", str(place / "dist"), str(ROOT)], place)
        (wheel,), (sdist,) = (place / "dist").glob("*.whl"), (place / "dist").glob("*.tar.gz")
        check_files(wheel, sdist)
        environment = install(wheel, place / "environment")
        scripts = environment / ("Scripts" if os.name == "nt" else "bin")
        (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[:1]
        (place / "first.py").write_text(block + BEYOND, encoding="utf-8")
        file, version = run([str(scripts / "python"), "first.py"], place).split()
        assert Path(file).is_relative_to(environment), f"the wheel must be imported, got {file}"
        assert f"-{version}-" in wheel.name, f"the version must be that of {wheel.name}, got {version}"
        run([str(scripts / "remanent"), "demo", "--small", "--out", "demo"], place)
        pages = sorted(path.name for path in (place / "demo").glob("*.html"))
        assert pages == ["copy-first.html", "digits.html"], pages
    print(f"remanent {version}: example and demonstration ran from the wheel ({time.monotonic() - began:.0f} s)")
    return 0


def check_files(wheel: Path, sdist: Path) -> None:
    """Fails unless both hold what they must."""
    with zipfile.ZipFile(wheel) as file:
        missing = set(OF_WHEEL) - set(file.namelist())
    with tarfile.open(sdist) as packed:
        top = sdist.name.removesuffix(".tar.gz")
        missing |= {f"{top}/{name}" for name in OF_SDIST} - set(packed.getnames())
    assert not missing, f"sdist and wheel must hold {sorted(missing)}"


def install(wheel: Path, environment: Path) -> Path:
    """An environment that holds a wheel, and finds everything else where this Python does."""
    venv.create(environment, with_pip=False)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    run([*pip, str(wheel)], environment)
    (site,) = environment.rglob("site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return environment


def run(command: list[str], place: Path) -> str:
    """What a command prints in a folder, without this process's path of modules.

    Raises:
        SystemExit: it fails; what it printed is shown.
    """
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=place, env=outside, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
