"""Tasks: fixed splits that do not overlap, streams that extend, data that is checked."""

import gzip
import os
import struct

import pytest
import torch

from real_data import MNIST, needs_mnist
from remanent.tasks import CopyFirst, SequentialImage
from remanent.tasks.base import read_whole
from remanent.tasks.images.image_sets import load_digits


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_copy_first_answers_its_first_input():
    x, y = CopyFirst(steps=20_000).batch(4, generator())
    assert torch.equal(y, x[:, 0])
    assert abs(x.mean()) < 0.02
    assert abs(x.std() - 1) < 0.02
    x, target = read_whole(CopyFirst(), "validation", 0, 3, 300)
    assert torch.equal(x[:, 0], target)
    validation, test = (read_whole(CopyFirst(), s, 0, 512, 1)[1] for s in ("validation", "test"))
    assert not torch.equal(validation, test)
    assert CopyFirst().loss(torch.zeros(512, 1), test).item() == pytest.approx(1, abs=0.2)


def test_digit_splits_are_disjoint_and_whole():
    data = load_digits()
    everyone = torch.cat([data.train, data.validation, data.test])
    assert [len(s) for s in (data.train, data.validation, data.test)] == [1257, 180, 360]
    assert torch.equal(everyone.sort().values, torch.arange(1797))
    assert data.pixels(everyone).min() == -0.5
    assert data.pixels(everyone).max() == 0.5


def test_training_images_are_never_those_of_a_test():
    data = load_digits()
    held_out = {i.numpy().tobytes() for i in data.pixels(torch.cat([data.validation, data.test]))}
    same = {i.numpy().tobytes() for i in data.pixels(data.train)} & held_out
    x, _ = SequentialImage(padding=0).batch(1257, generator())
    drawn = {i.contiguous().numpy().tobytes() for i in x}
    assert (drawn & held_out) == same == set()


def test_rows_pixels_permutation_and_padding():
    data = load_digits()
    x, classes = read_whole(SequentialImage(padding=3), "test", 0, 5, 3)
    assert torch.equal(x[:, :8], data.pixels(data.test[:5]))
    assert torch.equal(x[:, 8:], torch.zeros(5, 3, 8))
    assert torch.equal(classes, data.classes[data.test[:5]])
    pixels = read_whole(SequentialImage(reading="pixel"), "test", 0, 5, 0)[0]
    assert torch.equal(pixels.squeeze(-1), data.pixels(data.test[:5]).flatten(1))
    order = torch.randperm(64, generator=generator(42))
    shuffled = read_whole(SequentialImage(reading="pixel", permuted=True), "test", 0, 5, 0)[0]
    assert torch.equal(shuffled, pixels[:, order])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CopyFirst(steps=0), ValueError, "`steps` must be at least 1, got 0"),
        (lambda: CopyFirst(steps=2.5), TypeError, "`steps` must be an int, got 2.5"),
        (lambda: CopyFirst().stream("train", 0, 1, 5), ValueError, "`split` must be one of validation, test, got"),
        (lambda: CopyFirst().stream("test", 0, 1, 0), ValueError, "`length` must be at least 1, got 0"),
        (lambda: SequentialImage(dataset="cifar"), ValueError, "`dataset` must be one of digits, mnist, cifar-10, ci"),
        (lambda: SequentialImage(reading="column"), ValueError, "`reading` must be one of row, pixel, got 'column'"),
        (lambda: SequentialImage(padding=-1), ValueError, "`padding` must be at least 0, got -1"),
        (lambda: SequentialImage().batch(1258, generator()), ValueError, "`batch_size` must be at most the 1257"),
    ],
)
def test_bad_options_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


def idx(values):
    header = b"\0\0\x08" + bytes([values.dim()]) + struct.pack(f">{values.dim()}I", *values.shape)
    return header + values.to(torch.uint8).numpy().tobytes()


def write_mnist(folder, *, zipped=False, train=24, test=6):
    images = torch.arange((train + test) * 784).reshape(-1, 28, 28) % 256
    classes = torch.arange(train + test) % 10
    files = {
        "train-images-idx3-ubyte": idx(images[:train]),
        "train-labels-idx1-ubyte": idx(classes[:train]),
        "t10k-images-idx3-ubyte": idx(images[train:]),
        "t10k-labels-idx1-ubyte": idx(classes[train:]),
    }
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / (name + ".gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return images, classes


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_from_idx_files(tmp_path, zipped, monkeypatch):
    images, classes = write_mnist(tmp_path / "MNIST" / "raw", zipped=zipped)
    monkeypatch.setenv("REMANENT_DATA", str(tmp_path))
    options = {"padding": 2, "check": False}
    for task in (SequentialImage("mnist", data_dir=str(tmp_path), **options), SequentialImage("mnist", **options)):
        x, target = read_whole(task, "test", 0, 6, 2)
        assert torch.equal(x[:, :28], images[24:].float() / 255 - 0.5)
        assert torch.equal(target, classes[24:])
        assert task.split_size("validation") == 2
        assert task.input_size == 28


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b\x08\x00rest", "must be an IDX file of bytes, got one that starts with 1f8b0800"),
        (b"\0\0\x08\x03\0\0", "must hold 3 sizes, got 6 bytes in all"),
        (b"\0\0\x08\x01\0\0\0\x05ab", "must hold 5 values, got 2"),
    ],
)
def test_corrupt_idx_files_are_refused(tmp_path, content, message):
    write_mnist(tmp_path / "raw")
    (tmp_path / "raw" / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        SequentialImage("mnist", data_dir=str(tmp_path)).split_size("test")


def test_a_folder_without_mnist_is_refused(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="`data_dir` or REMANENT_DATA must hold the MNIST file train-images-idx3-ubyte"
    ):
        SequentialImage("mnist", data_dir=str(tmp_path)).split_size("test")


def test_without_a_folder_or_a_network_the_error_says_what_to_do(monkeypatch, tmp_path):
    import pooch

    def fail(*args, **options):
        raise OSError("no network")

    monkeypatch.delenv("REMANENT_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(ConnectionError, match=r"could not be fetched from .*no network.*--data-dir or REMANENT_DATA"):
        SequentialImage("mnist").split_size("test")


def test_a_fetched_file_of_another_content_is_refused(monkeypatch, tmp_path):
    import pooch

    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"other"))
    monkeypatch.delenv("REMANENT_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", lambda *args, **options: str(path))
    with pytest.raises(ValueError, match=r"must hold train-images-idx3-ubyte with SHA-256 .* got another content"):
        SequentialImage("mnist").split_size("test")


@needs_mnist
def test_the_real_mnist():
    task = SequentialImage("mnist", data_dir=os.fspath(MNIST))
    assert (task.split_size("validation"), task.split_size("test")) == (5000, 10_000)
    x, y = task.batch(64, generator())
    assert x.shape == (64, 28 + 136, 28)
    assert set(y.tolist()) <= set(range(10))
    assert task.chance == pytest.approx(0.1135)


@needs_mnist
def test_the_hashes_are_those_of_the_real_files():
    import hashlib

    from remanent.tasks.images.image_sets import MNIST_FILES

    for name, (_, sha256) in MNIST_FILES.items():
        assert hashlib.sha256((MNIST / name).read_bytes()).hexdigest() == sha256
