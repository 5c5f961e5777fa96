"""The house: what an import costs, which way imports run, and that files stay short."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import remanent

ROOT = Path(remanent.__file__).parent
PARTS = {  # part: what it may import beside itself
    "_files": set(),
    "_identity": set(),
    "_machine": set(),
    "_memory": set(),
    "_options": set(),
    "_plugins": set(),
    "_results": {"_files"},
    "_terminal": set(),
    "ops": {"_options"},
    "units": {"_options", "ops"},
    "models": {"_files", "_identity", "_options", "ops", "units"},
    "tasks": {"_identity", "_options"},
    "records": {"_files", "_identity", "_options", "models", "tasks"},
    "training": {
        "_files",
        "_machine",
        "_memory",
        "_options",
        "_plugins",
        "_results",
        "_terminal",
        "ops",
        "units",
        "models",
        "tasks",
        "records",
        "analysis",
        "report",
    },
    "analysis": {"_options", "ops", "units", "models"},
    "report": {"_files", "_results", "tasks", "records"},
    "export": {"_files", "_options", "ops", "units", "models"},
    "bench": {"_files", "_machine", "_memory", "_options", "ops", "units", "models", "tasks", "report", "export"},
}
MODULES = sorted(ROOT.rglob("*.py"))


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_brings_in_nothing_that_is_not_needed():
    heavy = ("pytorch_lightning", "lightning", "matplotlib", "sklearn", "numba", "torchmetrics", "jsonargparse", "rich")
    code = f"import sys, remanent; print([m for m in {heavy} if m in sys.modules])"
    assert run(code).strip() == "[]"


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


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if part not in PARTS:
        return  # the command line and the demonstration may use everything
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.split(".")[0] == "remanent":
                used = name.split(".")[1] if "." in name else "the package itself"
                assert used in PARTS[part] | {part}, f"{path.name} imports {name}"


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
