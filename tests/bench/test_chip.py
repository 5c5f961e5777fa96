"""What a model costs on a chip: scores over a task's test split, in batches that fit, and as the command prints it."""

import dataclasses
import json
import shutil

import pytest
import torch

import remanent.bench.chip
from built_models import flipping
from model_cases import make
from remanent.bench import measure_chip
from remanent.cli import main
from remanent.export.chip import missing_tools
from remanent.records.configuration import fitting
from remanent.tasks import CopyFirst, FlipFlop, GroupWord, Parity, SequentialImage, Tomita
from remanent.training import Experiment, TrainingConfig, evaluate, start_run

pytestmark = [
    pytest.mark.skipif(missing_tools() is not None, reason=f"needs {missing_tools()}"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
]


@pytest.mark.parametrize(
    ("task", "unit"),
    [
        (CopyFirst(steps=20), "bmru+lru"),
        (FlipFlop(steps=20), "bmru+lru"),
        (SequentialImage(padding=4), "bmru+lru"),
        (GroupWord(steps=9), "mru+bmru"),
        (Tomita(steps=9), "mru"),
    ],
)
def test_scores_are_those_of_torch(task, unit, monkeypatch):
    monkeypatch.setattr(remanent.bench.chip, "MOST_BYTES", 50_000)  # so that several batches are run
    model = make(torch.float32, **fitting(task), unit=unit)
    found = measure_chip(model, task, examples=40)
    assert found.score == pytest.approx(evaluate(model, task, examples=40), abs=1e-5)
    assert found.torch_score == pytest.approx(evaluate(model, task, examples=40), abs=1e-6)
    assert (found.examples, found.same, found.steps) == (40, 40, task.length if task.name != "sequential-image" else 12)
    assert 0 < found.weight_bytes < found.flash_bytes


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_head_that_flips_says_the_parity_of_every_word(weights):
    found = measure_chip(flipping(torch.float32), Parity(steps=50), weights=weights, examples=10)
    assert (found.score, found.torch_score, found.same, found.state_bytes) == (1, 1, 10, 1)


def test_the_command_prints_a_table_or_json(tmp_path, capsys):
    task = CopyFirst(steps=20)
    experiment = Experiment(
        task, dataclasses.replace(make(torch.float32).config, **fitting(task)), TrainingConfig(steps=2)
    )
    start_run(experiment, tmp_path / "run", progress=False)
    arguments = ["chip", str(tmp_path / "run"), "--weights", "int8", "--examples", "5"]
    assert main(arguments) == 0
    assert "instructions per step, mean" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["weights"] == "int8"
    assert "gcc" in line["versions"]["arm-none-eabi-gcc"]
    assert line["same"] == line["examples"] == 5
    assert main([*arguments[:-1], "0"]) == 2
    assert "`examples` must be at least 1, got 0" in capsys.readouterr().err
    assert main([*arguments[:-1], "1000000"]) == 2
    assert "`examples` must be at most the" in capsys.readouterr().err
