"""MNIST's files: another content, form or amount is refused by name, and little is unpacked of a large file."""

import gzip
import os
import struct
import tracemalloc

import pytest
import torch

from real_data import MNIST, needs_mnist
from remanent.tasks import SequentialImage
from remanent.tasks.base import read_whole

TRAIN, TEST = 24, 6
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(*sizes, content=None, fill=3):
    amount = torch.Size(sizes).numel()
    return struct.pack(f">4B{len(sizes)}I", 0, 0, 8, len(sizes), *sizes) + (
        bytes([fill]) * amount if content is None else content
    )


def write(folder, files=(), *, fill=3):
    """Writes small files of MNIST's form, some of them with another content."""
    whole = {
        NAMES[0]: idx(TRAIN, 28, 28, fill=fill),
        NAMES[1]: idx(TRAIN, content=bytes(i % 10 for i in range(TRAIN))),
        NAMES[2]: idx(TEST, 28, 28, fill=fill),
        NAMES[3]: idx(TEST, content=bytes(i % 10 for i in range(TEST))),
    }
    folder.mkdir(exist_ok=True, parents=True)
    for name, content in (whole | dict(files)).items():
        (folder / name).write_bytes(content)
    return whole


def mnist(folder, **options):
    return SequentialImage("mnist", padding=0, data_dir=os.fspath(folder), **({"check": False} | options))


def first_pixel(task):
    return round(255 * (read_whole(task, "test", 0, 1, 0)[0][0, 0, 0].item() + 0.5))


def test_files_of_another_content_are_refused_unless_they_are_wanted(tmp_path):
    write(tmp_path)
    rule = rf"{NAMES[0]} must hold {NAMES[0]} with SHA-256 ba89\w+ \(check=False takes other images\), got another cont"
    with pytest.raises(ValueError, match=rule):
        mnist(tmp_path, check=True).split_size("test")
    task = mnist(tmp_path)
    assert (task.split_size("validation"), task.split_size("test"), first_pixel(task)) == (2, TEST, 3)


@needs_mnist
def test_the_real_files_with_the_labels_of_the_splits_swapped_are_refused(tmp_path):
    for name, source in zip(NAMES, (NAMES[0], NAMES[3], NAMES[2], NAMES[1]), strict=True):
        (tmp_path / name).symlink_to(MNIST / source)
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte must hold train-labels-idx1-ubyte with SHA-256"):
        mnist(tmp_path, check=True).split_size("test")
    with pytest.raises(ValueError, match=r"must hold one label for each of the 60000 images .*, got shape \(10000,\)"):
        mnist(tmp_path).split_size("test")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({NAMES[1]: idx(TEST), NAMES[3]: idx(TRAIN)}, rf"{NAMES[1]} must hold one label for each of the 24 images in "),
        (
            {NAMES[3]: idx(TEST - 1)},
            rf"{NAMES[3]} must hold one label for each of the 6 images in {NAMES[2]}, got shape",
        ),
        (
            {NAMES[0]: idx(TRAIN, 14, 14)},
            rf"{NAMES[0]} must hold at least 12 images of 28 x 28 pixels, got shape \(24, 1",
        ),
        (
            {NAMES[0]: idx(TRAIN, 784)},
            rf"{NAMES[0]} must hold at least 12 images of 28 x 28 pixels, got shape \(24, 784",
        ),
        (
            {NAMES[0]: idx(0, 28, 28), NAMES[1]: idx(0)},
            rf"{NAMES[0]} must hold at least 12 images of 28 x 28 pixels, g",
        ),
        (
            {NAMES[2]: idx(0, 28, 28), NAMES[3]: idx(0)},
            rf"{NAMES[2]} must hold at least 1 images of 28 x 28 pixels, got",
        ),
        (
            {NAMES[1]: idx(TRAIN, 1)},
            rf"{NAMES[1]} must hold one label for each of the 24 images .*, got shape \(24, 1\)",
        ),
        ({NAMES[3]: idx(TEST, fill=10)}, rf"{NAMES[3]} must hold labels 0 to 9, got 10"),
        ({NAMES[2]: idx(TEST, 28, 28) + b"x"}, rf"{NAMES[2]} must hold 4704 values, got more"),
        (
            {NAMES[2]: idx(2**32 - 1, 28, 28, content=b"")},
            r"must hold at most 235200000 values, got the sizes \(429496729",
        ),
        (
            {NAMES[2]: struct.pack(">4B", 0, 0, 8, 255) + b"\xff" * 1020},
            "must hold at most 235200000 values, got the si",
        ),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, files, message):
    write(tmp_path, files)
    with pytest.raises(ValueError, match=message):
        mnist(tmp_path).split_size("test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(TEST, 28, 28), r"\(Not a gzipped file"),
        (b"", "must be an IDX file of bytes, got one that starts with $"),
        (gzip.compress(idx(TEST, 28, 28), mtime=0)[:-9], r"\(Compressed file ended before"),
        (gzip.compress(idx(TEST, 28, 28), mtime=0)[:-8] + bytes(8), r"\(CRC check failed"),
        (gzip.compress(idx(TEST, 28, 28), mtime=0)[:10] + b"\xff" * 50, r"\(Error -3 while decompressing"),
    ],
    ids=["plain", "empty", "cut", "changed", "broken"],
)
def test_files_that_gzip_did_not_pack_whole_are_named(tmp_path, content, message):
    write(tmp_path)
    (tmp_path / NAMES[2]).unlink()
    (tmp_path / f"{NAMES[2]}.gz").write_bytes(content)
    rule = "" if message.startswith("must") else "must be a whole file packed by gzip "
    with pytest.raises(ValueError, match=rf"{NAMES[2]}\.gz {rule}{message}"):
        mnist(tmp_path).split_size("test")


