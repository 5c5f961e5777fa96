"""The notebooks run, install what they need, are kept with small outputs, and show a bar without widgets."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from remanent import _terminal
from remanent._terminal import CellBar, in_notebook, silent_console

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NAMES = ("first-steps", "replace-a-gru", "exact-stream")


def cells(name):
    return json.loads((FOLDER / f"{name}.ipynb").read_text())["cells"]


def code(name):
    return ["".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "code"]


def said(outputs):
    return "\n".join("".join(o.get("text") or o.get("data", {}).get("text/plain", "")) for o in outputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_installs_what_it_needs_and_is_kept_as_it_ran(name):
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)
    first, *others = code(name)
    assert first.startswith("try:\n    import remanent\nexcept ImportError:")
    assert '    %pip install --quiet "remanent[train]"' in first
    assert not [line for text in others for line in text.splitlines() if line.startswith(("%", "!"))]
    ran = [cell for cell in cells(name) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in ran] == list(range(1, len(ran) + 1))
    assert not [o for cell in ran for o in cell["outputs"] if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert ran[-1]["outputs"]
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 60_000
    assert "/tmp" not in said([o for cell in ran for o in cell["outputs"]])  # nothing of the machine that ran it


@pytest.mark.parametrize("name", ["exact-stream", pytest.param("replace-a-gru", marks=pytest.mark.exhaustive)])
def test_the_cells_run_one_after_the_other(name):
    names = {"__name__": "notebook"}
    for number, text in enumerate(code(name)):
        plain = text.replace("%pip", "pass  #")  # remanent is here
        exec(compile(plain, f"{name}, cell {number}", "exec"), names)


@pytest.mark.exhaustive
def test_a_kernel_runs_a_notebook_and_shows_the_bar_of_a_training_in_its_cell(monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="needs the extra dev")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra dev")
    pytest.importorskip("ipykernel", reason="needs the extra dev")
    package = str(Path(_terminal.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", package)
    notebook = nbformat.read(FOLDER / "first-steps.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=500, kernel_name="python3").execute()
    (training,) = [cell for cell in notebook.cells if "start_run" in cell.source]
    shown = [output for output in training.outputs if output.output_type == "display_data"]
    assert "300/300" in said(shown)
    assert len(shown) == 1
    assert "ipywidgets" not in said(training.outputs)
    (drawn,) = [cell for cell in notebook.cells if "plt.show" in cell.source]
    assert "image/png" in drawn.outputs[0]["data"]


def test_a_bar_in_a_cell_is_text_that_replaces_itself(monkeypatch):
    from rich.progress import BarColumn, MofNCompleteColumn, Progress

    assert not in_notebook()
    shown = []

    def display(data, *, raw, display_id):
        shown.append(data["text/plain"])
        return SimpleNamespace(update=lambda data, raw: shown.append(data["text/plain"]))

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1)))
    assert in_notebook()
    progress = Progress(BarColumn(8), MofNCompleteColumn(), console=silent_console(), auto_refresh=False)
    bar, cell = progress.add_task("", total=3), CellBar(progress)
    for done in (1, 2, 3):
        progress.update(bar, completed=done)
        cell.show(now=done == 3)
    assert [text.split()[-1] for text in shown] == ["1/3", "3/3"]  # the second came too soon
    assert all("\x1b" not in text for text in shown)
