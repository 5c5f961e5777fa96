"""The pages say what the code does: tables, examples, pictures; results are as measured."""

import dataclasses
import importlib.util
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from remanent import UNITS, ModelConfig
from remanent.analysis import save_automaton
from remanent.cli import main
from remanent.distributed import Launch
from remanent.tasks import METRICS, TASKS, CopyFirst, Parity
from remanent.training import RECIPES, Experiment, TrainingConfig, start_run
from remanent.training.outcome import record_run

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "units.md").read_text()
TASKS_TEXT = (DOCS / "tasks.md").read_text()
EXPORT_TEXT = (DOCS / "export.md").read_text()
SPEED_TEXT = (DOCS / "speed.md").read_text()
SCALING_TEXT = (DOCS / "scaling.md").read_text()
TRAINING_TEXT = (DOCS / "training.md").read_text()
NAMES = (*UNITS, "attention")
REGISTRIES = (UNITS, TASKS, RECIPES, METRICS)


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def draw_units():
    return load("draw_units")


def test_the_figure_of_gradients_shows_what_its_page_says(tmp_path, monkeypatch):
    draw = load("draw_memory")
    monkeypatch.setattr(draw, "PICTURES", tmp_path)
    curves = draw.curves()
    level, cut = curves["BMRU, epsilon 1"][1], curves["BMRU, epsilon 0"]
    torch.testing.assert_close(level, torch.full_like(level, draw.D**0.5))
    left = {int(lag): round(norm.item(), 2) for lag, norm in zip(*cut, strict=True)}
    assert (left[1], left[64], left[512], left[999]) == (5.26, 1.86, 0.19, 0)
    widths = draw.width_curves()
    one, two = ([widths[f"{layers}, width {width}"][1] for width in ("0.2", "5")] for layers in ("1 layer", "2 layers"))
    assert torch.equal(*one)
    assert (two[0] != two[1]).all()
    assert one[0][-1] == pytest.approx(1, abs=0.1)
    assert 23 < two[1][-1] < two[0][-1] < 32
    draw.main()
    assert all((tmp_path / f"gradients{name}.svg").stat().st_size > 10_000 for name in ("", "-width"))


def test_the_machines_of_a_page_are_learned_and_proved_before_they_are_drawn(tmp_path):
    draw = load("draw_automata")
    for name in draw.LEARNERS:
        assert (DOCS / "pictures" / f"{name}.svg").read_text().lstrip().startswith("<?xml")
        assert f"(pictures/{name}.svg)" in (DOCS / "automata.md").read_text()
    learner = draw.Learner(Parity(), num_states=2, num_heads=4, steps=150)
    draw.draw(learner, tmp_path / "parity.dot")
    save_automaton(Parity.automaton, tmp_path / "task.dot")
    assert (tmp_path / "parity.dot").read_text() == (tmp_path / "task.dot").read_text()
    with pytest.raises(ValueError, match=r"must answer right|must have heads"):
        draw.draw(learner._replace(steps=5), tmp_path / "untrained.dot")


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_python_blocks_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    if "onnxruntime" in text:
        pytest.importorskip("onnxscript", reason="needs the extra onnx")
    if "torchrl" in text:
        pytest.importorskip("torchrl", reason="needs the extra rl")
    names = {"__name__": "docs_md", "folder": tmp_path}
    before = [set(registry) for registry in REGISTRIES]
    try:
        for block in re.findall(r"^ *```python\n(.*?)```", text, re.DOTALL | re.MULTILINE):
            exec(compile(textwrap.dedent(block), page.name, "exec"), names)
    finally:
        for registry, known in zip(REGISTRIES, before, strict=True):
            for name in registry.keys() - known:
                del registry[name]
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def test_the_folder_of_own_data_trains_by_the_commands_of_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    section = TASKS_TEXT.split("## Your own data")[1].split("\n## ")[0]
    python, commands = (re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL)[1] for kind in ("python", "console"))
    exec(compile(python, "tasks.md", "exec"), {})
    tiny = ["--quiet", "--training.steps=2", "--training.batch_size=4", "--training.threads=1", "--model.hidden_size=4"]
    for command in commands.splitlines():
        words = shlex.split(command)[1:]
        assert main([*words, *(tiny if words[0] == "train" else [])]) == 0
    assert re.search(r"24 +│ [01]\.\d{4}", capsys.readouterr().out)
    assert "standardise(features, x" in Path("runs/own-data-bmru-0/export/model.c").read_text()
    names = {}
    exec(compile(re.search(r"```py\n(.*?)```", section, re.DOTALL)[1], "tasks.md", "exec"), names)
    assert names["label"] in ("circle", "swipe")


def test_every_task_has_a_row_that_says_what_its_class_does():
    rows = dict(re.findall(r"^\| `([\w-]+)` \|(.*)\|$", TASKS_TEXT, re.MULTILINE))
    assert set(rows) == set(TASKS)
    for name, row in rows.items():
        cells = [cell.strip() for cell in row.split("|")]
        assert len(cells) == 5, name
        assert all(cells), name
        assert cells[2].split(" before")[0] == TASKS[name].length_name
        assert {"mse": "mean squared error", "accuracy": "accuracy", "bits": "bits per character"}.get(
            TASKS[name].metric, cells[3]
        ) == cells[3]
        recipe = {"sequential-image": "digits"}.get(name, name)
        assert recipe in RECIPES
        assert {"sequential-image": "permuted-mnist"}.get(name, name) + "-paper" in RECIPES