def test_no_more_is_unpacked_than_the_file_says(tmp_path):
    write(tmp_path)
    (tmp_path / NAMES[2]).unlink()
    (tmp_path / f"{NAMES[2]}.gz").write_bytes(gzip.compress(idx(TEST, 28, 28) + bytes(2**26), 1))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="must hold 4704 values, got more"):
            mnist(tmp_path).split_size("test")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_files_come_from_one_folder(tmp_path):
    write(tmp_path)
    (tmp_path / NAMES[3]).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"must hold the MNIST file {NAMES[3]} \(or {NAMES[3]}.gz\) beside the"
    ):
        mnist(tmp_path).split_size("test")
    write(tmp_path / "raw", fill=9)
    assert first_pixel(mnist(tmp_path)) == 9


def test_a_new_task_sees_files_that_changed_and_an_old_one_keeps_its_own(tmp_path, monkeypatch):
    write(tmp_path / "a" / "data", fill=1)
    write(tmp_path / "b" / "data", fill=2)
    monkeypatch.chdir(tmp_path / "a")
    first = mnist("data")
    assert first_pixel(first) == 1
    monkeypatch.chdir(tmp_path / "b")
    assert first_pixel(mnist("data")) == 2
    write(tmp_path / "b" / "data", fill=5)
    assert first_pixel(mnist("data")) == 5
    assert first_pixel(first) == 1


def test_other_images_count_by_their_content(tmp_path):
    write(tmp_path)
    before = mnist(tmp_path).fingerprint
    assert mnist(tmp_path).fingerprint == before != ""
    write(tmp_path, fill=4)
    assert mnist(tmp_path).fingerprint != before
    assert mnist(tmp_path, check=True).fingerprint == SequentialImage().fingerprint == ""


def test_more_training_images_than_there_are_are_not_used(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match="`examples` must be at most the 22 training images, got 23"):
        mnist(tmp_path, examples=23).split_size("test")
    assert mnist(tmp_path, examples=22).batch(22, torch.Generator())[0].shape == (22, 28, 28)
