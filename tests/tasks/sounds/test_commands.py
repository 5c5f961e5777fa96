"""Speech Commands: lists that name no clip, and damaged clips, are refused before anything is trained."""

import pytest
import torch

from remanent.tasks import Keyword, SpokenDigits
from remanent.tasks.sounds.speech import WORDS
from speech_data import tone, wav, write_commands

NAME = "0a_nohash_0.wav"


@pytest.fixture
def folder(tmp_path):
    write_commands(tmp_path, (*WORDS, "dog"))
    return tmp_path


def open_task(folder, *options, make=SpokenDigits):
    task = make(*options, dataset="speech-commands", data_dir=str(folder))
    return task, task.split_size("test")


@pytest.mark.parametrize(
    "line",
    [
        f"./dog/{NAME}",
        f"dog\\{NAME}",
        f"speech_commands_v0.02/dog/{NAME}",
        f"/dog/{NAME}",
        f"dog//{NAME}",
        f"dog/../dog/{NAME}",
        f"dog/{NAME} ",
        f" dog/{NAME}",
        f"\ufeffdog/{NAME}",
        f"dog/._{NAME}",
        "dog",
    ],
)
def test_a_line_that_is_no_clip_is_named(folder, line):
    lines = (folder / "testing_list.txt").read_text().splitlines()
    lines.insert(0 if line.startswith("\ufeff") else 3, line)
    (folder / "testing_list.txt").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"testing_list\.txt:[14] must be a clip, written WORD/NAME\.wav, got "
    ) as error:
        open_task(folder)
    assert repr(line) in str(error.value)


@pytest.mark.parametrize("line", [f"dgo/{NAME}", "dog/none.wav", f"Dog/{NAME}"])
def test_a_clip_that_is_not_there_is_named_whatever_its_word(folder, line):
    with (folder / "validation_list.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(FileNotFoundError, match=f"must hold the clips in validation_list.txt, got none named {line}"):
        open_task(folder)


def test_lists_may_have_empty_lines_and_those_of_windows(folder):
    path = folder / "testing_list.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    assert open_task(folder)[1] == 20
    path.write_bytes(path.read_bytes() + b"\xff")
    with pytest.raises(ValueError, match=r"testing_list\.txt must be text in UTF-8, got .* 0xff"):
        open_task(folder)


def test_a_clip_in_both_lists_or_a_split_without_clips_is_refused(folder):
    listed = (folder / "validation_list.txt").read_text()
    with (folder / "testing_list.txt").open("a") as file:
        file.write("dog/0a_nohash_0.wav\n")
    with pytest.raises(ValueError, match=r"must list a clip for one split, got for both dog/0a_nohash_0\.wav"):
        open_task(folder)
    (folder / "testing_list.txt").write_text("dog/0a_nohash_1.wav\n")
    (folder / "validation_list.txt").write_text(listed)
    with pytest.raises(ValueError, match="must hold clips of these words in every split, got none for testing"):
        open_task(folder)
    assert open_task(folder, "dog", make=Keyword)[1] == 1


@pytest.mark.parametrize(("content", "reason"), [(b"RIFF", "it ends early"), (wav(tone(1)), "got 1, 16 and 8000")])
def test_a_damaged_clip_is_found_when_the_data_is_opened(folder, content, reason):
    (folder / "one" / "2c_nohash_1.wav").write_bytes(content)
    with pytest.raises(ValueError, match=rf"one/2c_nohash_1\.wav must .*{reason}"):
        open_task(folder)


def test_what_macos_keeps_beside_clips_is_passed_over(folder):
    for place in ("one", "__MACOSX", "__MACOSX/one"):
        (folder / place).mkdir(exist_ok=True)
        (folder / place / f"._{NAME}").write_bytes(b"\0\5\x16\7")
    task, size = open_task(folder)
    assert size == 20
    assert task.batch(30, torch.Generator())[0].shape[0] == 30


def test_clips_and_lists_that_changed_are_read_again(folder):
    task, size = open_task(folder)
    mark = task.fingerprint
    assert open_task(folder)[0].fingerprint == mark
    (folder / "one" / "2c_nohash_0.wav").write_bytes(wav(tone(3, 0, 0, 16_000), 16_000))
    assert open_task(folder)[0].fingerprint != mark
    path = folder / "testing_list.txt"
    path.write_text(path.read_text().replace("one/1b_nohash_0.wav\n", ""))
    assert (open_task(folder)[1], task.split_size("test"), size) == (19, 20, 20)
