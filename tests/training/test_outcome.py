"""The record that a finished run leaves in its folder: that of a grid, as far as it costs little."""

import dataclasses
import json
import shutil

import pytest

from remanent.cli import main
from remanent.records.record import RECORD_FILE, LengthScore, read_records
from remanent.training import RECIPES, Experiment, evaluate, load_run
from remanent.training.outcome import grid_tests, quick_tests, record_run, validation_test
from remanent.training.variants import experiment_for, variant_of

OPTIONS = {
    "task.steps": 12,
    "model.hidden_size": 8,
    "training.steps": 6,
    "training.batch_size": 4,
    "training.checkpoint_every": 3,
}
TRAIN = [
    "train",
    "copy-first",
    "--quiet",
    "--training.threads=1",
    *(f"--{key}={value}" for key, value in OPTIONS.items()),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main([*TRAIN, "--out", str(folder), "--model.unit=lru"]) == 0
    return folder


def of(folder):
    (record,) = read_records(folder / RECORD_FILE).records
    return record


def test_train_leaves_the_record_that_a_grid_would(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = ["grid", "--task", "copy-first", "--unit", "lru", "--quiet", "--workers", "1", "--set"]
    assert main([*grid, *(f"{key}={value}" for key, value in OPTIONS.items())]) == 0
    (expected,) = read_records(tmp_path / "results" / "grid.jsonl").records
    record = of(finished)
    assert record.tests == expected.tests[:1]
    assert record.seconds.train > 0
    same = {"tests": (), "seconds": None, "config": None, "versions": None}
    assert dataclasses.replace(record, **same) == dataclasses.replace(expected, **same)
    assert record.config == expected.config
    experiment, model = load_run(finished)
    assert record.tests[0].score == evaluate(model, experiment.task)
    assert record.validation == LengthScore(12, 512, evaluate(model, experiment.task, split="validation"))
    assert record.validation == expected.validation
    assert record.validation.score != record.tests[0].score


def test_a_run_that_is_resumed_leaves_the_same_record_and_never_another(finished, tmp_path):
    folder = tmp_path / "run"
    assert main([*TRAIN, "--out", str(folder), "--model.unit=lru"]) == 0
    for name in ("model.json", "model.safetensors", RECORD_FILE):
        (folder / name).unlink()
    assert main(["train", "--resume", str(folder), "--quiet"]) == 0
    assert dataclasses.replace(of(folder), seconds=None) == dataclasses.replace(of(finished), seconds=None)
    (folder / RECORD_FILE).write_text((folder / RECORD_FILE).read_text().replace("copy-first", "mine"))
    assert main(["train", "--resume", str(folder), "--quiet"]) == 0
    assert of(folder).recipe == record_run(folder).recipe == "mine"


def test_validation_is_scored_on_at_least_512_examples_where_there_are_as_many():
    def examples(recipe, **options):
        return validation_test(experiment_for(recipe, "bmru", 0, options))

    assert examples("copy-first", **{"task.steps": 100_000}) == (100_000, 512)
    assert examples("digits") == (136, RECIPES["digits"]().task.split_size("validation"))


def test_a_table_reads_folders_and_passes_over_those_without_a_record(finished, tmp_path, capsys):
    (tmp_path / "unfinished").mkdir()
    assert main(["table", str(finished), str(tmp_path / "unfinished")]) == 0
    shown = capsys.readouterr()
    assert f"| {of(finished).tests[0].score:.4f} |" in shown.out
    how = "train it with `remanent train`, or call `remanent.training.record_run(folder)`"
    assert shown.err == f"remanent: {tmp_path / 'unfinished'} holds no record.json and is left out; {how}\n"
    assert main(["table", str(tmp_path / "unfinished")]) == 2
    assert "`FILE` must hold at least one record, got none" in capsys.readouterr().err


def test_what_is_tested_reads_at_most_a_fifth_of_what_was_trained():
    for name in ("copy-first", "digits", "parity", "delayed-integration"):
        experiment = RECIPES[name]()
        tests, whole = quick_tests(experiment), grid_tests(experiment)
        assert tests == whole[: len(tests)]
        read = sum(test.length * test.examples for test in tests)
        training = experiment.training
        assert len(tests) == 1 or read <= training.steps * training.batch_size * experiment.task.length / 5
    assert [test.length for test in quick_tests(RECIPES["copy-first"]())] == [300, 3000]
    tiny = experiment_for("copy-first", "bmru", 0, {"training.steps": 1})
    assert [test.length for test in quick_tests(tiny)] == [300]


@pytest.mark.parametrize("name", ["copy-first", "copy-first-paper", "digits", "listops-paper"])
def test_a_recipe_and_its_changes_are_found_again(name):
    assert variant_of(RECIPES[name]()) == (name, {})
    changed = experiment_for(name, "lru", 5, {"model.hidden_size": 12, "training.anneal": False}, threads=3)
    assert variant_of(changed) == (name, {"model.hidden_size": 12, "training.anneal": False})


def test_the_recipe_that_a_run_began_from_is_kept():
    changes = {"task.steps": 1000, "model.hidden_size": 256, "training.steps": 20_000, "training.learning_rate": 2e-3}
    far = experiment_for("copy-first", "bmru", 0, changes)
    assert variant_of(far, "copy-first") == ("copy-first", changes)
    nearest = ("copy-first-paper", {"training.checkpoint_every": 50})
    assert variant_of(far) == variant_of(far, "a recipe of a module that is not imported") == nearest


def test_a_run_begun_by_an_earlier_version_names_the_nearest_recipe(finished, tmp_path):
    folder = tmp_path / "run"
    assert main([*TRAIN, "--out", str(folder)]) == 0
    versions = json.loads((folder / "versions.json").read_text())
    assert versions.pop("recipe") == "copy-first"
    (folder / "versions.json").write_text(json.dumps(versions))
    (folder / RECORD_FILE).unlink()
    assert record_run(folder).set == OPTIONS


def test_files_of_another_shape_are_named(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / RECORD_FILE).write_bytes(b"")
    with pytest.raises(ValueError, match=r"record\.json must hold one record, got 0"):
        record_run(folder)
    (folder / RECORD_FILE).unlink()
    for content, key in (("{}", "seconds"), ('{"seconds": 1, "began": "x"}', "began"), ('{"seconds": []}', "seconds")):
        (folder / "resumed.json").write_text(content)
        with pytest.raises(ValueError, match=rf"resumed\.json must hold the number `{key}`, got"):
            record_run(folder)
    (folder / "resumed.json").unlink()
    versions = json.loads((folder / "versions.json").read_text())
    (folder / "versions.json").write_text(json.dumps(versions | {"recipe": []}))
    assert record_run(folder).recipe == of(finished).recipe
    config = json.loads((folder / "config.json").read_text())
    config["task"]["name"] = []
    with pytest.raises(ValueError, match=r"here: `task\.name` must be one of copy-first, .*, got \[\]"):
        Experiment.from_dict(config, "here")
