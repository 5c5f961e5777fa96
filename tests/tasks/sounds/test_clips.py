"""Recordings: WAV files, folders and zips that are damaged, too large, or beside what macOS leaves; each is named."""

import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from remanent.tasks import Keyword, SpokenDigits
from remanent.tasks.sounds import clips
from remanent.tasks.sounds.clips import FolderClips, ZipClips, read_samples
from speech_data import RECORDINGS, tone, wav, write_digits

PLAIN = wav([1, -2, 3])
EXTENSIBLE = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 8000, 16_000, 2, 16, 22, 16, 4, 1) + bytes.fromhex(
    "000000001000800000aa00389b71"
)


def chunk(kind, content, size=None):
    size = len(content) if size is None else size
    return kind + struct.pack("<I", size) + content + b"\0" * (len(content) % 2)


def riff(*chunks):
    content = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


FORM = PLAIN[12:36]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        riff(chunk(b"LIST", b"odd"), FORM, chunk(b"fact", b"abcd"), PLAIN[36:]),
        riff(chunk(b"fmt ", EXTENSIBLE), PLAIN[36:]),
        PLAIN + chunk(b"LIST", b"later", 2**32 - 1),
    ],
    ids=["none", "before", "extensible", "after"],
)
def test_other_chunks_are_passed_over(content):
    assert np.array_equal(read_samples(content, "a.wav", 8000) * 32768, [1, -2, 3])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            riff(FORM, chunk(b"LIST", b"abcd", 2**32 - 1), PLAIN[36:]),
            "its chunk b'LIST' should have 4294967295 bytes, ",
        ),
        (riff(chunk(b"LIST", b"", 2**32 - 1)), "its chunk b'LIST' should have 4294967295 bytes, and 0 are left"),
        (riff(chunk(b"fmt ", FORM[8:16]), PLAIN[36:]), "its chunk b'fmt ' has 8 bytes"),
        (riff(chunk(b"fmt ", b"\x55" + FORM[9:]), PLAIN[36:]), "unknown format: 85"),
        (riff(chunk(b"fmt ", EXTENSIBLE[:-1] + b"!"), PLAIN[36:]), "unknown format: 65534"),
        (riff(FORM), "it ends early"),
        (riff(FORM) + b"data", "it ends early"),
        (riff(PLAIN[36:]), "it ends early"),
        (PLAIN[:20], "its chunk b'fmt ' should have 16 bytes, and 0 are left"),
        (b"\0\5\x16\7" + bytes(100), "it begins with "),
    ],
    ids=range(10),
)
def test_a_file_that_is_no_whole_wav_says_why(content, reason):
    with pytest.raises(ValueError, match=r"^a\.wav must be a WAV file of 16-bit samples, got another") as error:
        read_samples(content, "a.wav", 8000)
    assert f"({reason}" in str(error.value)


def test_a_stream_of_unknown_length_does_not_hold_its_samples():
    with pytest.raises(ValueError, match=r"a\.wav must hold its 2147483647 samples, got 2"):
        read_samples(riff(FORM, chunk(b"data", b"abcd", 2**32 - 1)), "a.wav", 8000)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_macos_keeps_beside_recordings_is_passed_over(tmp_path, kind):
    place = write_digits(tmp_path / ("data.zip" if kind == "zip" else "data"), top="digits/")
    own = bytes.fromhex("00051607") + bytes(100)
    for name in ("digits/recordings/._0_anna_0.wav", "__MACOSX/recordings/._0_anna_0.wav", "__MACOSX/recordings/x.wav"):
        if kind == "zip":
            with zipfile.ZipFile(place, "a") as file:
                file.writestr(name, own)
        else:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(own)
    task = SpokenDigits(data_dir=str(place), check=False)
    assert (task.split_size("validation"), task.split_size("test")) == (40, 60)


