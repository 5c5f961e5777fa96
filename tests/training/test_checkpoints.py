"""Checkpoints: the last ones and the best are kept, a damaged one is passed over, and a full disk loses nothing."""

import dataclasses
import json
import shutil
import sys

import pytest

from remanent import ModelConfig
from remanent.tasks import CopyFirst
from remanent.training import Experiment, TrainingConfig, resume_run, start_run
from remanent.training.checkpoints import Checkpoints
from team import together, train_on_a_full_disk

RUN = Experiment(
    CopyFirst(steps=20),
    ModelConfig(input_size=1, output_size=1, hidden_size=8),
    TrainingConfig(steps=24, batch_size=4, checkpoint_every=5, threads=1, learning_rate=1e-2),
)


def write(folder, steps_and_scores, *, keep=2, more_is_better=False):
    checkpoints = Checkpoints(folder, "this")
    for step, score in steps_and_scores:
        checkpoints.write(
            lambda path, step=step: path.write_text(f"{step}"), step, score, keep=keep, more_is_better=more_is_better
        )
    return checkpoints


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("keep", "more_is_better", "kept"),
    [(1, False, [2, 5]), (2, False, [2, 4, 5]), (2, True, [1, 4, 5]), (9, True, [1, 2, 3, 4, 5])],
)
def test_the_last_ones_and_the_best_are_kept(tmp_path, keep, more_is_better, kept):
    scores = [(1, 0.9), (2, 0.1), (3, None), (4, 0.5), (5, 0.4)]
    checkpoints = write(tmp_path, scores, keep=keep, more_is_better=more_is_better)
    assert [each.step for each in checkpoints.read()] == kept
    assert names(tmp_path) == sorted(["index.json", *(f"step-{step}.ckpt" for step in kept)])
    assert checkpoints.newest() == (tmp_path / "step-5.ckpt", 5)


def test_of_two_that_are_as_good_the_later_is_the_best(tmp_path):
    assert [each.step for each in write(tmp_path, [(1, 0.5), (2, 0.5), (3, 0.6)], keep=1).read()] == [2, 3]


def test_what_was_cut_off_before_the_index_is_done_again(tmp_path):
    checkpoints = write(tmp_path, [(1, None), (2, None)])
    (tmp_path / "step-3.ckpt").write_text("whole, but not listed")
    (tmp_path / ".step-3.ckpt.123").write_text("ha")
    assert checkpoints.newest() == (tmp_path / "step-2.ckpt", 2)
    write(tmp_path, [(3, None)])
    assert checkpoints.newest() == (tmp_path / "step-3.ckpt", 3)
    assert (tmp_path / "step-3.ckpt").read_text() == "3"
    assert names(tmp_path) == ["index.json", "step-2.ckpt", "step-3.ckpt"]


def test_one_that_cannot_be_written_leaves_nothing_and_those_before(tmp_path):
    checkpoints = write(tmp_path, [(1, None)])

    def half(path):
        path.write_text("ha")
        raise RuntimeError("no space left on device")

    with pytest.raises(OSError, match=r"the checkpoint of step 2 must be written to .*step-2.ckpt, got no space left"):
        checkpoints.write(half, 2, None, keep=1, more_is_better=True)
    assert names(tmp_path) == ["index.json", "step-1.ckpt"]
    assert checkpoints.newest() == (tmp_path / "step-1.ckpt", 1)


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_run_goes_on_from_the_one_before_a_damaged_one_to_the_same_bits(tmp_path, damage):
    start_run(RUN, tmp_path / "run", progress=False)
    folder = tmp_path / "run" / "checkpoints"
    expected = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "run" / "model.json").unlink()
    path = folder / "step-24.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-100] if damage == "cut" else content)
    problem = r"cannot be read \(No such" if damage == "gone" else "has another checksum than it was written with"
    message = rf"a checkpoint is damaged: .*step-24.ckpt {problem}.*; the run resumes from step 20"
    with pytest.warns(UserWarning, match=message):
        resume_run(tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == expected
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(24))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose last step is missing its model, as a kill leaves it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    start_run(RUN, folder, progress=False)
    return folder


@pytest.fixture
def cut_off(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "run")
    (folder / "model.json").unlink()
    return folder


LOST = {
    "gone": None,
    "no checkpoints": {"checkpoints": {}},
    "an empty list": {"checkpoints": []},
    "another shape": {"checkpoints": [5]},
    "a file elsewhere": {"checkpoints": [{"file": "../step-24.ckpt", "step": 24, "sha256": ""}]},
    "a score of text": {"checkpoints": [{"file": "step-24.ckpt", "step": 24, "sha256": "", "score": "high"}]},
    "cut": "{",
    "another object": "[]",
}


@pytest.mark.parametrize("damage", LOST)
def test_a_lost_index_is_made_again_from_the_checkpoints(cut_off, trained, damage):
    index = cut_off / "checkpoints" / "index.json"
    written = index.read_text()
    if LOST[damage] is None:
        index.unlink()
    else:
        index.write_text(
            LOST[damage] if isinstance(LOST[damage], str) else json.dumps(json.loads(written) | LOST[damage])
        )
    with pytest.warns(UserWarning, match=r"index.json .*; it was made again from step-\d+.ckpt, .*step-24.ckpt"):
        resume_run(cut_off, progress=False)
    assert json.loads(index.read_text()) == json.loads(written)  # with the scores, by which the best is kept
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (cut_off / name).read_bytes() == (trained / name).read_bytes()
    assert names(cut_off / "checkpoints") == names(trained / "checkpoints")


