"""CIFAR-10: a tiny archive of its form, read byte by byte; one that is damaged or another is rejected by name."""

import gzip
import hashlib
import io
import os
import random
import tarfile

import pytest
import torch

from remanent.tasks import SequentialImage
from remanent.tasks.base import read_whole
from remanent.tasks.images import cifar

FOLDER = "cifar-10-batches-bin/"
TRAIN = [f"{FOLDER}data_batch_{i}.bin" for i in range(1, 6)]
TEST = f"{FOLDER}test_batch.bin"


def records(count, seed=0):
    """Images of random bytes, each after its label."""
    draw = random.Random(seed)
    return [(i % 10, draw.randbytes(3072)) for i in range(count)]


def join(images):
    return b"".join(bytes([label]) + pixels for label, pixels in images)


def write(folder, files=(), *, seed=0):
    """Writes an archive with four images in each of five files and six for the test, some of them of other content."""
    images = records(26, seed)
    whole = {name: join(images[4 * i : 4 * i + 4]) for i, name in enumerate(TRAIN)} | {TEST: join(images[20:])}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in (whole | dict(files)).items():
            if content is not None:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "cifar-10-binary.tar.gz").write_bytes(packed.getvalue())
    return images


def task(folder, dataset="cifar-10", **options):
    return SequentialImage(dataset, data_dir=os.fspath(folder), **({"check": False, "padding": 0} | options))


def scaled(byte):
    return torch.tensor(byte).float() / 255 - 0.5


def colours(pixels, row, column):
    """Red, green and blue of a pixel, where they stand in a record."""
    return [pixels[1024 * colour + 32 * row + column] for colour in range(3)]


def test_pixels_have_three_colours_and_rows_have_all_of_their_pixels(tmp_path):
    images = write(tmp_path)
    pixels, classes = read_whole(task(tmp_path, reading="pixel"), "test", 0, 6, 0)
    rows, _ = read_whole(task(tmp_path), "test", 0, 6, 0)
    assert classes.tolist() == [label for label, _ in images[20:]]
    assert (pixels.shape, rows.shape) == ((6, 1024, 3), (6, 32, 96))
    for i, (_, content) in enumerate(images[20:]):
        for row, column in ((0, 0), (0, 31), (31, 0), (17, 5)):
            expected = scaled(colours(content, row, column))
            assert torch.equal(pixels[i, 32 * row + column], expected)
            assert torch.equal(rows[i, row, 3 * column : 3 * column + 3], expected)
    assert (task(tmp_path, reading="pixel").input_size, task(tmp_path).input_size) == (3, 96)


def test_grey_is_what_pillow_makes_of_the_colours(tmp_path):
    from PIL import Image

    images = write(tmp_path)
    grey = task(tmp_path, "cifar-10-grey", reading="pixel", padding=4)
    x, classes = grey.batch(18, torch.Generator().manual_seed(0))
    assert (grey.input_size, x.shape) == (1, (18, 1028, 1))
    assert torch.equal(x[:, 1024:], torch.zeros(18, 4, 1))
    expected = {}
    for label, content in images[:20]:
        image = Image.merge(
            "RGB", [Image.frombytes("L", (32, 32), content[i * 1024 : i * 1024 + 1024]) for i in range(3)]
        )
        expected[scaled(list(image.convert("L").tobytes())).numpy().tobytes()] = label
    found = [expected[row.contiguous().numpy().tobytes()] for row in x[:, :1024, 0]]
    assert found == classes.tolist()
    assert task(tmp_path, "cifar-10-grey").input_size == 32


def test_splits_are_disjoint_and_whole_and_permuted_pixels_keep_their_colours(tmp_path):
    images = write(tmp_path)
    data = task(tmp_path)._data
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 6)
    assert torch.cat([data.train, data.validation, data.test]).sort().values.tolist() == list(range(26))
    assert [data.classes[i].item() for i in data.train] == [images[i][0] for i in data.train]
    plain, _ = read_whole(task(tmp_path, reading="pixel"), "validation", 0, 2, 0)
    shuffled, _ = read_whole(task(tmp_path, reading="pixel", permuted=True), "validation", 0, 2, 0)
    assert torch.equal(shuffled, plain[:, torch.randperm(1024, generator=torch.Generator().manual_seed(42))])


