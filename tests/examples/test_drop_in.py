"""The example of a plain loop runs with every help for a latch, and notes what it was given."""

import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "examples" / "drop_in" / "train.py"
HELP = ["--write-rates", "--initial-state", "low", "--taps", "4", "--gate-norm", "batch", "--anneal"]


@pytest.mark.parametrize("options", [["--unit", "gru"], ["--unit", "bmru", *HELP]], ids=["gru", "bmru"])
def test_a_classifier_is_trained_and_noted(options, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("drop_in_train", PATH)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    out = tmp_path / "drop_in.jsonl"
    given = ["--task", "digit-rows", "--hidden-size", "16", "--steps", "60", "--rate", "1e-2", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["train.py", *given, *options])
    example.main()
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert line == json.loads(capsys.readouterr().out)
    assert (line["unit"], line["steps"], line["write_rates"]) == (options[1], 60, "--write-rates" in options)
    assert line["test"] > 0.4
    assert line["versions"]["packages"]["torch"]
