"""The example examples/keyword: features, files, chunks and decisions of the C program are those of Python."""

import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import threading
import wave
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from real_data import SPEECH, needs_speech
from remanent.cli import main
from remanent.export import export_c
from remanent.export._fold import fold_states
from remanent.export.c import step_outputs
from remanent.models import ModelConfig, SequenceModel
from remanent.models.imprecise import quantized
from remanent.records.configuration import Experiment, fitting
from remanent.records.training_config import TrainingConfig
from remanent.tasks import Keyword, SpokenDigits
from remanent.tasks.sounds.mfcc import mfcc

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "keyword"
pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("make") is None, reason="needs gcc and make"
)
SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wdouble-promotion", *SANITIZED]
PAUSE = np.zeros(4000, "<i2")
LINE = re.compile(r"(\d+\.\d\d) s - (\d+\.\d\d) s  (\w+)  \((\d+) of (\d+) frames\)")

spec = importlib.util.spec_from_file_location("make_tables", EXAMPLE / "make_tables.py")
make_tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_tables)


def tone(digit, index=0, *, count=2400):
    """Samples of a clip: a tone for each digit, which swells and fades."""
    time = np.arange(count + 97 * index) / 8000
    hertz = 200 + 330 * digit + 5 * index
    samples = 9000 * np.sin(2 * np.pi * hertz * time) * np.sin(np.pi * time / time[-1]) ** 0.3
    noise = np.random.default_rng(100 * digit + index).standard_normal(len(time))
    return np.round(samples + 30 * noise).astype("<i2")


def wav(samples, size=None, **changes):
    """A WAV file; `size` is what its header says of its data."""
    file = io.BytesIO()
    with wave.open(file, "wb") as clip:
        clip.setnchannels(changes.get("channels", 1))
        clip.setsampwidth(changes.get("width", 2))
        clip.setframerate(changes.get("rate", 8000))
        clip.writeframes(samples.tobytes())
    content = bytearray(file.getvalue())
    if size is not None:
        content[40:44] = struct.pack("<I", size)
    return bytes(content)


def joined(clips):
    return np.concatenate([PAUSE, *(part for clip in clips for part in (clip, PAUSE))])


CLIPS = [tone(digit, 1) for digit in (3, 7, 0, 9, 7, 1)]
SOUND = joined(CLIPS)
KEYWORD = "seven"


def train(task):
    """A model that tells the tones apart."""
    torch.manual_seed(0)
    model, generator = untrained(task), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(80):
        x, target = task.batch(16, generator)
        optimizer.zero_grad()
        task.loss(model(x)[0], target).backward()
        optimizer.step()
    return model.eval()


def untrained(task):
    return SequenceModel(ModelConfig(**fitting(task), hidden_size=16, num_layers=1, initial_state="low"))


def build(task, model, place):
    """The folder of a run, and the program that is built from it, with sanitizers."""
    run, built = place / "run", place / "build"
    model.save(run)
    (run / "config.json").write_text(json.dumps(Experiment(task, model.config, TrainingConfig()).to_dict()))
    export_c(model, built, weights="int8")
    make_tables.write_tables(run, built / "tables.h")
    sources = [EXAMPLE / "spot.c", EXAMPLE / "mfcc.c", built / "model.c"]
    subprocess.run(["gcc", *STRICT, f"-I{built}", f"-I{EXAMPLE}", "-o", built / "spot", *sources, "-lm"], check=True)
    model = quantized(fold_states(model), 8)
    return SimpleNamespace(task=task, run=run, place=place, spot=built / "spot", model=model)


