"""Every Python block of the README runs, and every command in it is one that the parser knows."""

import contextlib
import itertools
import re
import shlex
import shutil
from pathlib import Path

import pytest

from cases import rarely
from remanent.cli import main
from remanent.export.chip import missing_tools
from remanent.training import RECIPES

README = Path(__file__).parents[1] / "README.md"
PAGES = [
    README.parent / "docs" / f"{name}.md" for name in ("index", "training", "memory", "speed", "export", "scaling")
]
ELSEWHERE = ("keyword", "--address")
"""What needs recordings or a cluster; other tests run it, and `test_site.py` parses the command."""


def blocks(text):
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


def commands(text):
    found = [block.replace("\\\n", " ") for language, block in blocks(text) if language == "console"]
    lines = [line for block in found for line in block.splitlines()]
    said = dict.fromkeys(line.removeprefix("$ ").partition("  #")[0].rstrip() for line in lines)
    return [
        shlex.split(line)[1:]
        for line in said
        if line.startswith("remanent ") and not any(word in line for word in ELSEWHERE)
    ]


BLOCKS = blocks(README.read_text())
COMMANDS = commands("\n".join(path.read_text() for path in (README, *PAGES)))


GRID = ["grid", "--task", "copy-first"]
RATES = "training.learning_rate=0.01,0.02"
LONG = (
    "bench scans floor layers threads streaming length --threads 2 --allocator reuse --out bench",
    "bench step --threads 1 --out bench-step",
    "bench model --threads 2 --allocator reuse --out bench-model",
    "train digits --training.compile true --training.precision bf16-mixed",
    "train copy-first --devices 4",
    "train copy-first --devices 4 --strategy fsdp",
    "train copy-first --devices 4 --time-shards 2",
    "train copy-first --devices 4 --time-shards 4",
    "export runs/digits-bmru+lru-1 --out models --name digits",
    "robustness runs/digits-bmru+lru-1 --draws 20 --noise 0.1 0.3 --bits 8 6 4 --out robustness-digits",
    "grid --task copy-first flip-flop --unit bmru lru bmru+lru --seed 0:3 --results mine.jsonl",
)
"""Commands whose sections, shares or parts another command has too; `make test-all` runs them."""
assert set(LONG) <= set(map(" ".join, COMMANDS))


@pytest.fixture(scope="module")
def make_once(tmp_path_factory):
    """Copies into the working folder what a command leaves there; each command is run once."""
    made = {}

    def make(*command):
        if command not in made:
            folder = tmp_path_factory.mktemp("made")
            with contextlib.chdir(folder):
                assert main(list(command)) == 0
            made[command] = folder
        shutil.copytree(made[command], Path(), dirs_exist_ok=True)

    return make


@pytest.mark.parametrize("block", [block for language, block in BLOCKS if language == "python"])
def test_python_blocks_run(block):
    exec(compile(block, "README.md", "exec"), {})


def test_the_first_example_is_ten_lines_or_so_and_asserts_bits():
    first = next(block for language, block in BLOCKS if language == "python")
    code = [line for line in first.splitlines() if line]
    assert len(code) <= 10
    assert "torch.equal" in first


@pytest.mark.parametrize("command", [rarely(c) if " ".join(c) in LONG else c for c in COMMANDS], ids=" ".join)
def test_commands_run(command, tmp_path, monkeypatch, capsys, make_once):
    """Trainings and benchmarks are made tiny; a run that a command needs is made first."""
    monkeypatch.chdir(tmp_path)
    if "--task.pattern" in command:
        pytest.importorskip("automata", reason="needs automata-lib, of the extra `automata`")
    tiny = ["--quiet", "--training.steps=2", "--training.batch_size=4", "--training.threads=1"]
    tiny += ["--model.hidden_size=4", "--model.num_layers=1"]
    runs = [word for word in command if word.startswith("runs/")]
    run = runs[0] if runs else None
    for run in runs:
        recipe, unit, seed = run.removeprefix("runs/").rsplit("-", 2)
        short = ["--task.padding=4"] if recipe == "digits" else []
        make_once("train", recipe, *tiny, *short, f"--model.unit={unit}", f"--training.seed={seed}")
        assert Path(run).is_dir()
    if "--task.path" in command:  # a folder for each class, with a file for each sequence
        for label, i in itertools.product("ab", range(8)):
            file = Path(command[command.index("--task.path") + 1], label, f"{i}.csv")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("x\n1\n2\n")
    if "--data-dir" in command:
        assert main(command) == 2
        assert "`data_dir` or REMANENT_DATA must hold the MNIST file" in capsys.readouterr().err
        return
    if command[:2] == ["evaluate", run]:
        command = [*command[:-2], "10", "20"]
    if command[0] == "train" and "--resume" not in command:
        assert command[1] in RECIPES
        settles = RECIPES[command[1]]().training.settle_steps is not None
        tiny = [*tiny, "--training.settle_steps=1"] if settles else tiny
        command = ["2" if word == "4" else word for word in command] + tiny  # processes, and those that share time
    if command[0] == "grid" or (command[0] == "table" and not runs) or "--results" in command:
        options = [
            "task.steps=3",
            "training.steps=2",
            "training.batch_size=2",
            "model.hidden_size=4",
            "model.num_layers=1",
        ]
        tiny = ["--failing-limit=4", "--seed=0", "--workers=1", "--quiet"]
        results = ["--results", "mine.jsonl"] if any(word.endswith("mine.jsonl") for word in command) else []
        search = ["--set", RATES, "--choose", "validation"] if any("trials/" in word for word in command) else []
        kept = ["2" if word == "8" else word for word in command if not word.startswith("task.steps")]  # settings
        grid = kept if command[0] == "grid" else [*GRID, *results, *search]
        make_once(*grid, *tiny, "--set", *options)
    if command[0] == "grid":
        return
    if command[0] == "chip" and missing_tools():
        pytest.skip(f"needs {missing_tools()}")
    if command[0] == "robustness":
        command = [*command, "--draws=1"]
    if command[0] == "bench":
        command = [*command, "--quick", "--repeats=1"]
    assert main(command) == 0


def test_make_targets_exist():
    makefile = (README.parent / "Makefile").read_text()
    targets = [line.split()[1] for language, b in BLOCKS for line in b.splitlines() if line.startswith("make ")]
    assert targets == ["demo", "test", "docs"]
    for target in targets:
        assert f"\n{target}: " in makefile
    told = re.findall(r"^make ([\w-]+)", (README.parent / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert set(told) == set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE)) - {"clean"}


def test_the_readme_is_short_and_its_links_lead_somewhere():
    text = README.read_text()
    assert len(text.split()) < 1500
    for page in (README, README.parent / "CONTRIBUTING.md"):
        for target, _, anchor in re.findall(r"\]\(((?!https?:)[^)#]+)(#([\w-]+))?\)", page.read_text()):
            assert (README.parent / target).exists(), f"{page.name} links to {target}"
            if anchor:
                assert anchor in anchors((README.parent / target).read_text()), (
                    f"{page.name} links to {target}#{anchor}"
                )


def anchors(text):
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
