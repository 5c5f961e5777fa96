"""The command line: what it prints, what it writes, and one clear error for what is wrong."""

import csv
import dataclasses
import io
import json
import math
import shutil
import socket
import subprocess
import sys

import pytest
import yaml

from remanent.cli import main
from remanent.sweep.combinations import combinations, read_choices
from remanent.training import RECIPES, evaluate, load_run
from remanent.units import UNITS
from result_records import record, write

TINY = [
    "--quiet",
    "--task.steps=12",
    "--model.hidden_size=8",
    "--training.steps=6",
    "--training.batch_size=4",
    "--training.checkpoint_every=3",
    "--training.threads=1",
]


@pytest.mark.parametrize("unit", [*UNITS, "attention", "lru,bmru+gru"])
def test_every_unit_trains_and_goes_further(tmp_path, unit, capsys):
    folder = tmp_path / "run"
    sizes = ["--model.num_heads=2", "--model.num_layers=2", f"--model.unit={unit}"]
    assert main(["train", "copy-first", "--out", str(folder), *TINY, *sizes]) == 0
    assert main(["evaluate", str(folder), "--length", "12", "60", "--examples", "3"]) == 0
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    epsilons = [line["epsilon"] for line in lines if "epsilon" in line]
    annealed = {"bmru", "alpha_bmru", "mru"} & set(unit.replace(",", "+").split("+"))
    assert bool(epsilons) == bool(annealed)  # others have none that falls
    assert all(math.isfinite(line["loss"]) for line in lines if "loss" in line)


def test_train_then_evaluate(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "copy-first", "--out", str(folder), *TINY, "--model.unit=bmru+lru"]) == 0
    assert "is finished" in capsys.readouterr().out
    experiment, _ = load_run(folder)
    assert experiment.model.unit == "bmru+lru"
    assert (experiment.task.steps, experiment.training.steps) == (12, 6)
    lengths = ["--length", "12", "2500", "--examples", "3"]
    assert main(["evaluate", str(folder), *lengths, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["length"] for line in lines] == [12, 2500]
    assert all(line["mse"] > 0 and line["examples"] == 3 for line in lines)
    assert main(["evaluate", str(folder), *lengths]) == 0
    assert f"{lines[1]['mse']:.4f}" in capsys.readouterr().out


def test_a_model_follows_its_task_and_an_lru_its_company(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(chr(97 + i * i % 11) for i in range(3000)))
    arguments = ["train", "characters", "--out", str(tmp_path / "text"), *TINY, f"--task.path={text}"]
    assert main([*arguments, "--model.unit=bmru+lru"]) == 0
    experiment, _ = load_run(tmp_path / "text")
    assert experiment.model.input_size == experiment.task.input_size == len(set(text.read_text())) + 1
    assert (experiment.model.r_min, experiment.model.r_max) == (0.5, 0.95)
    assert main(["train", "copy-first", "--out", str(tmp_path / "lru"), *TINY, "--model.unit=lru"]) == 0
    alone, _ = load_run(tmp_path / "lru")
    assert (alone.model.r_min, alone.model.r_max) == (0.9, 0.999)


def test_evaluate_searches_the_failing_length_of_words(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "parity", "--out", str(folder), *TINY]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--examples", "3", "--failing-limit", "8", "--json"]) == 0
    score, failing = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert set(score) == {"run", "split", "examples", "length", "sequence_accuracy"}
    assert failing == {"run": str(folder), "failing_length": failing["failing_length"], "limit": 8}
    assert 0 <= failing["failing_length"] <= 8
    assert main(["evaluate", str(folder), "--examples", "3", "--failing-limit", "8"]) == 0
    assert f"Right at every step up to {failing['failing_length']} steps." in capsys.readouterr().out


UNIT_OF_MY_OWN = """
from dataclasses import dataclass

from remanent.ops import row_linear
from remanent.units import UNITS, LinearRecurrence, RecurrentUnit, StateIsOutput


@dataclass(eq=False)
class LeakyRecurrence(LinearRecurrence, StateIsOutput):
    def shapes(self, M, D, bias):
        return {"weight_ih": (D, M), "rate": (D,)}

    def initialise(self, p):
        p["weight_ih"].normal_(0, 0.1)
        p["rate"].fill_(0.9)

    def gates(self, p, x):
        return p["rate"], row_linear(x, p["weight_ih"])


class Leaky(RecurrentUnit):
    def __init__(self, input_size, hidden_size, *, batch_first=False):
        super().__init__(LeakyRecurrence(), input_size, hidden_size, batch_first=batch_first)


UNITS["leaky"] = Leaky
"""


def test_a_unit_of_ones_own_trains_and_has_a_row_in_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "units_of_my_own.py").write_text(UNIT_OF_MY_OWN)
    tiny = [word.removeprefix("--") for word in TINY[1:6]]
    grid = ["grid", "--task", "copy-first", "--unit", "bmru", "leaky+bmru", "--workers", "1", "--quiet", "--set", *tiny]
    assert main(grid) == 2
    error = capsys.readouterr().err
    assert "`unit` must be made of bmru, alpha_bmru, cmru" in error
    assert "got 'leaky+bmru'; a unit of your own needs `remanent --import MODULE ...`" in error
    try:
        assert main(["--import", "units_of_my_own", *grid]) == 0
        assert main(["table"]) == 0
        assert "| leaky+bmru |" in capsys.readouterr().out.replace(" (", " |")
        assert main(["--import", "units_of_my_own", "list"]) == 0
        assert "  leaky\n" in capsys.readouterr().out
        imports = ["--import", "units_of_my_own"]
        train = [*imports, "train", "copy-first", "--model.unit=leaky", "--out=mine", *TINY]
        assert main(train) == 0
        assert (
            "mine is finished; score it with `remanent --import units_of_my_own evaluate mine`."
            in capsys.readouterr().out
        )
        assert main(train) == 2
        resume = "resume it with `remanent --import units_of_my_own train --resume mine`, or choose another folder"
        assert resume in capsys.readouterr().err
        (tmp_path / "mine" / "model.json").unlink()
        assert main([*imports, "evaluate", "mine"]) == 2
        assert "resume it with `remanent --import units_of_my_own train --resume mine`\n" in capsys.readouterr().err
    finally:
        UNITS.pop("leaky", None)
        sys.modules.pop("units_of_my_own", None)


