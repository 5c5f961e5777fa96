"""Speech: clips of both data sets, their splits and features, silence before them, and damage that is named."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from real_data import SPEECH, needs_speech
from remanent.tasks.base import read_whole
from remanent.tasks.chunks import BLOCK
from remanent.tasks.metrics import IGNORED, METRICS
from remanent.tasks.sounds import speech
from remanent.tasks.sounds.clips import read_samples
from remanent.tasks.sounds.keyword import Keyword
from remanent.tasks.sounds.mfcc import mfcc, standardise
from remanent.tasks.sounds.spoken_digits import SpokenDigits
from speech_data import RECORDINGS, tone, wav, write_commands, write_digits

TASKS = [SpokenDigits, Keyword]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("top", ["", "free-spoken-digit-dataset-1.0.10/"])
@pytest.mark.parametrize("kind", ["folder", "zip", "folder of the zip"])
def test_a_folder_and_a_zip_hold_the_same_digits(tmp_path, kind, top, monkeypatch):
    place = write_digits(tmp_path / "d" if kind == "folder" else tmp_path / "free-spoken-digit-dataset.zip", top=top)
    place = place.parent if kind == "folder of the zip" else place
    monkeypatch.setenv("REMANENT_DATA", str(place))
    for task in (SpokenDigits(data_dir=str(place), check=False), SpokenDigits(check=False)):
        assert [task.split_size(split) for split in ("validation", "test")] == [40, 60]
        x, target = read_whole(task, "test", 0, 60, 0)
        seen = set()
        order = [(index, number, digit) for index in (0, 2, 4) for number in range(2) for digit in range(10)]
        for row, answer, (index, number, digit) in zip(x, target, order, strict=True):
            samples = torch.tensor(tone(digit, number, index)).numpy() / 32768
            frames = torch.from_numpy(standardise(mfcc(samples, 8000))).float()
            assert torch.equal(row[: len(frames)], frames)
            assert not row[len(frames) :].any()
            assert answer.tolist() == [digit] * len(frames) + [IGNORED] * (len(row) - len(frames))
            seen.add(frames.numpy().tobytes())
        x, target = task.batch(40, generator())
        drawn = {row[t != IGNORED].numpy().tobytes() for row, t in zip(x, target, strict=True)}
        assert len(drawn) == 40
        assert not drawn & seen
        assert task.chance == 0.1
        with pytest.raises(ValueError, match="`batch_size` must be at most the 40 training clips, got 41"):
            task.batch(41, generator())


@pytest.fixture
def digits(tmp_path):
    return str(write_digits(tmp_path / "digits"))


@pytest.mark.parametrize("make", TASKS)
def test_batches_come_from_their_generator(make, digits):
    task = make(silence=4, data_dir=digits, check=False)
    x, y = task.batch(12, generator(1))
    again, y_again = task.batch(12, generator(1))
    assert torch.equal(x, again)
    assert torch.equal(y, y_again)
    assert not torch.equal(y, task.batch(12, generator(2))[1])
    assert x.shape == (*y.shape, task.input_size)
    assert y.max() < task.output_size
    assert not x[:, :4].any()
    assert (y[:, :4] == IGNORED).all()
    assert (y[:, 4] != IGNORED).all()


@pytest.mark.parametrize("make", TASKS)
def test_streams_are_silent_then_the_clips_whatever_the_batch(make, digits):
    task = make(data_dir=digits, check=False)
    clips, classes = read_whole(task, "test", 0, 12, 0)
    for length in (1, BLOCK, 2500):
        chunks = list(task.stream("test", 0, 12, length))
        assert [chunk.shape[1] for chunk, _ in chunks[:-1]] == [min(BLOCK, length - b) for b in range(0, length, BLOCK)]
        assert all((target == IGNORED).all() and not x.any() for x, target in chunks[:-1])
        assert torch.equal(chunks[-1][0], clips)
        assert torch.equal(chunks[-1][1], classes)
    part, part_classes = read_whole(task, "test", 3, 5, 0)
    size = part.shape[1]
    assert torch.equal(part, clips[3:5, :size])
    assert torch.equal(part_classes, classes[3:5, :size])
    assert (classes[3:5, size:] == IGNORED).all()


def test_a_vote_over_frames_scores_and_the_loss_asks_only_there(digits):
    task = SpokenDigits(silence=3, data_dir=digits, check=False)
    _, target = task.batch(20, generator())
    right = torch.nn.functional.one_hot(target.clamp(min=0), 10).float()
    right[:, :5] = right[:, :5].roll(1, -1)
    metric = METRICS[task.metric]
    values, weights = metric.finish(metric.tally(right, target))
    assert torch.equal(values, torch.ones(20).double())
    assert torch.equal(weights, torch.ones(20).double())
    silent = right.clone()
    silent[target == IGNORED] = 50
    assert task.loss(silent, target) == task.loss(right, target)


def test_half_a_keyword_batch_says_it(digits):
    task = Keyword("three", data_dir=digits, check=False)
    _, target = task.batch(7, generator())
    assert target[:, 0].tolist() == [1, 1, 1, 0, 0, 0, 0]
    x, target = task.batch(60, generator())
    assert target[:, 0].sum() == 30
    rows = [row.numpy().tobytes() for row in x]
    assert len(set(rows[:30])) <= 4
    assert len(task.batch(8, generator())[0].unique(dim=0)) == 8
    assert task.chance == 0.9
    _, target = read_whole(task, "test", 0, 10, 0)
    assert target[:, 0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("make", TASKS)
def test_a_set_is_standardised_by_constants_of_its_training_clips(make, digits):
    task = make(silence=2, data_dir=digits, check=False, standardise="set")
    training = np.concatenate(
        [mfcc(np.array(tone(d, n, i)) / 32768, 8000) for d in range(10) for n in range(2) for i in (10, 12)]
    )
    mean, deviation = task.frame_statistics
    np.testing.assert_allclose(mean, training.mean(0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(deviation, training.std(0), rtol=0, atol=1e-5)
    order = [(index, number, digit) for index in (0, 2, 4) for number in range(2) for digit in range(10)]
    x, target = read_whole(task, "test", 0, 60, 2)
    for row, answer, (index, number, digit) in zip(x, target, order, strict=True):
        frames = mfcc(np.array(tone(digit, number, index)) / 32768, 8000)
        expected = (frames - training.mean(0)) / training.std(0)
        asked = answer != IGNORED
        np.testing.assert_allclose(row[asked], expected, rtol=0, atol=1e-4)
        assert not row[~asked].any()
    drawn, answer = task.batch(40, generator()) if make is SpokenDigits else task.batch(4, generator())
    assert not drawn[answer == IGNORED].any()
    if make is SpokenDigits:  # a batch of all training clips
        every = drawn[answer != IGNORED].double()
        np.testing.assert_allclose(every.mean(0), 0, rtol=0, atol=1e-5)
        np.testing.assert_allclose(every.std(0, correction=0), 1, rtol=0, atol=1e-5)


def test_a_set_and_its_clips_are_read_once_and_not_mixed(digits, monkeypatch):
    read = []
    monkeypatch.setattr(speech, "read_samples", lambda *args: read.append(args[1]) or read_samples(*args))
    tasks = [make(data_dir=digits, check=False, standardise=how) for how in ("clip", "set", "clip") for make in TASKS]
    clip, _, whole, _, again, _ = seen = [read_whole(task, "test", 0, 60, 0)[0] for task in tasks]
    assert sorted(read) == sorted(set(read))
    assert len(read) == len(RECORDINGS)
    assert torch.equal(clip, again)
    assert not torch.equal(clip, whole)
    assert all(torch.equal(seen[i], seen[i + 1]) for i in (0, 2, 4))
    assert all(map(torch.equal, tasks[0].frame_statistics, tasks[2].frame_statistics))


def test_speech_commands_are_standardised_by_the_training_clips_of_the_words_asked_for(tmp_path, monkeypatch):
    write_commands(tmp_path / "speech_commands_v0.02")
    read = []
    monkeypatch.setattr(speech, "read_samples", lambda *args: read.append(args[1]) or read_samples(*args))
    task = SpokenDigits("speech-commands", data_dir=str(tmp_path), standardise="set")
    training = np.concatenate(
        [mfcc(np.array(tone(word, 0, index, 16_000)) / 32768, 16_000) for word in range(10) for index in (3, 4, 5)]
    )
    np.testing.assert_allclose(task.frame_statistics.mean, training.mean(0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(task.frame_statistics.deviation, training.std(0), rtol=0, atol=1e-5)
    assert len(read) == 30
    for _ in range(2):
        task.batch(30, generator())
        read_whole(task, "test", 0, 20, 0)
    assert len(read) == 50
    spotter = Keyword("cat", "speech-commands", data_dir=str(tmp_path), standardise="set")
    assert not torch.equal(spotter.frame_statistics.mean, task.frame_statistics.mean)


@pytest.mark.parametrize("deeper", [False, True])
def test_speech_commands_keep_their_official_splits(tmp_path, deeper):
    names = write_commands(tmp_path / "speech_commands_v0.02")
    data_dir = str(tmp_path if deeper else tmp_path / "speech_commands_v0.02")
    task = SpokenDigits("speech-commands", data_dir=data_dir)
    assert [task.split_size(split) for split in ("validation", "test")] == [10, 20]
    x, target = read_whole(task, "validation", 0, 10, 0)
    assert sorted(target[:, 0].tolist()) == list(range(10))
    for row, answer in zip(x, target, strict=True):
        samples = torch.tensor(tone(int(answer[0]), 0, 0, 16_000)).numpy() / 32768
        frames = torch.from_numpy(standardise(mfcc(samples, 16_000))).float()
        assert torch.equal(row[: len(frames)], frames)
    assert task.batch(30, generator())[0].shape[0] == 30
    spotter = Keyword("cat", "speech-commands", data_dir=data_dir)
    assert spotter.chance == pytest.approx(10 / 11)
    assert spotter.split_size("test") == 22
    assert read_whole(spotter, "test", 0, 22, 0)[1][:, 0].sum() == 2
    (tmp_path / "speech_commands_v0.02" / "nine" / names[1]).unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold the clips in testing_list.txt, got none named nine/0a_noh"):
        SpokenDigits("speech-commands", data_dir=f"{data_dir}/").split_size("test")


def test_speech_commands_that_are_not_there_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("REMANENT_DATA", raising=False)
    rule = "`data_dir` must be or hold the folder speech_commands_v0.02 of Google Speech Commands, which is not fetched"
    with pytest.raises(FileNotFoundError, match=f"{rule}.*got neither"):
        SpokenDigits("speech-commands").split_size("test")
    with pytest.raises(FileNotFoundError, match=f"{rule}.*, with validation_list.txt and testing_list.txt, got"):
        SpokenDigits("speech-commands", data_dir=str(tmp_path)).split_size("test")
    write_commands(tmp_path / "a", ("one", "cat"))
    with pytest.raises(FileNotFoundError, match="must hold a folder of clips for each word, got none for 'zero'"):
        SpokenDigits("speech-commands", data_dir=str(tmp_path / "a")).split_size("test")
    with pytest.raises(ValueError, match="`keyword` must be one of cat, one, got 'dog'"):
        Keyword("dog", "speech-commands", data_dir=str(tmp_path / "a")).split_size("test")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: SpokenDigits("letters"),
            ValueError,
            "`dataset` must be one of digits, speech-commands, got 'letters'",
        ),
        (lambda: SpokenDigits(silence=-1), ValueError, "`silence` must be at least 0, got -1"),
        (lambda: SpokenDigits(silence=1.5), TypeError, "`silence` must be an int, got 1.5"),
        (
            lambda: SpokenDigits().split_size("train"),
            ValueError,
            "`split` must be one of validation, test, got 'train'",
        ),
        (lambda: SpokenDigits().stream("test", 0, 1, -1), ValueError, "`length` must be at least 0, got -1"),
        (lambda: SpokenDigits(standardise="mean"), ValueError, "`standardise` must be one of clip, set, got 'mean'"),
        (lambda: Keyword(standardise="mean"), ValueError, "`standardise` must be one of clip, set, got 'mean'"),
        (lambda: Keyword("letters"), ValueError, "`keyword` must be one of zero, one, .* nine, got 'letters'"),
        (lambda: Keyword(dataset="letters"), ValueError, "`dataset` must be one of digits, speech-commands"),
        (lambda: Keyword(silence=-1), ValueError, "`silence` must be at least 0, got -1"),
        (lambda: Keyword().split_size("train"), ValueError, "`split` must be one of validation, test, got 'train'"),
        (lambda: Keyword().stream("test", 0, 1, -1), ValueError, "`length` must be at least 0, got -1"),
    ],
)
def test_bad_options_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


def float_wav():
    content = bytearray(wav(tone(0)))
    content[20] = 3  # the format's number: 1 is whole numbers, 3 is floats
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"must be a WAV file of 16-bit samples, got another \(it ends early\)"),
        (b"RIFX" + wav(tone(0))[4:], "must be a WAV file of 16-bit samples, got another .*RIFF"),
        (float_wav(), "must be a WAV file of 16-bit samples, got another .*unknown format"),
        (wav(tone(0))[:-100], "must hold its 1000 samples, got 950"),
        (wav([]), "must hold its first samples, got 0"),
        (wav(tone(0), 16_000), "must have 1 channel, 16 bits and 8000 samples a second, got 1, 16 and 16000"),
        (wav(tone(0), channels=2), "must have 1 channel, 16 bits and 8000 samples a second, got 2, 16 and 8000"),
        (wav(tone(0), width=4), "must have 1 channel, 16 bits and 8000 samples a second, got 1, 32 and 8000"),
    ],
)
def test_a_recording_that_cannot_be_read_is_named(tmp_path, content, message):
    write_digits(tmp_path, {**RECORDINGS, "3_bo_2.wav": content})
    with pytest.raises(ValueError, match=rf"3_bo_2\.wav {message}"):
        SpokenDigits(data_dir=str(tmp_path), check=False).split_size("test")


def test_a_damaged_zip_is_named(tmp_path):
    path = write_digits(tmp_path / "a.zip")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=rf"a\.zip must be a whole zip file .*, got {len(content) // 2} bytes"):
        SpokenDigits(data_dir=str(path), check=False).split_size("test")
    path = tmp_path / "b.zip"
    place = content.index(b"recordings/7_bo_4.wav") + 200
    path.write_bytes(content[:place] + bytes(20) + content[place + 20 :])
    with pytest.raises(ValueError, match=r"b\.zip must hold whole recordings, got a damaged 7_bo_4\.wav"):
        SpokenDigits(data_dir=str(path), check=False).split_size("test")


def test_other_recordings_are_refused_unless_they_are_wanted(tmp_path):
    rule = r"must hold the 3000 recordings of the Free Spoken Digit Dataset 1\.0\.10 \(check=False takes others\)"
    with pytest.raises(ValueError, match=rf"{rule}, got 140, without 0_george_0\.wav"):
        SpokenDigits(data_dir=str(write_digits(tmp_path / "few"))).split_size("test")
    for check in (False, True):
        with pytest.raises(ValueError, match=rf"{rule}, got 0, without 0_george_0\.wav"):
            Keyword(data_dir=str(write_digits(tmp_path / f"none {check}", {})), check=check).split_size("test")
    write_digits(tmp_path / "named", {**RECORDINGS, "ten_bo_1.wav": wav(tone(1))})
    with pytest.raises(ValueError, match=r"recordings named \{digit\}_\{speaker\}_\{index\}\.wav, got ten_bo_1\.wav"):
        SpokenDigits(data_dir=str(tmp_path / "named"), check=False).split_size("test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"must hold free-spoken-digit-dataset\.zip or recordings/ \(also one"):
        SpokenDigits(data_dir=str(tmp_path / "empty")).split_size("test")


def test_without_a_folder_or_a_network_the_error_says_what_to_do(monkeypatch):
    import pooch

    def fail(*args, **options):
        raise OSError("no network")

    monkeypatch.delenv("REMANENT_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(
        ConnectionError, match=r"spoken digits could not be fetched from .*no network.*--data-dir or REMANENT_DATA"
    ):
        SpokenDigits().split_size("test")


def test_a_fetched_zip_of_another_content_is_refused(monkeypatch, tmp_path):
    import pooch

    path = write_digits(tmp_path / "v1.0.10.zip", top="free-spoken-digit-dataset-1.0.10/")
    monkeypatch.delenv("REMANENT_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", lambda *args, **options: str(path))
    with pytest.raises(ValueError, match=r"v1\.0\.10\.zip must hold the 3000 recordings .*, got 140"):
        Keyword().split_size("test")


@needs_speech
def test_the_real_digits():
    task = SpokenDigits(data_dir=os.fspath(SPEECH))
    assert (task.split_size("validation"), task.split_size("test"), task.chance) == (300, 300, 0.1)
    x, target = task.batch(64, generator())
    assert x.shape[0] == 64
    assert x.isfinite().all()
    assert set(target.unique().tolist()) <= {IGNORED, *range(10)}
    for split in ("validation", "test"):
        classes = read_whole(task, split, 0, 300, 0)[1][:, 0]
        assert torch.equal(classes, torch.arange(10).repeat(30))
    assert Keyword("seven", data_dir=os.fspath(SPEECH)).chance == 0.9


@needs_speech
@pytest.mark.parametrize("make", TASKS)
def test_the_real_digits_standardised_by_constants(make):
    task = make(data_dir=os.fspath(SPEECH), standardise="set")
    mean, deviation = task.frame_statistics
    x, target = read_whole(task, "test", 0, 300, 0)
    by_clip, same_target = read_whole(make(data_dir=os.fspath(SPEECH)), "test", 0, 300, 0)
    assert torch.equal(target, same_target)
    raw = x[7][target[7] != IGNORED] * deviation + mean
    again = torch.from_numpy(standardise(raw.numpy()))
    torch.testing.assert_close(again, by_clip[7, : len(raw)].double(), rtol=0, atol=1e-4)
    frames = x[target != IGNORED].double()
    assert (frames.mean(0).abs() < 0.2).all()
    assert ((frames.std(0) > 0.8) & (frames.std(0) < 1.2)).all()


@needs_speech
def test_a_changed_sample_or_another_recording_of_the_real_digits_is_found(tmp_path):
    with zipfile.ZipFile(SPEECH) as file:
        recordings = {Path(name).name: file.read(name) for name in file.namelist() if name.endswith(".wav")}
    rule = r"must hold the 3000 recordings .* \(check=False takes others\), "
    changed = recordings["4_theo_9.wav"][:-1] + bytes([recordings["4_theo_9.wav"][-1] ^ 1])
    for other, message in (
        ({"4_theo_9.wav": changed}, rule + "with SHA-256 dbd573d7.* over them all, got"),
        ({"4_theo_9.wav": changed[:-2]}, r"4_theo_9\.wav must hold its [0-9]+ samples, got [0-9]+"),
        ({"4_theo_50.wav": changed}, rule + r"got 3001, with the unknown 4_theo_50\.wav"),
    ):
        path = write_digits(tmp_path / f"{len(message)}.zip", {**recordings, **other})
        with pytest.raises(ValueError, match=message):
            SpokenDigits(data_dir=str(path)).split_size("test")
