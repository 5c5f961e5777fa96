"""The example of a plain loop runs with every help for a latch, and its tables say what the records say."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HELP = ["--write-rates", "--initial-state", "low", "--taps", "4", "--gate-norm", "batch", "--anneal"]


@pytest.fixture
def load(monkeypatch):
    """A function that loads a script of the example, which finds the others beside it."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "examples" / "drop_in"), *sys.path])
    monkeypatch.delitem(sys.modules, "train", raising=False)

    def load(name):
        spec = importlib.util.spec_from_file_location(f"drop_in_{name}", ROOT / "examples" / "drop_in" / f"{name}.py")
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        return script

    yield load
    sys.modules.pop("train", None)


@pytest.mark.parametrize("options", [["--unit", "gru"], ["--unit", "bmru", *HELP]], ids=["gru", "bmru"])
def test_a_classifier_is_trained_and_noted(options, tmp_path, load, capsys):
    out = tmp_path / "drop_in.jsonl"
    given = ["--task", "digit-rows", "--hidden-size", "16", "--steps", "60", "--rate", "1e-2", "--out", str(out)]
    load("train").main([*given, *options])
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert line == json.loads(capsys.readouterr().out)
    assert (line["unit"], line["steps"], line["write_rates"]) == (options[1], 60, "--write-rates" in options)
    assert line["width"] == 16
    assert line["test"] > 0.4
    assert line["versions"]["packages"]["torch"]


def test_every_row_has_at_most_the_parameters_of_the_first(load):
    train, table = load("train"), load("table")
    task = train.TASKS["sequential-image"](dataset="digits", reading="row", padding=0)
    sizes = []
    for row in table.UNITS:
        options = train.arguments().parse_args(["--task", "digit-rows", *row.options.split()])
        sizes.append(train.parameters(train.make(options, task)))
    assert max(sizes[2:]) <= sizes[0] < 1.2 * min(sizes)


def test_a_table_is_a_sweep_of_rates_and_then_seeds_at_the_best(load, tmp_path, monkeypatch):
    table, ran = load("table"), []
    scores = {"0.002": 0.5, "0.005": 0.75, "0.01": 0.25}

    def run(command, **_):
        options = load("train").arguments().parse_args(command[2:])
        ran.append((options.unit, options.rate, options.seed))
        found = {name: value for name, value in vars(options).items() if name != "out"}
        found |= {"width": 8, "parameters": 1234, "validation": scores[str(options.rate)], "test": options.seed / 100}
        with options.out.open("a") as file:
            file.write(json.dumps(found) + "\n")

    monkeypatch.setattr(table.subprocess, "run", run)
    monkeypatch.setitem(table.TABLES, "units", table.UNITS[:1])
    out = tmp_path / "found.jsonl"
    table.make("digit-rows", "units", out, 1)
    assert ran == [("gru", rate, 0) for rate in table.RATES] + [("gru", 0.005, seed) for seed in (1, 2, 3, 4)]
    table.make("digit-rows", "units", out, 1)
    assert len(ran) == 7
    row = "| torch.nn.GRU | 1,234 | 8 | 0.005 | 2.0 ± 1.6 | 5 |"
    assert table.markdown("digit-rows", "units", table.read(out)).splitlines()[-1] == row


def test_the_page_has_the_tables_of_the_records(load, tmp_path):
    table, page = load("table"), tmp_path / "learning.md"
    page.write_text((ROOT / "docs" / "learning.md").read_text())
    table.write_page(page, table.read(ROOT / "results" / "drop_in.jsonl"))
    assert page.read_text() == (ROOT / "docs" / "learning.md").read_text()