def test_a_lost_index_is_made_again_from_the_whole_checkpoints_alone(cut_off, trained):
    folder = cut_off / "checkpoints"
    (folder / "index.json").unlink()
    content = bytearray((folder / "step-24.ckpt").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 256] = bytes(byte ^ 1 for byte in content[middle : middle + 256])  # padding alone is less
    (folder / "step-24.ckpt").write_bytes(content)
    (folder / "step-30.ckpt").write_bytes((folder / "step-20.ckpt").read_bytes())  # of another step than its name says
    with pytest.warns(
        UserWarning, match=r"it was made again from (step-\d+.ckpt, )?step-20.ckpt; .*step-24.ckpt is damaged"
    ):
        resume_run(cut_off, progress=False)
    assert (cut_off / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_a_lost_index_takes_no_checkpoints_of_another_run(cut_off):
    for name in ("checkpoints/index.json", "versions.json"):
        (cut_off / name).unlink()
    other = dataclasses.replace(RUN, training=dataclasses.replace(RUN.training, learning_rate=2e-2))
    (cut_off / "config.json").write_text(json.dumps(other.to_dict()))
    before = {path: path.read_bytes() for path in cut_off.rglob("*") if path.is_file()}
    with pytest.raises(
        ValueError, match=r"step-\d+.ckpt must be of the run in config.json, \w+, got '\w+', of another"
    ):
        resume_run(cut_off, progress=False)
    assert {path: path.read_bytes() for path in cut_off.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("lost", ["files", "folder", "folder in the first epoch"])
def test_a_run_whose_checkpoints_are_lost_is_refused_and_left_as_it_is(cut_off, lost):
    shutil.rmtree(cut_off / "checkpoints")
    if lost == "files":
        (cut_off / "checkpoints").mkdir()
    if lost == "folder in the first epoch":
        (cut_off / "metrics.jsonl").write_text('{"step": 0, "loss": 1.0}\n{"step": 1, "loss": 1.0}\n')
    before = {path: path.read_bytes() for path in cut_off.rglob("*") if path.is_file()}
    last = 1 if "first" in lost else 23
    message = rf"checkpoints must hold a checkpoint, since metrics.jsonl goes up to step {last}, got none; start"
    with pytest.raises(ValueError, match=message):
        resume_run(cut_off, progress=False)
    assert {path: path.read_bytes() for path in cut_off.rglob("*") if path.is_file()} == before


def test_a_single_checkpoint_without_an_index_is_one_that_was_just_written(cut_off, trained):
    for path in (cut_off / "checkpoints").iterdir():
        if path.name != "step-20.ckpt":
            path.unlink()
    resume_run(cut_off, progress=False)
    assert (cut_off / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_files_of_the_user_beside_the_checkpoints_stay(tmp_path):
    mine = {"best.ckpt", "step-1.ckpt.bak", "step-2.ckpt.orig", ".step-1.ckpt", "my-step-1.ckpt", ".index.json.swp"}
    for name in mine:
        (tmp_path / name).write_text("mine")
    write(tmp_path, [(1, None), (2, None), (3, None)], keep=1)
    assert set(names(tmp_path)) == {"index.json", "step-3.ckpt", *mine}


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def interrupted(path):
        path.write_text("ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, [(1, None)]).write(interrupted, 2, None, keep=1, more_is_better=True)
    assert names(tmp_path) == ["index.json", "step-1.ckpt"]


def test_where_none_is_whole_the_run_is_refused_and_left_as_it_is(tmp_path):
    start_run(RUN, tmp_path / "run", progress=False)
    (tmp_path / "run" / "model.json").unlink()
    for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt"):
        path.write_bytes(b"no")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    message = (
        r"checkpoints must hold a whole checkpoint, got .*step-24.ckpt has another checksum .* and .*; "
        r"start the run again in another folder"
    )
    with pytest.raises(ValueError, match=message):
        resume_run(tmp_path / "run", progress=False)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_checkpoints_of_another_run_or_a_later_version_are_refused(tmp_path):
    start_run(RUN, tmp_path / "run", progress=False)
    (tmp_path / "run" / "model.json").unlink()
    other = dataclasses.replace(RUN, model=dataclasses.replace(RUN.model, hidden_size=16))
    config = tmp_path / "run" / "config.json"
    config.write_text(json.dumps(other.to_dict()))
    with pytest.raises(
        ValueError, match=r"index.json must be of the run in config.json, \w+, got '\w+', of another one"
    ):
        resume_run(tmp_path / "run", progress=False)
    config.write_text(json.dumps(RUN.to_dict()))
    index = tmp_path / "run" / "checkpoints" / "index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"format": 2}))
    with pytest.raises(ValueError, match=r"index.json must have the format 1 of this version, got 2"):
        resume_run(tmp_path / "run", progress=False)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_ends_the_run_in_a_clear_word_and_it_goes_on_when_there_is_room(tmp_path):
    start_run(RUN, tmp_path / "whole", progress=False)
    ((name, words),) = together(1, train_on_a_full_disk, 15, RUN.to_dict(), tmp_path / "run", {})
    assert name == "OSError"
    assert words.startswith("the checkpoint of step 15 must be written to ")
    folder = tmp_path / "run" / "checkpoints"
    assert Checkpoints(folder, json.loads((folder / "index.json").read_text())["run"]).newest()[1] == 10
    assert not list(folder.glob(".*"))
    resume_run(tmp_path / "run", progress=False)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "run")]
    assert weights[0] == weights[1]


def test_how_many_are_kept_must_be_at_least_one():
    with pytest.raises(ValueError, match="`keep_checkpoints` must be at least 1, got 0"):
        TrainingConfig(keep_checkpoints=0)