def test_train_names_its_folder_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "copy-first", *TINY, "--training.seed=3"]) == 0
    assert (tmp_path / "runs" / "copy-first-bmru-3" / "model.safetensors").exists()


def test_a_yaml_file_sets_fields_and_flags_come_after_it(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"model": {"hidden_size": 16, "num_layers": 1}, "training": {"seed": 5}}))
    folder = tmp_path / "run"
    arguments = ["train", "copy-first", "--config", str(path), "--out", str(folder), *TINY]
    assert main(arguments) == 0
    experiment, _ = load_run(folder)
    assert (experiment.model.hidden_size, experiment.model.num_layers, experiment.training.seed) == (8, 1, 5)


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("model:\n  # hidden_size: 4\ntask:\n", ["--training.steps=010", "--training.learning_rate", "1e-3"]),
        ("# training:\n", ["--training.steps=10", "--training.learning_rate=.001"]),
        ("training:\n  steps: 010\n  learning_rate: 1e-3", []),
    ],
)
def test_numbers_are_what_they_look_like_and_empty_tables_set_nothing(tmp_path, monkeypatch, text, flags):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    begun = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # which may allow fewer threads than the recipe takes
    monkeypatch.setattr("remanent.training.start_run", lambda experiment, *others, **options: begun.append(experiment))
    monkeypatch.setattr("remanent.training.record_run", lambda folder, **options: None)
    assert main(["train", "copy-first", "--config", str(path), *flags]) == 0
    plain = RECIPES["copy-first"]()
    training = dataclasses.replace(plain.training, steps=10, learning_rate=1e-3)
    assert begun == [dataclasses.replace(plain, training=training)]
    assert read_choices(["training.steps=010"]) == {"training.steps": ["010"]}
    (run,) = combinations(["copy-first"], ["bmru"], [0], {"training.steps": ["010"]})
    assert run.overrides == {"training.steps": 10}


