"""A folder of CSV files becomes a trained model, which comes back from its files and answers the same in C."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from remanent import SequenceModel
from remanent.cli import main
from remanent.distributed.ranks import Part, Ranks
from remanent.export import export_c
from remanent.export.c import run_module
from remanent.models import ModelConfig, Names
from remanent.records.configuration import Experiment, fitting
from remanent.records.training_config import TrainingConfig
from remanent.tasks import CopyFirst, OwnData
from remanent.tasks.base import read_whole
from remanent.training import evaluate, record_run, start_run
from remanent.training.data import StepBatches
from remanent.training.experiment import ExperimentModule
from remanent.training.folder import load_run
from remanent.training.sharing import check_fit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pressure around 1,000 that rises or falls, in sequences of 5 to 9 steps."""
    root, draw = tmp_path_factory.mktemp("gestures"), np.random.default_rng(0)
    for slope, name in ((1, "rise"), (-1, "fall")):
        (root / name).mkdir()
        for i in range(8):
            steps = np.arange(5 + i % 5)
            values = 1000 + slope * steps + draw.normal(0, 0.1, len(steps))
            text = "\n".join(
                ["ms,pressure", *(f"{20 * t},{value:.3f}" for t, value in zip(steps, values, strict=True))]
            )
            (root / name / f"{i}.csv").write_text(text)
    return str(root)


def experiment_on(task, **training):
    model = ModelConfig(**fitting(task), hidden_size=8, num_layers=1, standardise=True)
    options = {"steps": 12, "batch_size": 8, "checkpoint_every": 12, "learning_rate": 0.02, "threads": 1}
    return Experiment(task, model, TrainingConfig(**options | training))


def test_a_folder_of_tables_trains_a_model_that_answers_the_same_in_c(folder, tmp_path):
    task = OwnData(folder, time="ms", inputs="pressure")
    trained = start_run(experiment_on(task), tmp_path / "run", progress=False, logger="none")
    record = record_run(tmp_path / "run")
    assert [(test.length, test.examples) for test in record.tests] == [(task.length, task.split_size("test"))]
    experiment, model = load_run(tmp_path / "run")
    assert evaluate(model, experiment.task) == record.tests[0].score == evaluate(trained, task)
    torch.testing.assert_close(model.encoder.mean, task.statistics.mean)
    assert model.encoder.mean > 900
    x, _ = read_whole(task, "test", 0, task.split_size("test"), task.length)
    lengths = task.lengths("test", 0, len(x))
    labels = model(x, lengths=lengths)[0].argmax(-1)
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    module = export_c(model, tmp_path / "c")
    steps = [torch.tensor(len(row)) for row in x] if lengths is None else lengths
    found = run_module(module, [row[:length].numpy() for row, length in zip(x, steps, strict=True)])
    assert [int(outputs[-1].argmax()) for outputs, _ in found] == labels.tolist()


def test_a_finished_run_is_exported_by_its_names_though_its_data_have_changed(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, "data")
    tiny = ["--training.steps=2", "--training.batch_size=4", "--training.threads=1", "--model.hidden_size=4"]
    assert main(["train", "own-data", "--task.path=data", "--task.time=ms", "--out=run", "--logger=none", *tiny]) == 0
    said = capsys.readouterr().out
    assert "own-data: 16 sequences of 5 to 9 steps (12 train, 2 validation, 2 test)\n1 feature: pressure\n" in said
    assert "2 classes: fall 6 + 1 + 1, rise 6 + 1 + 1\n" in said
    assert SequenceModel.load("run").names == Names(("pressure",), ("fall", "rise"))
    assert main(["evaluate", "run"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"class +┃ right ┃ of", table)
    assert re.search(r"fall +│ [01] +│ 1", table)
    assert re.search(r"rise +│ [01] +│ 1", table)
    assert main(["evaluate", "run", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    shutil.copytree("data/rise", "data/stays")
    assert main(["evaluate", "run"]) == 2
    assert "must be" in capsys.readouterr().err
    assert main(["export", "run", "--format", "c", "--weights", "int8"]) == 2
    assert main(["export", "run", "--format", "c"]) == 0
    if shutil.which("gcc") is not None:
        assert "model_classify gives the name of a class: fall, rise." in capsys.readouterr().out
    header = Path("run/export/model.h").read_text()
    assert re.search(r"x\[0\]  pressure  mean (99\d|100\d)", header)
    assert "Inputs must be finite, in the units of the data" in header


def test_the_loss_of_a_padded_batch_is_the_mean_of_its_sequences(folder):
    module = ExperimentModule(experiment_on(OwnData(folder, inputs="pressure"), anneal=False)).eval()
    x, y, _, lengths = StepBatches(module.experiment.task, module.experiment.training, 0, 1, Ranks())[0]
    losses = [module._loss(*module._answer(x[i : i + 1, :length], y[i : i + 1])) for i, length in enumerate(lengths)]
    torch.testing.assert_close(module._loss(*module._answer(x, y, lengths)), torch.stack(losses).mean())


def test_parts_of_a_batch_are_filled_up_to_the_longest(folder):
    experiment = experiment_on(OwnData(folder, inputs="pressure"), batch_parts=4)
    whole = StepBatches(experiment.task, experiment.training, 0, 1, Ranks())[0]
    shares = [StepBatches(experiment.task, experiment.training, 0, 1, Ranks(data=Part(i, 2)))[0] for i in range(2)]
    assert torch.equal(torch.cat([share[3] for share in shares]), whole[3])
    assert torch.equal(torch.cat([share[1] for share in shares]), whole[1])
    for share, place in zip(shares, (0, 4), strict=True):
        T = share[0].shape[1]
        assert torch.equal(share[0], whole[0][place : place + 4, :T])


def test_what_sequences_that_differ_in_length_do_not_fit_is_rejected(folder):
    task = OwnData(folder, inputs="pressure")
    model = ModelConfig(**fitting(task), unit="attention", num_heads=2, hidden_size=8)
    with pytest.raises(
        ValueError, match=r"`model\.unit` must not be attention for the task own-data, whose sequences differ"
    ):
        Experiment(task, model, TrainingConfig())
    with pytest.raises(ValueError, match=r"`training\.compile` must be False for the task own-data"):
        experiment_on(task, compile=True)
    with pytest.raises(ValueError, match=r"`time_shards` must be 1 for the task own-data, .* got 2"):
        check_fit(experiment_on(task), Ranks(time=Part(0, 2)))
    with pytest.raises(ValueError, match=r"`model\.standardise` must be False for the task copy-first"):
        Experiment(CopyFirst(), ModelConfig(1, 1, standardise=True), TrainingConfig())


def test_a_model_of_two_directions_trains_on_whole_sequences(tmp_path):
    task = OwnData()
    model = ModelConfig(**{**fitting(task), "head": "mean"}, hidden_size=4, num_layers=1, bidirectional=True)
    experiment = Experiment(task, model, TrainingConfig(steps=2, batch_size=4, checkpoint_every=2, threads=1))
    start_run(experiment, tmp_path / "run", progress=False, logger="none")
    score = record_run(tmp_path / "run").tests[0].score
    assert score == evaluate(SequenceModel.load(tmp_path / "run"), task)


def test_names_that_are_not_those_of_the_outputs_are_rejected_before_training(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(OwnData, "class_names", ("one",))
    rule = r"the names of the task own-data: `classes` must be 2 different names, or none, got \('one',\)"
    with pytest.raises(ValueError, match=rule):
        start_run(experiment_on(OwnData(folder, inputs="pressure")), tmp_path / "run", progress=False, logger="none")