def test_an_archive_of_another_content_is_rejected_unless_it_is_wanted(tmp_path, monkeypatch):
    write(tmp_path)
    with pytest.raises(ValueError, match=r"gz must be cifar-10-binary.tar.gz with SHA-256 c4a3\w+ \(check=False takes"):
        task(tmp_path, check=True).split_size("test")
    before = task(tmp_path).fingerprint
    assert task(tmp_path).fingerprint == before != ""
    content = (tmp_path / "cifar-10-binary.tar.gz").read_bytes()
    monkeypatch.setattr(cifar, "CIFAR_SHA256", hashlib.sha256(content).hexdigest())
    known = task(tmp_path, check=True)
    assert (known.split_size("test"), known.fingerprint) == (6, "")
    write(tmp_path, seed=1)
    assert task(tmp_path).fingerprint != before


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({TRAIN[4]: None}, "gz must hold the file cifar-10-batches-bin/data_batch_5.bin, got none"),
        ({TEST: b""}, "test_batch.bin in .* must hold images of 3073 bytes each, got 0 bytes in all"),
        ({TEST: bytes(3072)}, "test_batch.bin in .* must hold images of 3073 bytes each, got 3072 bytes in all"),
        ({TEST: bytes([10]) + bytes(3072)}, "test_batch.bin in .* must hold labels 0 to 9, got 10"),
        ({name: join(records(1)) for name in TRAIN}, "gz must hold at least 10 images for training, got 5"),
    ],
)
def test_archives_of_another_form_are_rejected(tmp_path, files, message):
    write(tmp_path, files)
    with pytest.raises(ValueError, match=message):
        task(tmp_path).split_size("test")


def test_files_that_are_no_archive_or_hold_too_much_are_rejected(tmp_path, monkeypatch):
    write(tmp_path)
    path = tmp_path / "cifar-10-binary.tar.gz"
    whole = path.read_bytes()
    with monkeypatch.context() as changed:
        changed.setattr(cifar, "MOST_BYTES", 50_000)
        with pytest.raises(ValueError, match="must hold at most 50000 bytes, got more"):
            task(tmp_path).split_size("test")
    for content, message in (
        (whole[:-20], "must be a whole file packed by gzip"),
        (b"no gzip", "must be a whole file packed by gzip"),
        (gzip.compress(b"no archive"), "must be a tar archive packed by gzip, got another content"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            task(tmp_path).split_size("test")


def test_a_link_in_place_of_a_file_is_rejected(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo(TRAIN[0])
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(packed.getvalue())
    with pytest.raises(ValueError, match=r"must hold the file cifar-10-batches-bin/data_batch_1\.bin, got none"):
        task(tmp_path).split_size("test")


def test_a_folder_without_the_archive_and_a_failing_network_are_named(tmp_path, monkeypatch):
    import pooch

    def fail(*args, **options):
        raise OSError("no network")

    with pytest.raises(
        FileNotFoundError, match=r"`data_dir` or REMANENT_DATA must hold cifar-10-binary\.tar\.gz, got /"
    ):
        task(tmp_path).split_size("test")
    monkeypatch.delenv("REMANENT_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(ConnectionError, match=r"CIFAR-10 could not be fetched .*that holds cifar-10-b"):
        SequentialImage("cifar-10").split_size("test")


def test_what_is_fetched_is_checked_by_its_hash(monkeypatch):
    import pooch

    asked = []
    monkeypatch.delenv("REMANENT_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", lambda *args, **options: asked.append(args) or "nowhere")
    with pytest.raises(FileNotFoundError):
        SequentialImage("cifar-10").split_size("test")
    address, known = asked[0]
    assert address == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert known == f"sha256:{cifar.CIFAR_SHA256}"
    assert len(cifar.CIFAR_SHA256) == 64