def test_a_run_whose_folder_is_named_as_a_recipe_is_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "copy-first", "--out", "digits", *TINY]) == 0
    assert main(["--import=json", "train", "--resume=digits", "--quiet"]) == 0
    assert "digits was finished already" in capsys.readouterr().out


def test_resume(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "copy-first", "--out", str(folder), *TINY]) == 0
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.json").unlink()
    (folder / "model.safetensors").unlink()
    assert main(["train", "--resume", str(folder), "--quiet"]) == 0
    assert (folder / "model.safetensors").read_bytes() == weights
    capsys.readouterr()
    assert main(["train", "--resume", str(folder), "--quiet"]) == 0
    words = f"was finished already, and nothing was trained; score it with `remanent evaluate {folder}`."
    assert capsys.readouterr().out == f"{folder} {words}\n"


def test_a_folder_may_be_called_what_others_read_as_commands(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "a::b [red] $x$")
    short = ["--examples", "2"]
    tiny = ["--draws", "1", "--noise", "0.1", "--input-noise", "--bits", "--out", "r::[red]"]
    for words in (
        ["evaluate", "RUN", *short],
        ["robustness", "RUN", *short, *tiny],
        ["export", "RUN", "--format", "c", "--out", "c::[red]"],
        ["train", "--resume", "RUN"],
        ["table", "RUN"],
    ):
        assert main(["a::b [red] $x$" if word == "RUN" else word for word in words]) == 0, capsys.readouterr().err
    shown = capsys.readouterr().out
    assert "r::[red] holds robustness.json" in shown
    assert "c::[red] holds" in shown
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a::b [red] $x$", "r::[red]", "c::[red]"}


def test_list(capsys):
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["units"] == [*UNITS, "attention"]
    assert {"copy-first", "sequential-image"} <= set(listed["tasks"])
    assert {"copy-first", "digits", "mnist"} <= set(listed["recipes"])
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for kind in listed.values() for name in kind)
    assert "$" not in shown  # no formula in a terminal


