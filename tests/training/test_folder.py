"""A run's folder: what was written is what is read, whatever its name, and nothing is left of killed processes."""

import contextlib
import dataclasses
import json
import re
import shutil

import pytest

from remanent import ModelConfig
from remanent.cli import main
from remanent.records.configuration import fitting
from remanent.review.rows import check_runs
from remanent.sweep.jobs import CLAIMED, Job, work
from remanent.tasks import Characters, CopyFirst, SequentialImage
from remanent.training import Experiment, TrainingConfig, evaluate, load_run, record_run, resume_run, start_run
from remanent.training.folder import owned
from remanent.training.variants import Variant

RUN = Experiment(
    CopyFirst(steps=20),
    ModelConfig(input_size=1, output_size=1, hidden_size=4),
    TrainingConfig(steps=2, batch_size=4, checkpoint_every=1, threads=1),
)
TEXT = "it was the best of times, it was the worst of times; " * 20


def of_text(path):
    task = Characters(str(path), steps=8)
    return Experiment(task, ModelConfig(**fitting(task), hidden_size=4), RUN.training)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    start_run(RUN, folder, progress=False)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.mark.parametrize("name", ["a::b", "$HOME", "~", "a b[1]*?", "file:c"])
def test_a_folder_may_have_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    start_run(RUN, name, progress=False)
    folder = tmp_path / name
    weights = (folder / "model.safetensors").read_bytes()
    assert list(folder.glob("tensorboard/events.out.tfevents.*"))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    (folder / "model.json").unlink()
    (folder / "checkpoints" / "step-2.ckpt").write_bytes(b"")
    with pytest.warns(UserWarning, match="the run resumes from step 1"):
        resume_run(name, progress=False)
    assert (folder / "model.safetensors").read_bytes() == weights


def test_a_working_directory_may_have_any_name(tmp_path, monkeypatch):
    (tmp_path / "a::b").mkdir()
    monkeypatch.chdir(tmp_path / "a::b")
    start_run(RUN, "run", progress=False)
    assert [path.name for path in (tmp_path / "a::b").iterdir()] == ["run"]


def test_what_killed_processes_left_is_removed_by_the_next_that_holds_the_run(run):
    left = [".index.json.abcd1234", ".index.json.abcd1234.part", ".step-1.ckpt.4711"]
    mine = [".index.json.swp", ".notes", "index.json.abcd1234"]
    for name in left + mine:
        (run / "checkpoints" / name).write_text("")
    others = [".model.safetensors.0_9z8y7x.part", ".metrics.jsonl.abcdefgh", ".record.json.abcdefgh.part"]
    for name in others:
        (run / name).write_text("")
    (run / "model.json").unlink()
    (run / "checkpoints" / "step-2.ckpt").unlink()
    with pytest.warns(UserWarning, match="a checkpoint is damaged"):
        resume_run(run, progress=False)
    assert {path.name for path in run.rglob(".*")} == {".index.json.swp", ".notes"}
    (run / ".record.json.abcdefgh.part").write_text("")
    record_run(run)
    assert {path.name for path in run.rglob(".*")} == {".index.json.swp", ".notes"}


def test_a_record_waits_for_another_process_and_names_it(run, monkeypatch):
    monkeypatch.setattr("remanent.training.outcome.WRITE_SECONDS", 0.05)
    with owned(run), pytest.raises(RuntimeError, match="the run's folder must not be in use"):
        record_run(run)
    assert not (run / "record.json").exists()


def test_a_record_that_another_process_wrote_meanwhile_stays(run, monkeypatch):
    real = owned

    @contextlib.contextmanager
    def owned_after_another(folder, seconds):
        monkeypatch.undo()
        record_run(folder)
        (folder / "record.json").write_text((folder / "record.json").read_text().replace("copy-first", "mine"))
        with real(folder, seconds):
            yield

    monkeypatch.setattr("remanent.training.outcome.owned", owned_after_another)
    assert record_run(run).recipe == "mine"
    (run / "record.json").write_text("{")
    with pytest.raises(ValueError, match=r"record.json"):
        record_run(run)


@pytest.mark.parametrize("note", [{}, {"seconds": "3", "began": 0.0}, {"seconds": 3.0, "began": None}])
def test_a_corrupt_note_of_the_last_resume_is_named(run, note):
    (run / "resumed.json").write_text(json.dumps(note))
    with pytest.raises(ValueError, match=r"resumed.json must hold the number `(seconds|began)`, got (None|'3')"):
        record_run(run)


