"""Where the metrics go beside `metrics.jsonl`: the same numbers everywhere, once each, also after a resume."""

import csv
import json
import sys
import types

import pytest

from remanent.training import RECIPES, resume_run, start_run
from remanent.training.loggers import CSV_FILE, LOGGERS, CsvLogger, check_logger
from remanent.training.variants import experiment_for

SMALL = {
    **{"task.steps": 4, "model.hidden_size": 4, "model.num_layers": 1},
    **{"training.steps": 4, "training.batch_size": 2, "training.checkpoint_every": 2},
}


class StopError(Exception):
    """What breaks a run off after a checkpoint."""


@pytest.fixture
def experiment():
    assert "copy-first" in RECIPES
    return experiment_for("copy-first", "bmru", 0, SMALL)


@pytest.fixture
def sent(monkeypatch):
    """Stand-ins for the packages of the services; what they were sent, call by call."""
    calls = []

    def noted(name):
        return lambda *values, **options: calls.append((name, *values, options))

    run = types.SimpleNamespace(log=noted("log"), finish=noted("finish"))
    wandb = types.ModuleType("wandb")
    wandb.init = lambda **options: calls.append(("init", options)) or run
    mlflow = types.ModuleType("mlflow")
    for name in ("set_experiment", "start_run", "log_params", "log_metrics", "end_run"):
        setattr(mlflow, name, noted(name))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    return calls


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def break_off():
    raise StopError


def test_csv_has_each_number_once_also_after_a_resume(tmp_path, experiment):
    folder = tmp_path / "run"
    with pytest.raises(StopError):
        start_run(experiment, folder, progress=False, logger="csv", after_checkpoint=break_off)
    with (folder / CSV_FILE).open("a") as file:
        file.write("3,loss,7.0\n3,lo")  # of a step after the checkpoint, and of a process that was killed
    resume_run(folder, progress=False, logger="csv")
    rows = list(csv.DictReader((folder / CSV_FILE).read_text().splitlines()))
    found = [(int(row["step"]), float(row["value"])) for row in rows if row["name"] == "loss"]
    assert [step for step, _ in found] == [0, 1, 2, 3]
    assert dict(found) == pytest.approx(dict(losses(folder)))
    assert {"loss", "epsilon", "validation_mse"} <= {row["name"] for row in rows}
    assert not (folder / "tensorboard").exists()


def test_none_writes_nothing_beside_the_metrics(tmp_path, experiment):
    start_run(experiment, tmp_path / "run", progress=False, logger="none")
    assert len(losses(tmp_path / "run")) == 4
    assert not {"tensorboard", CSV_FILE} & {path.name for path in (tmp_path / "run").iterdir()}


def test_weights_and_biases_gets_the_numbers_and_the_configuration(tmp_path, experiment, sent):
    folder = tmp_path / "run"
    start_run(experiment, folder, progress=False, logger="wandb")
    (_, options), *logged, (end, how) = sent
    assert options["config"] == json.loads((folder / "config.json").read_text())
    assert (options["name"], options["dir"], options["resume"]) == ("run", str(folder), "allow")
    assert (end, how) == ("finish", {"exit_code": 0})
    found = [(extra["step"], values["loss"]) for _, values, extra in logged if "loss" in values]
    assert dict(found) == pytest.approx(dict(losses(folder)))


def test_mlflow_gets_the_numbers_and_the_options(tmp_path, experiment, sent):
    folder = tmp_path / "run"
    start_run(experiment, folder, progress=False, logger="mlflow")
    names = [name for name, *_ in sent]
    assert names[:3] == ["set_experiment", "start_run", "log_params"]
    assert sent[2][1]["training.batch_size"] == 2
    assert sent[-1][:2] == ("end_run", "FINISHED")
    found = [(call[-1]["step"], call[1]["loss"]) for call in sent if call[0] == "log_metrics" and "loss" in call[1]]
    assert dict(found) == pytest.approx(dict(losses(folder)))


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_named_before_anything_is_written(tmp_path, experiment, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=rf'pip install "remanent\[{name}\]"'):
        start_run(experiment, tmp_path / "run", progress=False, logger=name)
    assert not (tmp_path / "run").exists()


def test_an_unknown_logger_is_rejected():
    with pytest.raises(ValueError, match="`logger` must be one of tensorboard, csv, wandb, mlflow, none, got 'comet'"):
        check_logger("comet")
    assert LOGGERS["csv"] is CsvLogger