def written(path, name="recordings/0_anna_0.wav", content=RECORDINGS["0_anna_0.wav"], *, method=8, flags=0, declared=8):
    """A zip of one recording, whose two headers say what they are given."""
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr(name, content)
    changed = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = changed.index(signature) + offset
        changed[place] |= flags
        changed[place + 2] = method if declared == 8 else declared
    path.write_bytes(changed)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flags": 1}, "one that is encrypted"),
        ({"declared": 9}, "one packed by deflate64"),
        ({"declared": 77}, "one packed by method 77"),
        ({"method": zipfile.ZIP_BZIP2}, "one packed by bzip2"),
        ({"method": zipfile.ZIP_LZMA}, "one packed by lzma"),
        ({"content": bytes(2**21 + 1)}, "one of 2097153 bytes, above 2097152"),
    ],
)
def test_a_recording_that_cannot_be_unpacked_is_named_before_it_is_read(tmp_path, options, message):
    rule = r"a\.zip must hold recordings that are plain or packed by deflate, got for recordings/0_anna_0\.wav "
    with pytest.raises(ValueError, match=rule + message):
        SpokenDigits(data_dir=str(written(tmp_path / "a.zip", **options)), check=False).split_size("test")


def test_a_recording_that_is_there_twice_is_named(tmp_path):
    path = written(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("b/recordings/0_anna_0.wav", PLAIN)
    with pytest.raises(
        ValueError, match=r"got for b/recordings/0_anna_0\.wav also recordings/0_anna_0\.wav, of the sa"
    ):
        ZipClips(path, "recordings")


def test_little_is_unpacked_of_a_large_recording(tmp_path):
    path = written(tmp_path / "a.zip", content=bytes(2**25))
    changed = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):  # it says that it is small
        place = changed.index(signature) + offset
        changed[place : place + 4] = struct.pack("<I", 2000)
    path.write_bytes(changed)
    tracemalloc.start()
    try:
        with pytest.raises(
            ValueError, match=r"a\.zip must hold whole recordings, got a damaged 0_anna_0\.wav \(Bad CRC"
        ):
            ZipClips(path, "recordings").read("0_anna_0.wav")
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_recordings_have_a_largest_size_in_all(tmp_path, monkeypatch):
    path = write_digits(tmp_path / "a.zip", {f"{i}_anna_0.wav": wav([0] * 1000) for i in range(10)})
    monkeypatch.setattr(clips, "MOST_IN_ALL", 10_000)
    with pytest.raises(ValueError, match=r"a\.zip must hold at most 10000 bytes of recordings, got 20440"):
        ZipClips(path, "recordings")
    monkeypatch.setattr(clips, "MOST_IN_ALL", 1000)
    with pytest.raises(ValueError, match=r"a\.zip must have at most 1000 bytes, got \d+"):
        ZipClips(path, "recordings")
    (tmp_path / "a.wav").write_bytes(bytes(2**21 + 1))
    with pytest.raises(ValueError, match=r"a\.wav must have at most 2097152 bytes, got 2097153"):
        FolderClips(tmp_path).read("a.wav")


def test_recordings_of_one_split_alone_are_refused(tmp_path):
    early = {name: content for name, content in RECORDINGS.items() if int(name[:-4].split("_")[2]) < 10}
    with pytest.raises(ValueError, match="must hold recordings of every split, got none numbered from 10 on"):
        SpokenDigits(data_dir=str(write_digits(tmp_path, early)), check=False).split_size("test")


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_new_task_hears_recordings_that_changed_and_an_old_one_keeps_its_own(tmp_path, kind, monkeypatch):
    name = "data.zip" if kind == "zip" else "data"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        changed = {"0_anna_0.wav": wav(tone(5 if folder == "b" else 6))}
        write_digits(tmp_path / folder / name, RECORDINGS | changed)

    def heard(task):
        return next(task.stream("test", 0, 1, 0))[0]

    monkeypatch.chdir(tmp_path / "a")
    first, other = (SpokenDigits(data_dir=name, check=False) for _ in range(2))
    before, mark = heard(first), first.fingerprint
    assert torch.equal(heard(other), before)
    monkeypatch.chdir(tmp_path / "b")
    second = Keyword(data_dir=name, check=False)
    assert not torch.equal(heard(second), before)
    assert second.fingerprint != mark
    if kind == "folder":
        (tmp_path / "b" / name / "recordings" / "0_anna_0.wav").write_bytes(wav(tone(6)))
    else:
        write_digits(tmp_path / "b" / name, RECORDINGS | {"0_anna_0.wav": wav(tone(6))})
    assert torch.equal(heard(SpokenDigits(data_dir=name, check=False)), before)
    assert torch.equal(heard(first), before)
    assert SpokenDigits(data_dir=name).fingerprint == ""