def test_a_grid_waits_for_a_run_that_is_resumed_by_hand(run, tmp_path):
    (run / "model.json").unlink()
    results = tmp_path / "results.jsonl"
    job = Job(variant=Variant("copy-first", {}), config=RUN.to_dict(), folder=str(run), results=str(results))
    with owned(run):
        assert work(job) == CLAIMED
    assert not results.exists()


def test_a_finished_run_notices_that_its_configuration_has_changed(run):
    config = json.loads((run / "config.json").read_text())
    config["task"]["steps"] = 30
    (run / "config.json").write_text(json.dumps(config))
    message = r"config.json must be what the run was begun with, \w{16}, got \w{16}: it has changed since; restore it"
    for read in (load_run, record_run, resume_run):
        with pytest.raises(ValueError, match=message):
            read(run)
    (run / "versions.json").unlink()  # as a version before 0.1 began it
    with pytest.raises(ValueError, match=message):
        load_run(run)


def test_what_changes_no_number_may_change(run):
    config = json.loads((run / "config.json").read_text())
    config["training"]["threads"] = 3
    (run / "config.json").write_text(json.dumps(config))
    assert load_run(run)[0].training.threads == 3


def test_a_finished_run_notices_that_its_model_has_changed(run):
    config = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(config | {"epsilon": 0.25}))  # the only option that training changes
    load_run(run)
    (run / "model.json").write_text(json.dumps(config | {"dropout": 0.5}))
    with pytest.raises(ValueError, match=r"model.json must have the `dropout` of config.json, 0.0, got 0.5"):
        load_run(run)


@pytest.mark.parametrize("stage", ["finished", "cut off"])
def test_a_run_notices_that_its_text_has_changed(tmp_path, stage):
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    start_run(of_text(text), tmp_path / "run", progress=False)
    if stage == "cut off":
        (tmp_path / "run" / "model.json").unlink()
        shutil.rmtree(tmp_path / "run" / "checkpoints")
        (tmp_path / "run" / "checkpoints").mkdir()
        (tmp_path / "run" / "metrics.jsonl").unlink()
    text.write_text(TEXT.replace("worst", "towsr"))  # of the same characters and the same length
    with pytest.raises(
        ValueError, match=r"config.json and .*text.txt must be what the run was begun with, .*: it has changed since"
    ):
        (load_run if stage == "finished" else resume_run)(tmp_path / "run")


def test_a_relative_text_is_found_from_another_folder_and_from_another_place(tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "text.txt").write_text(TEXT)
    start_run(of_text("text.txt"), tmp_path / "run", progress=False)
    assert load_run(tmp_path / "run")[0].task.path == str(tmp_path / "here" / "text.txt")
    monkeypatch.chdir(tmp_path / "there")
    experiment, model = load_run(tmp_path / "run")
    score = evaluate(model, experiment.task)
    (tmp_path / "here" / "text.txt").rename(tmp_path / "there" / "text.txt")
    with pytest.raises(FileNotFoundError, match=r"`path` must name a text file, got .*here/text.txt"):
        load_run(tmp_path / "run")
    assert main(["evaluate", str(tmp_path / "run"), "--data-dir", str(tmp_path / "there"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bits"] == pytest.approx(score)
    place = str(tmp_path / "there")
    check_runs([tmp_path / "run"], place)  # as a report does first
    (tmp_path / "run" / "model.json").unlink()
    assert main(["train", "--resume", str(tmp_path / "run"), "--data-dir", place, "--quiet"]) == 0
    again = f"{tmp_path / 'run'} is finished; score it with `remanent evaluate {tmp_path / 'run'} --data-dir {place}`."
    assert capsys.readouterr().out == f"{again}\n"
    assert json.loads((tmp_path / "run" / "record.json").read_text())["tests"][0]["score"] is not None


def test_a_relative_folder_of_data_is_noted_as_an_absolute_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = SequentialImage(data_dir="data")
    experiment = Experiment(task, ModelConfig(**fitting(task), hidden_size=4), RUN.training)
    assert experiment.located().task == dataclasses.replace(task, data_dir=str(tmp_path / "data"))
    assert RUN.located() is RUN


def test_data_of_a_task_that_reads_none_are_rejected(run):
    with pytest.raises(ValueError, match=re.escape("`--data-dir` must not be given for the task copy-first, which")):
        load_run(run, data_dir="x")