def test_every_unit_has_a_row_and_a_picture():
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", TEXT.split("\n## ")[0], re.MULTILINE)
    assert [name for name, _ in rows] == [*(unit.__name__ for unit in UNITS.values()), "Attention"]
    for name, row in rows:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)]
        assert len(cells) == 5, name
        assert all(cells), name
        assert "https://" in cells[-1]
    pictures = re.findall(r"!\[(.+?)\]\(pictures/(\w+)\.svg\)<br>`(\w+)`", TEXT)
    assert [picture for _, picture, _ in pictures] == list(NAMES)
    for _, picture, _ in pictures:
        assert (DOCS / "pictures" / f"{picture}.svg").read_text().lstrip().startswith("<?xml")


def test_the_script_draws_every_picture(draw_units, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["draw_units.py", str(tmp_path)])
    draw_units.main()
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(NAMES)
    first = (tmp_path / "bmru.svg").read_bytes()
    draw_units.main()
    assert (tmp_path / "bmru.svg").read_bytes() == first


def test_responses_are_what_the_captions_say(draw_units):
    y = {name: draw_units.respond(name) for name in NAMES}
    for name, low in (("bmru", -1.0), ("fq_bmru", 0.0)):
        assert torch.equal(y[name][20:180], torch.ones(160))
        assert torch.equal(y[name][180:], torch.full((60,), low))
    assert y["alpha_bmru"][20].item() == pytest.approx(0.45)
    assert torch.equal(y["alpha_bmru"][20:180], y["alpha_bmru"][20].expand(160))
    assert y["alpha_bmru"][181].item() == pytest.approx(-0.25)
    assert torch.equal(y["alpha_bmru"][181:], y["alpha_bmru"][181].expand(59))
    assert (y["cmru"][21], y["cmru"][129], y["cmru"][-1]) == (2, 62, 60)
    counts = torch.tensor([0] * 20 + [1] + [2] * 49 + [(3 + i) % 3 for i in range(60)] + [2] * 50 + [1] + [0] * 59)
    assert torch.equal(y["mru"], (counts == 0).float())
    assert y["alpha_cmru"][129].item() == pytest.approx(62 * 0.45, rel=1e-5)
    for name in ("lru", "min_gru", "min_lstm", "gru", "lstm"):
        assert y[name][181:].abs().max() < 0.7 * y[name].abs().max()
        assert y[name][-1].abs() < 0.25 * y[name].abs().max()
    assert y["brc"][60] > 0.9
    assert y["brc"][-1] < -0.9
    assert y["nbrc"][65].abs() < 0.1
    assert y["nbrc"][170] > 0.9
    assert y["nbrc"][-1] < -0.9
    assert y["attention"][-1].item() == pytest.approx(60 / 240, rel=1e-4)


