"""Data that are damaged, or of which no batch can be drawn, are found before the folder of a run exists."""

import pytest

from remanent import ModelConfig
from remanent.records.configuration import fitting
from remanent.records.identity import identity
from remanent.tasks import ListOps, Pathfinder, SequentialImage, SpokenDigits
from remanent.training import Experiment, TrainingConfig, load_run, resume_run, start_run
from speech_data import RECORDINGS, wav, write_commands, write_digits


def experiment(task, batch_size=2):
    model = ModelConfig(hidden_size=4, num_layers=1, **fitting(task))
    return Experiment(task, model, TrainingConfig(steps=1, batch_size=batch_size, threads=1))


def damaged_commands(folder):
    write_commands(folder)
    (folder / "six" / "2c_nohash_1.wav").write_bytes(b"RIFF")
    return SpokenDigits("speech-commands", data_dir=str(folder))


def damaged_digits(folder):
    write_digits(folder, RECORDINGS | {"6_bo_12.wav": b"RIFF"})
    return SpokenDigits(data_dir=str(folder), check=False)


@pytest.mark.parametrize(
    ("make", "batch_size", "message"),
    [
        (damaged_commands, 2, r"six/2c_nohash_1\.wav must be a WAV file"),
        (damaged_digits, 2, r"6_bo_12\.wav must be a WAV file"),
        (lambda _: SequentialImage(padding=0), 1258, "`batch_size` must be at most the 1257 training images, got 1258"),
        (lambda _: SequentialImage(examples=1258), 2, "`examples` must be at most the 1257 training images, got 1258"),
        (lambda _: ListOps(3, 3, max_depth=2), 2, "`min_tokens` to `max_tokens` must be lengths that expressions have"),
        (
            lambda _: Pathfinder(size=8, dashes=12),
            1,
            "`dashes`, `dash`, `gap` and `distractors` must leave room for all",
        ),
    ],
)
def test_no_folder_is_left_by_data_that_cannot_be_used(tmp_path, make, batch_size, message):
    task = make(tmp_path / "data")
    with pytest.raises(ValueError, match=message):
        start_run(experiment(task, batch_size), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_recordings_without_a_known_hash_make_another_run_when_they_change(tmp_path):
    write_digits(tmp_path / "data")
    task = SpokenDigits(data_dir=str(tmp_path / "data"), check=False)
    before = identity(experiment(task).to_dict())
    assert identity(experiment(SpokenDigits(data_dir=str(tmp_path / "data"), check=False)).to_dict()) == before
    start_run(experiment(task), tmp_path / "run", progress=False)
    (tmp_path / "data" / "recordings" / "6_bo_12.wav").write_bytes(wav(range(1000)))
    assert identity(experiment(task).to_dict()) != before
    with pytest.raises(ValueError, match=r"config\.json and the data of its task must be what the run was begun with"):
        load_run(tmp_path / "run")
    (tmp_path / "run" / "model.json").unlink()
    with pytest.raises(ValueError, match=r"must be of the run in config\.json"):
        resume_run(tmp_path / "run", progress=False)
