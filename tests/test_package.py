"""The house: what an import costs, which way imports run, what a room holds, and that files stay short."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import remanent
from remanent._plugins import EXTRAS

ROOT = Path(remanent.__file__).parent
PARTS = (
    *("ops", "units", "latches", "models", "tasks", "analysis", "records", "report"),
    *("distributed", "training", "sweep", "review", "export", "rl", "hub", "bench", "demo", "cli"),
)
"""The parts of the package in the direction in which data flows: each may import those before it."""
FREE = "base"
"""The part of the modules with a leading underscore at the top: all may import them, and they import one another."""
MOST_FILES = 15
"""The most files that a room may hold, beside its `__init__.py`."""
SHARED_NAMES = {
    "base": "units tasks: what all of a room's classes inherit",
    "blocks": "models export: the blocks of a model, and how each of them is written in C",
    "checks": "ops units: the checks of a room's arguments",
    "chip": "export bench: running a model on the emulated chip, and scoring what it answers there",
    "feedback": "ops ops/PROCESSOR: one scan, its public function and its kernels",
    "identity": ". records: how an option declares whether it makes another run, and the hash of those that do",
    "latch": "ops ops/PROCESSOR: one scan, its public function and its kernels",
    "linear": "ops ops/PROCESSOR: one scan, its public function and its kernels",
    "scans": "ops/PROCESSOR export bench: the scans, as they are launched, exported and timed",
    "shards": "ops models bench: the parts of a sequence that processes share: in the scans, in a model, timed",
    "state": "units models: the state of a unit, and of a model of them",
    "transition": "ops ops/PROCESSOR: one scan, its public function and its kernels",
}
"""File names that several rooms share because they hold the same subject: the rooms, and that subject.

A file of `cli` is named as its command is, and so may share the name of what the command calls; and ops/cpu and
ops/gpu hold the same for two processors.
"""
MODULES = sorted(ROOT.rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def part_of(name):
    part = name.split(".")[1]
    return FREE if part.startswith("_") and part != "__main__" else part


def imports_of(path):
    """The modules of the package that a file imports, wherever in it and for whatever purpose."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name in line {node.lineno}"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in NAMES else node.module for name in inner]
        else:
            continue
        found |= {name for name in names if name in NAMES}
    return found - {name_of(path)}


ARROWS = {name: imports_of(path) for name, path in NAMES.items()}
ROOMS = sorted({path.parent for path in MODULES})


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_brings_in_nothing_that_is_not_needed():
    heavy = (
        *("pytorch_lightning", "lightning", "matplotlib", "sklearn", "numba", "torchmetrics", "jsonargparse", "rich"),
        *("torchrl", "tensordict", "gymnasium"),
    )
    found = f"print([m for m in {heavy} if m in sys.modules])"
    # a launcher of processes, and every command that trains nothing, import `remanent.training` without Lightning
    code = f"import sys, remanent; {found}; import remanent.training, remanent.distributed.launcher; {found}"
    assert run(code).split() == ["[]", "[]"]


def test_the_core_runs_without_the_training_packages():
    code = (
        "import sys\n"
        "for name in ('pytorch_lightning', 'matplotlib', 'sklearn', 'jsonargparse', 'safetensors', 'rich', 'pooch'):\n"
        "    sys.modules[name] = None\n"
        "import torch, remanent, remanent.analysis, remanent.tasks\n"
        "model = remanent.SequenceModel(remanent.ModelConfig(2, 3, unit='bmru+lru'))\n"
        "print(tuple(model(torch.randn(2, 5, 2))[0].shape))"
    )
    assert run(code).strip() == "(2, 3)"


def test_what_an_extra_installs_is_named_where_it_is_missing():
    from packaging.requirements import Requirement

    of_packages = {"scikit-learn": "sklearn", "pillow": "PIL", "automata-lib": "automata"}
    project = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text())["project"]
    for extra, modules in EXTRAS.items():
        names = [Requirement(each).name for each in project["optional-dependencies"][extra]]
        assert {of_packages.get(name, name.replace("-", "_")) for name in names} <= set(modules), extra


def test_training_and_the_demonstration_need_nothing_beyond_the_extra_train():
    code = (
        "import sys\n"
        "others = 'ray triton onnx onnxscript onnxruntime automata hypothesis mkdocs torchrl tensordict gymnasium'\n"
        "for name in others.split():\n"
        "    sys.modules[name] = None\n"
        "import remanent.demo, remanent.training.run\n"
        "from remanent.sweep.workers import Processes, has_ray, make_workers\n"
        "print(has_ray(), type(make_workers(None, 1, 0, None)).__name__)"
    )
    assert run(code).strip() == "False Processes"


@pytest.mark.parametrize("name", ARROWS)
def test_imports_run_one_way(name):
    if name in ("remanent", "remanent.__main__"):
        return  # the door to the package, and the door to its command line
    assert "remanent" not in ARROWS[name], f"{name} imports the package itself"
    part = part_of(name)
    assert part in (*PARTS, FREE), f"{name} is of no part: add it to PARTS where its data flow"
    allowed = {FREE, part} | (set() if part == FREE else set(PARTS[: PARTS.index(part)]))
    assert {used for used in ARROWS[name] if part_of(used) not in allowed} == set()


def test_no_files_import_each_other_in_a_circle():
    try:
        TopologicalSorter(ARROWS).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("room", ROOMS, ids=lambda p: str(p.relative_to(ROOT.parent)))
def test_a_room_is_not_crowded(room):
    files = [path.name for path in room.glob("*.py") if path.name != "__init__.py"]
    assert len(files) <= MOST_FILES, files


def test_a_file_name_means_one_thing():
    rooms = defaultdict(set)
    for path in MODULES:
        if path.stem not in ("__init__", "__main__") and path.parent.name != "cli":
            room = str(path.parent.relative_to(ROOT))
            rooms[path.stem.removeprefix("_")].add(re.sub("^ops/(cpu|gpu)$", "ops/PROCESSOR", room))
            assert not path.stem.startswith("_") or not path.with_name(path.name[1:]).exists(), path
    shared = {stem: found for stem, found in rooms.items() if len(found) > 1}
    allowed = {stem: set(text.split(":")[0].split()) for stem, text in SHARED_NAMES.items()}
    assert {stem: found for stem, found in shared.items() if not found <= allowed.get(stem, set())} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_short_and_say_what_they_are(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") < 300
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            doc = ast.get_docstring(node, clean=False) or ""
            length = node.end_lineno - node.lineno - doc.count("\n")
            kernel = any("triton" in ast.unparse(d) for d in node.decorator_list)  # half of it arguments and places
            assert length < (80 if kernel else 60), f"{node.name} has {length} lines"
            assert node.args.kwarg is None, f"{node.name} takes any keyword"