def test_the_example_of_shared_time_gives_the_gradient_of_one_process(tmp_path, capsys):
    """As torchrun starts it, with two processes."""
    (block,) = re.findall(r"```python\n(.*?)```", SCALING_TEXT, re.DOTALL)
    total = "sum(p.grad.double().abs().sum() for p in model.parameters()).item()"
    said = f"sys.stdout.write(f'{{rank}} of {{size}}: {{y.shape[1]}} {{{total}}}\\n')"  # in one piece: lines stay apart
    (tmp_path / "long.py").write_text(f"{block}import sys\n{said}\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "long.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as two:
        try:
            exec((tmp_path / "long.py").read_text(), {})  # in this process alone
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
            shared, errors = two.communicate(timeout=300)
    assert two.returncode == 0, errors
    one, shared = (re.findall(r"(\d) of \d: (\d+) ([\d.]+)", said) for said in (capsys.readouterr().out, shared))
    ((_, steps, alone),) = one
    assert steps == "1000"
    assert [(rank, steps) for rank, steps, _ in sorted(shared)] == [("0", "500"), ("1", "500")]
    for _, _, total in shared:
        assert float(total) == pytest.approx(float(alone), rel=1e-4)


def test_the_tables_of_the_training_guide_are_what_the_code_says(tmp_path, monkeypatch):
    page = tmp_path / "training.md"
    page.write_text(TRAINING_TEXT)
    monkeypatch.setattr("sys.argv", ["draw_training.py", "--page", str(page)])
    draw = load("draw_training")
    draw.main()
    assert page.read_text() == TRAINING_TEXT, "run `python docs/draw_training.py`"


@pytest.mark.parametrize("cls", [TrainingConfig, ModelConfig, Launch])
def test_the_ranges_of_the_training_guide_are_those_that_are_checked(cls):
    """A value just out of a described range is rejected, and the end of a closed range is taken."""
    lengths = {"curriculum_start": 1, "curriculum_threshold": 0.5}
    needed = {
        TrainingConfig: {"anneal": False, **lengths},
        ModelConfig: {"input_size": 1, "output_size": 1},
        Launch: {},
    }[cls]
    checked = 0
    for name, said in load("draw_training").described_arguments(cls).items():
        for taken, refused in bounds(said, {f.name: f.default for f in dataclasses.fields(cls)}[name]):
            with pytest.raises(ValueError, match=name):
                cls(**{**needed, name: refused})
            if taken is not None:
                cls(**{**needed, name: taken})
            checked += 1
    assert checked >= {TrainingConfig: 12, ModelConfig: 14, Launch: 3}[cls]


def bounds(said, default):
    """The ends of the ranges in a description: (a value at the end that is taken, or None; one that is refused)."""
    number = r"(-?\d+(?:\.\d+)?)"
    step = 1e-3 if isinstance(default, float) else 1
    kind = type(step)
    for low in re.findall(rf"at least {number}", said):
        yield (None if "multiple" in said or "even" in said else kind(low)), kind(low) - step
    for low in re.findall(rf"above {number}", said):
        yield None, kind(low)
    for open_low, low, high, open_high in re.findall(rf"in ([\[(]){number}, {number}([\])])", said):
        yield (None if open_low == "(" else kind(low)), kind(low) if open_low == "(" else kind(low) - step
        yield (None if open_high == ")" else kind(high)), kind(high) if open_high == ")" else kind(high) + step


def test_the_training_guide_lists_what_a_run_folder_holds(tmp_path):
    task, model = CopyFirst(steps=4), ModelConfig(input_size=1, output_size=1, hidden_size=4)
    folder = tmp_path / "run"
    start_run(
        Experiment(task, model, TrainingConfig(steps=2, batch_size=2, checkpoint_every=1, threads=1)),
        folder,
        progress=False,
    )
    record_run(folder)
    text = TRAINING_TEXT.split("## The run folder")[1].split("\n## ")[0]
    listed = {name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(.*?)`", row)}
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    found = {re.sub(r"step-\d+", "step-N", name) for name in found if not name.startswith("tensorboard/")}
    made_later = {"export/", "robustness/", "verified/"}
    assert found | {"tensorboard/", ".lock", "resumed.json", "write_rates.json"} | made_later == listed
    assert (folder / "tensorboard").is_dir()


def test_the_picture_of_the_house_shows_its_rooms_and_only_uses_that_there_are():
    draw = load("draw_house")
    assert draw.PICTURE.read_text() == draw.picture(), "run `python docs/draw_house.py`"
    package = DOCS.parent / "src" / "remanent"
    rooms = {path.stem for path in package.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert set(draw.PARTS) == {name for name in rooms if not name.startswith("_") and name != "py"}
    for used, user in draw.ARROWS:
        files = [package / f"{user}.py", *(package / user).rglob("*.py")]
        text = "\n".join(path.read_text() for path in files if path.exists())
        assert re.search(rf"^ *(from|import) remanent(\.| import ){used}\b", text, re.MULTILINE), (used, user)
        assert draw.PARTS[used].row <= draw.PARTS[user].row


def test_contributing_names_files_that_there_are():
    root = DOCS.parent
    named = re.findall(r"`([\w/]+(?:\.py|\.md|/))`", (root / "CONTRIBUTING.md").read_text())
    package = root / "src" / "remanent"
    assert len(named) > 30
    missing = [name for name in named if not any((place / name).exists() for place in (root, package))]
    assert [name for name in missing if "/" in name.rstrip("/") or not list(package.rglob(name.rstrip("/")))] == []


def test_the_glossary_is_in_order_and_has_the_terms_of_the_other_pages():
    terms = re.findall(r"^\*\*(.+?)\*\*", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    assert terms == sorted(terms, key=str.lower)
    needed = ["annealing", "candidate", "clock", "epsilon", "latch", "hold", "horizon", "threshold", "write", "vaa"]
    assert {*needed, "failing length", "surrogate gradient"} <= {term.lower() for term in terms}


@pytest.mark.skipif(not (DOCS.parent / "results").is_dir(), reason="the results are not here")
def test_the_tables_of_training_steps_are_what_the_results_give(tmp_path, monkeypatch):
    page = tmp_path / "speed.md"
    page.write_text(SPEED_TEXT)
    monkeypatch.setattr("sys.argv", ["draw_speed.py", "--page", str(page)])
    load("draw_speed").main()
    assert page.read_text() == SPEED_TEXT, "run `python docs/draw_speed.py`"


@pytest.mark.skipif(not (DOCS.parent / "results").is_dir(), reason="the results are not here")
def test_the_tables_of_scaling_are_what_the_model_and_the_results_give(tmp_path, monkeypatch):
    page = tmp_path / "scaling.md"
    page.write_text(SCALING_TEXT)
    monkeypatch.setattr("sys.argv", ["draw_scaling.py", "--page", str(page)])
    load("draw_scaling").main()
    assert page.read_text() == SCALING_TEXT, "run `python docs/draw_scaling.py`"