def test_table_prints_or_writes_what_the_results_hold(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    write(tmp_path / "results" / "memory.jsonl", [{"mse": 0.1}])
    write(tmp_path / "results" / "grid.jsonl", [record(), record("digits", metric="accuracy")], tail='{"id')
    assert main(["table"]) == 0
    shown = capsys.readouterr()
    assert "## copy-first" in shown.out
    assert "## digits" in shown.out
    assert shown.err == "remanent: results/grid.jsonl, line 3 was cut short and is left out\n"
    arguments = ["table", "results/grid.jsonl", "--task", "copy-first", "--format", "csv", "--out", "table.csv"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == ""
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [(row["task"], float(row["mean"])) for row in rows] == [("copy-first", 0.5), ("copy-first", 0.6)]
    assert main(["table", "--format", "latex", "--task", "digits"]) == 0
    assert capsys.readouterr().out.startswith("% digits")
    validated = write(tmp_path / "new.jsonl", [record(validation=0.123)])
    assert main(["table", str(validated), "--split", "validation"]) == 0
    assert "| bmru | 0.1230 |" in capsys.readouterr().out


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_an_encoding_without_a_sign_gets_another(tmp_path, monkeypatch, errors):
    path = write(tmp_path / "grid.jsonl", [record(), record(seed=1), record(unit="\N{GREEK SMALL LETTER MU}\udcff")])
    out = io.TextIOWrapper(io.BytesIO(), "ascii", errors=errors)
    monkeypatch.setattr("sys.stdout", out)
    assert main(["table", str(path)]) == 0
    assert out.errors == errors
    out.flush()
    shown = out.buffer.getvalue()
    assert b"0.5000 +/- 0.0000" in shown
    assert b"| ?\xff |" in shown


def test_table_imports_no_training(tmp_path):
    path = write(tmp_path / "grid.jsonl", [record()])
    code = (
        "import sys; from remanent.cli import main\n"
        f"assert main(['table', {str(path)!r}]) == 0\n"
        "heavy = ('pytorch_lightning', 'torchmetrics', 'matplotlib', 'numba', 'sklearn', 'rich')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("\n[]\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--import"], "`--import` must be given a module's name, got none"),
        (["--import", "nowhere", "list"], "`--import` must name a module, installed or in this folder, got 'nowhere'"),
        (["train", "nope"], "`RECIPE` must be one of copy-first, copy-first-paper,"),
        (["train"], "`train` must be given a RECIPE or --resume RUN"),
        (["train", "--quiet", "copy-first"], "`RECIPE` must be one of copy-first, copy-first-paper,"),
        (["train", "--resume", "taken", "copy-first"], "`RECIPE` must not be given with --resume"),
        (["train", "copy-first", "--resume", "taken"], "`RECIPE` must not be given with --resume"),
        (["train", "--resume", "nowhere", "--out", "x"], "`--out` must not be given with --resume, got x"),
        (["train", "copy-first", "--config", "absent.yaml"], "absent.yaml"),
        (["evaluate", "nowhere", "--length", "many"], "many"),
        (["train", "--resume", "nowhere"], "the run's folder must exist, got nowhere"),
        (["evaluate", "nowhere"], "the run's folder must exist, got nowhere"),
        (["train", "nope"], "got 'nope'; a recipe of your own needs `remanent --import MODULE ...`"),
        (["train", "copy-first", "--training.step", "20"], "--training.step"),
        (["evaluate", "saved"], "`SequenceModel.load`"),
        (["train", "--resume", "saved"], "config.json, got saved, which holds a saved model; read it in Python with"),
        (
            ["table", "--task", "copy-first", "grid.jsonl"],
            "`--task` must name tasks, got the path grid.jsonl; put files",
        ),
        (["table", "--task", "digits", "./taken"], "`--task` must name tasks, got the path ./taken; put files before"),
        (["train", "copy-first", "--model.unit", "rnn"], "`unit` must be made of bmru, alpha_bmru, cmru"),
        (["train", "copy-first", "--training.steps", "0"], "`steps` must be at least 1, got 0"),
        (["train", "copy-first", "--data-dir", "x"], "`--data-dir` must not be given for the task copy-first"),
        (["train", "copy-first", "--out", "file/run"], "file"),
        (["train", "copy-first", "--out", "taken"], "the run's folder must not exist yet, got taken"),
        (["train", "mnist", "--data-dir", "taken"], "`data_dir` or REMANENT_DATA must hold the MNIST file"),
        (["train", "copy-first", "--model.depth", "2"], "--model.depth"),
        (["train", "copy-first", "--config", "bad.yaml"], "depth"),
        (["train", "copy-first", "--config", "sixty.yaml"], "sixty.yaml must hold plain numbers, got '1:40'"),
        (["train", "copy-first", "--training.learning_rate=1:4.5"], "must be a plain number, got '1:4.5'"),
        (["evaluate", "nowhere", "--length", "12", "1:40"], "`--length` must be a plain number, got '1:40'"),
        (["train", "copy-first", "--training.threads", "100000"], "`threads` must be in [1, 1024], got 100000"),
        (["train", "copy-first", "--devices", "100000"], "`devices` must be in [1, 1024], got 100000"),
        (["bench", "scans", "--threads", "100000"], "`threads` must be in [1, 1024], got 100000"),
        (["train", "--resume=taken"], "`config.json` must be a file in taken, got none"),
        (["train", "--resume", "digits"], "the run's folder must exist, got digits"),
        (["train", "copy-first", "--resume=taken"], "`RECIPE` must not be given with --resume"),
        (["--import=", "list"], "`--import` must be given a module's name, got none"),
        (["--import=nowhere", "list"], "`--import` must name a module, installed or in this folder, got 'nowhere'"),
        (["--import", "wrong_syntax", "list"], "whose code runs to its end, got 'wrong_syntax' (SyntaxError: "),
        (["--import", "which_exits", "list"], "whose code runs to its end, got 'which_exits' (SystemExit: 0)"),
        (["train", "copy-first", "--config", "twice.yaml"], "twice.yaml must hold YAML, got the key 'training' twice"),
        (["train", "copy-first", "--config", "deep.yaml"], "deep.yaml must hold YAML, got nesting deeper than 16"),
        (["train", "copy-first", "--config", "laughs.yaml"], "laughs.yaml must hold YAML, got an anchor in line 1"),
        (["train", "copy-first", "--task.steps", "1:40"], "`--task.steps` must be a plain number, got '1:40'"),
        (["train", "copy-first", "--task.steps=+010"], "`--task.steps` must be a plain number, got '+010'"),
        (["train", "copy-first", "--training.anneal", "no"], "`--training.anneal` must be true or false, got 'no'"),
        (["train", "copy-first", "--task.steps", "[" * 100_000], "an argument must have at most 8192 characters, got"),
        (
            ["grid", "--task", "copy-first", "--set", "task.steps=1:40"],
            "`--set` must give task.steps values, or a range with `--sample`, got '1:40'",
        ),
        (["grid"], "`--task` must name at least one recipe (`remanent list` shows them), got none"),
        (["grid", "--task", "nope"], "`--task` must name a recipe (`remanent list` shows them), got 'nope'"),
        (["grid", "--task", "copyfirst"], "got 'copyfirst'; did you mean copy-first"),
        (["grid", "--task", "sequential-image"], "did you mean digits or digits-pixels or permuted-digits"),
        (
            ["grid", "--task", "copy-first", "--unit", "rnn"],
            "copy-first rnn seed 0: `unit` must be made of bmru, alpha_bmru, cmru",
        ),
        (["grid", "--task", "copy-first", "--seed", "3:3"], "`--seed` must name at least one seed, got '3:3'"),
        (["grid", "--task", "copy-first", "--seed", "0:1000000000000"], "`--seed` must name at most 100,000 seeds"),
        (
            ["grid", "--task", "copy-first", "--seed", "0:99999", "--unit", "lru", "gru"],
            "at most 100,000 runs, got",
        ),
        (["grid", "--task", "copy-first", "--threads", "1025"], "`threads` must be in [1, 1024], got 1025"),
        (["grid", "--task", "copy-first", "--seed=-1"], "copy-first bmru seed -1: `seed` must be at least 0, got -1"),
        (["grid", "--task", "copy-first", "--set", "steps=1"], "`--set` must be KEY=VALUE,VALUE with a KEY task.X"),
        (["grid", "--task", "copy-first", "--set", "task.steps="], "`--set` must give task.steps at least one value"),
        (["grid", "--task", "copy-first", "--set", "task.padding=1"], "has the unknown key 'padding'"),
        (["grid", "--task", "copy-first", "--workers", "0"], "`workers` must be at least 1, got 0"),
        (["grid", "--task", "copy-first", "--retries=-1"], "`retries` must be at least 0, got -1"),
        (["grid", "--task", "copy-first", "--failing-limit", "0"], "`failing_limit` must be at least 1, got 0"),
        (
            ["grid", "--task", "copy-first", "--data-dir", "x"],
            "`--data-dir` must not be given for tasks that read none",
        ),
        (["grid", "--task", "mnist", "--data-dir", "taken"], "`data_dir` or REMANENT_DATA must hold the MNIST file"),
        (
            ["grid", "--task", "copy-first", "--results", "broken.jsonl"],
            "broken.jsonl, line 1 must hold a JSON object",
        ),
        (["robustness", "nowhere"], "the run's folder must exist, got nowhere"),
        (["robustness", "taken"], "`config.json` must be a file in taken, got none"),
        (["robustness", "nowhere", "--draws", "many"], "many"),
        (["verify", "nowhere"], "the run's folder must exist, got nowhere"),
        (["verify", "taken"], "`config.json` must be a file in taken, got none"),
        (["export", "nowhere"], "the run's folder must exist, got nowhere"),
        (["export", "taken"], "`config.json` must be a file in taken, got none"),
        (["export", "taken", "--format", "tflite"], "`--format` must be one of onnx, c, arduino, got 'tflite'"),
        (
            ["export", "taken", "--weights", "int8"],
            "`--weights` must be float32 unless --format is c or arduino",
        ),
        (["chip", "nowhere"], "the run's folder must exist, got nowhere"),
        (["demo", "--out", "taken"], "`--out` must not exist yet, got taken"),
        (["table"], "`FILE` must be given where results/ holds no records of `remanent grid`"),
        (["table", "nowhere.jsonl"], "`FILE` must be a file or the folder of a run, got nowhere.jsonl"),
        (["table", "file"], "file, line 1 must hold a JSON object, got 'mine'"),
        (["table", "other.jsonl"], "other.jsonl, line 1 must be a record of `remanent grid` with the key 'id'"),
        (["table", "grid.jsonl", "--task", "nope"], "`--task` must be one of copy-first, got 'nope'"),
        (["table", "grid.jsonl", "--format", "html"], "`--format` must be one of md, csv, latex, got 'html'"),
        (["table", "grid.jsonl", "--out", "taken"], "`--out` must not exist yet, got taken"),
        (["table", "grid.jsonl", "--out", "absent/t.md"], "`--out` must lie in a folder that exists, got absent/t.md"),
    ],
)
def test_what_is_wrong_gets_one_error_and_writes_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "taken").mkdir()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "model.json").write_text("{}")
    (tmp_path / "broken.jsonl").write_text("broken\n{}\n")
    (tmp_path / "bad.yaml").write_text("model: {depth: 2}")
    (tmp_path / "sixty.yaml").write_text("training: {seed: 1:40}")
    (tmp_path / "wrong_syntax.py").write_text("def (:")
    (tmp_path / "which_exits.py").write_text("import sys; sys.exit(0)")
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    (tmp_path / "twice.yaml").write_text("training: {steps: 1}\ntraining: {seed: 3}\n")
    (tmp_path / "deep.yaml").write_text(f"task: {'[' * 20_000}")
    (tmp_path / "laughs.yaml").write_text("a: &a [x, x]\ntask: [*a, *a]\n")
    write(tmp_path / "grid.jsonl", [record()])
    write(tmp_path / "other.jsonl", [{"mse": 0.1}])
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("remanent: error: ")
    assert message in error
    assert "Traceback" not in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", "copy-first", "--out", str(folder), *TINY]) == 0
    return folder