@pytest.fixture(scope="module", params=["spoken-digits", "keyword"])
def product(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("product")
    (place / "recordings").mkdir()
    for digit in range(10):
        for index in range(0, 14, 2):
            (place / "recordings" / f"{digit}_anna_{index}.wav").write_bytes(wav(tone(digit, index)))
    options = {"data_dir": str(place), "check": False, "standardise": "set"}
    task = SpokenDigits(**options) if request.param == "spoken-digits" else Keyword(KEYWORD, **options)
    return build(task, train(task), place)


def spot(program, *arguments, given=b""):
    done = subprocess.run([program, *arguments], input=given, capture_output=True)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def stream(program):
    return subprocess.Popen([program, "--raw"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)


def python_spot(samples, model, statistics, words, threshold=-55):
    """What the program is to print: utterances by loudness, the vote of their loud frames over the same model."""
    windows = np.lib.stride_tricks.sliding_window_view(samples.astype(np.int64), 200)[::80]
    loud = windows.var(1) / 32768**2 >= 10 ** (threshold / 10)
    mean, deviation = (value.numpy() for value in statistics)
    frames = torch.from_numpy((mfcc(samples / 32768, 8000) - mean) / deviation).float()
    found, times = [], np.flatnonzero(loud)
    breaks = np.flatnonzero(np.diff(times) > 25) + 1
    for part in np.split(times, breaks):
        first, last = part[0], part[-1]
        voting = part[part >= first + 2] - first - 2  # windows of the first two may reach into the pause
        if len(voting) < 5:
            continue
        said = step_outputs(model, frames[None, first + 2 : last + 1])[0].argmax(-1)[voting]
        votes = said.bincount(minlength=len(words))
        if words[votes.argmax()] is not None:
            found.append((first / 100, last / 100 + 0.025, words[votes.argmax()], int(votes.max()), len(voting)))
    return found


def check_same(text, expected):
    """Words and loud frames agree, times to what is printed; a vote may tip where two classes are equal."""
    lines = text.splitlines()
    assert len(lines) == len(expected)
    for line, (first, last, word, votes, voters) in zip(lines, expected, strict=True):
        found = LINE.fullmatch(line)
        assert found, line
        assert (found[3], int(found[5])) == (word, voters)
        assert abs(int(found[4]) - votes) <= 1
        assert abs(float(found[1]) - first) <= 0.0051
        assert abs(float(found[2]) - last) <= 0.0051


def test_clips_joined_by_pauses_are_found_and_named_as_python_does(product):
    words = make_tables.class_words(product.task)
    status, text, errors = spot(product.spot, "-", given=wav(SOUND))
    assert (status, errors) == (0, "")
    check_same(text, python_spot(SOUND, product.model, product.task.frame_statistics, words))
    named = ["three", "seven", "zero", "nine", "seven", "one"]
    if product.task.name == "keyword":
        named = [word for word in named if word == KEYWORD]
    assert [LINE.fullmatch(line)[3] for line in text.splitlines()] == named
    begins = np.cumsum([0.5] + [len(clip) / 8000 + 0.5 for clip in CLIPS])[:-1]
    if product.task.name == "spoken-digits":
        for line, begin, clip in zip(text.splitlines(), begins, CLIPS, strict=True):
            first, last = map(float, LINE.fullmatch(line).groups()[:2])
            assert abs(first - begin) < 0.03
            assert abs(last - begin - len(clip) / 8000) < 0.03


def test_any_chunks_and_any_way_of_reading_are_the_same_bytes(product):
    path = product.place / "sound.wav"
    path.write_bytes(wav(SOUND))
    expected = spot(product.spot, path)
    assert expected[1].count("\n") >= 2
    content = wav(SOUND)
    extra = content[:12] + b"LIST" + struct.pack("<I", 5) + b"INFO!\0" + content[12:] + b"LIST" + struct.pack("<I", 4)
    for arguments, given in (
        ([], content),
        (["-"], content),
        (["--raw"], SOUND.tobytes()),
        (["--raw", "-"], SOUND.tobytes() + b"\x7f"),
        ([], wav(SOUND, 0)),
        ([], wav(SOUND, 0xFFFFFFFF)),
        ([], wav(SOUND, 0x7FFFFF00)),
        ([], extra + b"\x7f" * 4),
    ):
        assert spot(product.spot, *arguments, given=given) == expected
    data = SOUND.tobytes()
    for chunk in (1, 333, 4097):
        with stream(product.spot) as program:
            for at in range(0, 5000, chunk):  # in single bytes at the beginning alone, as a write is slow
                program.stdin.write(data[at : min(at + chunk, 5000)])
            for at in range(5000, len(data), chunk + 96):
                program.stdin.write(data[at : at + chunk + 96])
            program.stdin.close()
            assert program.stdout.read().decode() == expected[1]


def test_a_line_comes_as_soon_as_the_pause_is_over(product):
    with stream(product.spot) as program:
        for _ in range(2):
            program.stdin.write(joined([tone(7, 1)]).tobytes()[:-3000])
            assert b"seven" in program.stdout.readline()
        program.stdin.close()
        assert program.wait() == 0


def test_a_click_is_no_utterance_a_noise_ends_and_a_quiet_sound_needs_a_lower_threshold(product):
    words = make_tables.class_words(product.task)
    click = joined([tone(7, 1)])
    click[1000:1040] = 9000
    status, text, _ = spot(product.spot, "--raw", given=click.tobytes())
    assert (status, text.count("\n")) == (0, 1)
    noise = tone(7, 1, count=8000 * 8)
    lines = spot(product.spot, "--raw", given=noise.tobytes())[1].splitlines()
    assert [LINE.fullmatch(line)[5] for line in lines] == ["298", "298", str((len(noise) - 200) // 80 + 1 - 602)]
    quiet = (click / 500).round().astype("<i2")
    assert spot(product.spot, "--raw", given=quiet.tobytes())[1] == ""
    text = spot(product.spot, "--raw", "--threshold", "-90", given=quiet.tobytes())[1]
    expected = python_spot(quiet, product.model, product.task.frame_statistics, words, -90)
    check_same(text, expected)


RULE = r"must be a WAV file of 16-bit PCM, 1 channel, 8000 samples a second, got"
GOOD = wav(CLIPS[0])
BAD = [
    (b"", f"{RULE} one that does not begin with RIFF and WAVE"),
    (b"RIFX" + GOOD[4:], f"{RULE} one that does not begin with RIFF and WAVE"),
    (GOOD[:8] + b"WAVY" + GOOD[12:], f"{RULE} one that does not begin with RIFF and WAVE"),
    (GOOD[:30], f"{RULE} one that ends within its format"),
    (GOOD[:16] + struct.pack("<I", 14) + GOOD[20:], f"{RULE} one that ends within its format"),
    (GOOD[:12], f"{RULE} one that ends before its data"),
    (GOOD[:36] + b"LIST" + struct.pack("<I", 0xFFFFFFFF) + GOOD[36:], f"{RULE} one that ends before its data"),
    (GOOD[:12] + GOOD[36:], f"{RULE} one with no format before its data"),
    (GOOD[:20] + b"\3" + GOOD[21:], f"{RULE} format 3 of 16 bits, 1 channel, 8000 a second"),
    (wav(CLIPS[0], channels=2), rf"{RULE} format 1 \(PCM\) of 16 bits, 2 channels, 8000 a second"),
    (wav(CLIPS[0], rate=16_000), rf"{RULE} format 1 \(PCM\) of 16 bits, 1 channel, 16000 a second"),
    (wav(CLIPS[0], width=1), rf"{RULE} format 1 \(PCM\) of 8 bits, 1 channel, 8000 a second"),
    (GOOD[:-100], r"must be as long as its header says, 2497\.0 samples, got 2447"),
    (wav(CLIPS[0], 4993), r"must be as long as its header says, 2496\.5 samples, got 2496"),
]


def test_what_is_wrong_is_one_line_and_status_2(product):
    path = product.place / "bad.wav"
    for content, message in BAD:
        path.write_bytes(content)
        for arguments, name in (([path], re.escape(str(path))), ([], "standard input")):
            status, text, errors = spot(product.spot, *arguments, given=content)
            assert status == 2
            assert re.fullmatch(rf"spot: {name} {message}\n", errors), errors
            assert text == "" or "as long as its header" in message
    usage = re.escape("usage: spot [--raw] [--threshold DB] [FILE]")
    for arguments, message in (
        (["none.wav"], "none.wav cannot be opened: No such file or directory"),
        (["--raw", str(product.place)], f"{product.place} cannot be read"),
        (["--loud"], f"there is no option `--loud`; {usage}"),
        (["a", "b"], f"there must be one file, got also `b`; {usage}"),
        (["--threshold"], f"`--threshold` must be decibels from -120 to 0, got ``; {usage}"),
        (["--threshold", "3"], f"`--threshold` must be decibels from -120 to 0, got `3`; {usage}"),
        (["--threshold", "nan"], f"`--threshold` must be decibels from -120 to 0, got `nan`; {usage}"),
        (["--threshold", "-5dB"], f"`--threshold` must be decibels from -120 to 0, got `-5dB`; {usage}"),
    ):
        status, text, errors = spot(product.spot, *arguments)
        assert (status, text) == (2, "")
        assert re.fullmatch(rf"spot: {message}\n", errors), errors


def test_tables_are_refused_for_what_is_there_or_is_no_such_run(product, tmp_path, monkeypatch, capsys):
    with pytest.raises(FileExistsError, match=r"`out` must not exist yet, got .*tables\.h"):
        make_tables.write_tables(product.run, product.place / "build" / "tables.h")
    config = (product.run / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"standardise": "set"', '"standardise": "clip"'))
    with pytest.raises(ValueError, match=r"`run` must standardise by constants, .* got 'clip' in"):
        make_tables.write_tables(tmp_path, tmp_path / "tables.h")
    monkeypatch.setattr(sys, "argv", ["make_tables.py", str(tmp_path / "none"), str(tmp_path / "tables.h")])
    assert make_tables.main() == 2
    assert capsys.readouterr().err.startswith("make_tables.py: the run's folder must exist, got")
    assert list(tmp_path.iterdir()) == [tmp_path / "config.json"]


@pytest.fixture
def make(tmp_path):
    """Runs make, for which this process runs `remanent`: a process of its own would import everything each time."""
    asked, answered = tmp_path / "asked", tmp_path / "answered"
    script = 'for each in "$@"; do echo "$each"; done > "$0/asked"; read status < "$0/answered"; exit $status'
    (tmp_path / "remanent").write_text(script.replace("$0", str(tmp_path)))
    os.mkfifo(asked)
    os.mkfifo(answered)

    def answer():
        while arguments := asked.read_text().splitlines():
            status = 1
            try:
                status = main(arguments)
            finally:
                answered.write_text(f"{status}\n")

    def run(*arguments):
        command = ["make", *arguments, f"PYTHON={sys.executable}", f"REMANENT=sh {tmp_path / 'remanent'}"]
        return subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True)

    thread = threading.Thread(target=answer)
    thread.start()
    yield run
    asked.write_text("")  # the thread ends
    thread.join()


def test_make_builds_the_same_program_from_a_run(product, make):
    if product.task.name == "keyword":
        return  # one is enough
    build = [f"RUN={product.run}", f"BUILD={product.place / 'made'}"]
    for _ in range(2):
        done = make(*build)
        assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stdout
    assert spot(product.place / "made" / "spot", given=wav(SOUND)) == spot(product.spot, given=wav(SOUND))
    for weights, changed in (("float32", True), ("float32", False), ("int8", True)):
        done = make(*build, f"WEIGHTS={weights}")
        assert done.returncode == 0, done.stderr
        assert ("Nothing to be done" in done.stdout) != changed
        assert f"{weights} weights" in (product.place / "made" / "model.c").read_text()
    done = make(f"RUN={product.place}", build[1])
    assert done.returncode == 2
    assert "RUN must be the folder of a finished training run, got" in done.stderr
    done = make()
    assert done.returncode == 2
    assert "RUN must be the folder of a training run: make RUN=../../runs/NAME" in done.stderr


def test_the_commands_of_the_readme_train_what_the_example_needs(capsys):
    text = (EXAMPLE / "README.md").read_text()
    commands = [shlex.split(line) for line in re.findall(r"^remanent (train .*)$", text, re.MULTILINE)]
    assert [command[1] for command in commands] == ["spoken-digits", "keyword"]
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            main([*command, "--print_config"])
        assert stop.value.code == 0
        assert "standardise: set" in capsys.readouterr().out


def frames_program(place, task):
    """A program that writes the frames of clips, by the tables of a task."""
    (place / "tables.h").write_text(make_tables.header(task))
    sources = [Path(__file__).parent / "frames.c", EXAMPLE / "mfcc.c"]
    subprocess.run(["gcc", *STRICT, f"-I{place}", f"-I{EXAMPLE}", "-o", place / "frames", *sources, "-lm"], check=True)
    return place / "frames"


def frames(program, clips, chunk):
    given = b"".join(np.int32(len(clip)).tobytes() + clip.tobytes() for clip in clips)
    done = subprocess.run([program, str(chunk)], input=given, capture_output=True, check=True)
    return np.frombuffer(done.stdout, "<f4").reshape(-1, 14)


@pytest.mark.parametrize(("dataset", "rate"), [("digits", 8000), ("speech-commands", 16_000)])
def test_features_agree_on_sounds_of_every_kind(dataset, rate, tmp_path):
    mean, deviation = torch.linspace(-2, 2, 13).double(), torch.linspace(0.5, 3, 13).double()
    task = SimpleNamespace(name="spoken-digits", dataset=dataset, frame_statistics=(mean, deviation))
    program = frames_program(tmp_path, task)
    rng = np.random.default_rng(0)
    time = np.arange(rate) / rate
    sounds = [
        np.zeros(rate),
        rng.standard_normal(rate) * 3000,
        rng.standard_normal(rate) * 3,
        32767 * np.sign(np.sin(2 * np.pi * 100 * time)),
        12_000 * np.sin(2 * np.pi * 900 * time * time) + 100 * rng.standard_normal(rate),
        500 + 30 * rng.standard_normal(rate),
        np.arange(rate) == 500,
        *(rng.standard_normal(n) * 300 for n in (1, rate // 40 - 1, rate // 40, rate // 40 + rate // 100)),
    ]
    clips = [np.clip(np.round(sound), -32768, 32767).astype("<i2") for sound in sounds]
    found = frames(program, clips, 1)
    for chunk in (79, 1000, 10**6):
        assert np.array_equal(frames(program, clips, chunk), found)
    whole = [clip for clip in clips if len(clip) >= rate // 40]
    expected = np.concatenate([(mfcc(clip / 32768, rate) - mean.numpy()) / deviation.numpy() for clip in whole])
    np.testing.assert_allclose(found[:, :13], expected, rtol=0, atol=1e-3)
    windows = [np.lib.stride_tricks.sliding_window_view(c / 32768, rate // 40)[:: rate // 100] for c in whole]
    np.testing.assert_allclose(found[:, 13], np.concatenate([w.var(1) for w in windows]), rtol=1e-6, atol=1e-15)


@needs_speech
def test_features_and_utterances_of_the_real_test_clips(tmp_path):
    task = SpokenDigits(data_dir=str(SPEECH), standardise="set")
    program = frames_program(tmp_path, task)
    clips = []
    with zipfile.ZipFile(SPEECH) as file:
        for name in sorted(file.namelist()):
            if re.search(r"_[0-4]\.wav$", name):
                with wave.open(io.BytesIO(file.read(name))) as clip:
                    clips.append(np.frombuffer(clip.readframes(clip.getnframes()), "<i2"))
    assert len(clips) == 300
    mean, deviation = (value.numpy() for value in task.frame_statistics)
    expected = np.concatenate([(mfcc(clip / 32768, 8000) - mean) / deviation for clip in clips])
    np.testing.assert_allclose(frames(program, clips, 4096)[:, :13], expected, rtol=0, atol=1e-4)
    sound = joined(clips[:60])
    torch.manual_seed(0)
    product = build(task, untrained(task).eval(), tmp_path)
    lines = spot(product.spot, "--raw", given=sound.tobytes())[1]
    check_same(lines, python_spot(sound, product.model, task.frame_statistics, make_tables.class_words(task)))
    assert lines.count("\n") == 60
    begin = 0.5
    for line, clip in zip(lines.splitlines(), clips, strict=False):
        end = begin + len(clip) / 8000
        first, last = map(float, LINE.fullmatch(line).groups()[:2])
        assert begin - 0.03 < first < last < end + 0.03
        begin = end + 0.5