def test_robustness_prints_a_table_and_writes_numbers_and_figure(finished, tmp_path, capsys):
    run = shutil.copytree(finished, tmp_path / "run")
    options = ["--draws", "2", "--noise", "0", "0.3", "--input-noise", "0.5", "--bits", "3", "--examples", "5"]
    assert main(["robustness", str(run), *options, "--length", "20", "--seed", "4"]) == 0
    shown = capsys.readouterr().out
    assert sorted(path.name for path in (run / "robustness").iterdir()) == ["robustness.json", "robustness.png"]
    assert (run / "robustness" / "robustness.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((run / "robustness" / "robustness.json").read_text())
    experiment, model = load_run(run)
    assert record["config"] == experiment.to_dict()
    assert (record["seed"], record["draws"], record["examples"], record["length"]) == (4, 2, 5, 20)
    assert {"torch", "remanent"} <= set(record["packages"])
    assert record["score"] == evaluate(model, experiment.task, length=20, examples=5)
    assert record["parameter_noise"][0]["scores"] == [record["score"]] * 2
    assert all(name in shown for name in ("as trained", "noise of 30 %", "0.5 deviations", "weights of 3 bits"))
    assert f"{record['parameter_noise'][1]['mean']:.4f} ±" in shown
    assert main(["robustness", str(run), *options, "--length", "20", "--seed", "4"]) == 2
    assert f"`--out` must not exist yet, got {run / 'robustness'}" in capsys.readouterr().err
    arguments = [*options, "--length", "20", "--seed", "4", "--out", str(tmp_path / "again"), "--json"]
    assert main(["robustness", str(run), *arguments]) == 0
    assert json.loads(capsys.readouterr().out) == record
    assert json.loads((tmp_path / "again" / "robustness.json").read_text()) == record


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--noise", "-0.1"], "`noise` must be in [0, inf), got -0.1"),
        (["--input-noise", "0.1", "-1"], "`input_noise` must be in [0, inf), got -1"),
        (["--draws", "0"], "`draws` must be at least 1, got 0"),
        (["--bits", "9"], "`bits` must be at most 8, got 9"),
        (["--bits", "4", "1"], "`bits` must be at least 2, got 1"),
        (["--seed=-1"], "`seed` must be at least 0, got -1"),
        (["--examples", "0"], "`examples` must be at least 1, got 0"),
        (["--examples", "513"], "`examples` must be at most the 512 of the test split, got 513"),
        (["--length", "0"], "`length` must be at least 1, got 0"),
        (["--split", "train"], "`split` must be one of validation, test, got 'train'"),
        (["--noise", "--input-noise", "--bits"], "must name at least one size, got none"),
        (["--data-dir", "x"], "`--data-dir` must not be given for the task copy-first"),
        (["--out", "taken"], "`--out` must not exist yet, got taken"),
        (["--out", "absent/new"], "`--out` must lie in a folder that exists, got absent/new"),
        (["--out", "file/new"], "`--out` must lie in a folder that exists, got file/new"),
    ],
)
def test_robustness_refuses_before_it_measures(finished, options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*")), sorted(finished.rglob("*"))
    monkeypatch.setattr("remanent.models.SequenceModel.forward", None)  # a score would end in another error
    assert main(["robustness", str(finished), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("remanent: error: ")
    assert message in error
    assert (sorted(tmp_path.rglob("*")), sorted(finished.rglob("*"))) == before


def test_robustness_of_an_unfinished_run_or_one_cut_off_leaves_nothing(finished, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(finished, tmp_path / "run")
    before = sorted(run.rglob("*"))

    def cut_off(model, x, state=None, *, reset=None):
        raise KeyboardInterrupt

    monkeypatch.setattr("remanent.models.SequenceModel.forward", cut_off)
    assert main(["robustness", str(run)]) == 130
    assert sorted(run.rglob("*")) == before
    (run / "model.json").unlink()
    assert main(["robustness", str(run)]) == 2
    assert "the run must be finished, got" in capsys.readouterr().err


def test_an_unfinished_run_and_a_file_that_is_there_are_not_exported(tmp_path, capsys):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    folder = tmp_path / "run"
    main(["train", "copy-first", "--out", str(folder), *TINY])
    (tmp_path / "model.onnx").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(["export", str(folder), "--out", str(tmp_path)]) == 2
    assert "`model.onnx` must not exist yet, got" in capsys.readouterr().err
    (folder / "model.json").rename(tmp_path / "model.json")
    assert main(["export", str(folder)]) == 2
    assert "the run must be finished, got" in capsys.readouterr().err
    (tmp_path / "model.json").rename(folder / "model.json")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_corrupt_run_is_refused(tmp_path, capsys):
    folder = tmp_path / "run"
    main(["train", "copy-first", "--out", str(folder), *TINY])
    (folder / "model.safetensors").write_bytes(b"broken")
    assert main(["evaluate", str(folder)]) == 2
    assert "must hold safetensors weights, got a corrupt file" in capsys.readouterr().err
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"extra": 1}))
    assert main(["evaluate", str(folder)]) == 2
    assert "has the unknown key 'extra'" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(socket, "SOCK_SEQPACKET"), reason="needs sockets that keep writes apart")
def test_a_line_of_one_process_is_not_cut_by_another():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = "from remanent._terminal import write_line; write_line('x' * 150)"
    subprocess.run([sys.executable, "-c", code], stderr=theirs.fileno(), check=True)
    theirs.close()
    assert ours.recv(4096) == b"x" * 150 + b"\n"
    ours.close()
