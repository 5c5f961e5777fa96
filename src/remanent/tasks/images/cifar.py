"""CIFAR-10 as tensors, from its archive of plain bytes in a folder of the user or from the network."""

import hashlib
import io
import tarfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from remanent.tasks.fetching import data_folder, fetch
from remanent.tasks.images.image_sets import ImageSet, read_unpacked, split_bytes
from remanent.tasks.versions import version_of

CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"
CIFAR_FILE = "cifar-10-binary.tar.gz"
"""The archive without pickles: a stranger's pickle can run any program."""
CIFAR_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
"""The hash of the archive, whose MD5 is c32a1d4ab5d03f1284b67883e8d87530 on the authors' page."""
TRAIN_FILES = tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6))
TEST_FILE = "cifar-10-batches-bin/test_batch.bin"
SIDE, COLOURS = 32, 3
RECORD = 1 + COLOURS * SIDE**2
"""The bytes of an image: its class, then all red values row by row, all green ones, all blue ones."""
MOST_IMAGES = 100_000
"""The most images that an archive may hold; so many bound what is unpacked."""
MOST_BYTES = MOST_IMAGES * RECORD + 2**20
"""The most bytes that an archive may hold, with its list of files and the two texts beside the images."""
GREY = (19595, 38470, 7471)
"""The weights of red, green and blue in grey (ITU-R BT.601), in 65,536ths, as Pillow has them."""


def load_cifar(data_dir: str | None, *, grey: bool, check: bool) -> ImageSet:
    """CIFAR-10 from `data_dir`, else from the folder that REMANENT_DATA names, else fetched.

    Of the training images a tenth is for validation. The official test images are for the test.

    Args:
        data_dir: the folder that holds cifar-10-binary.tar.gz.
        grey: whether the three colours of a pixel are made one grey value.
        check: whether the archive must be that of CIFAR-10, by its hash; else it may hold other images of its form.

    Raises:
        FileNotFoundError: the folder does not hold the archive.
        ConnectionError: the archive cannot be fetched.
        ValueError: the archive is damaged, or has another content than it must have.
    """
    path = _find(data_folder(data_dir))
    return _load(str(path.absolute()), version_of([path]), grey, check)


def _find(folder: str | None) -> Path:
    if folder is None:
        return fetch("CIFAR-10", CIFAR_URL, CIFAR_FILE, f"sha256:{CIFAR_SHA256}", CIFAR_FILE)
    path = Path(folder) / CIFAR_FILE
    if not path.is_file():
        raise FileNotFoundError(f"`data_dir` or REMANENT_DATA must hold {CIFAR_FILE}, got {folder}")
    return path


@lru_cache(maxsize=2)
def _load(path: str, version: str, grey: bool, check: bool) -> ImageSet:
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if check and digest != CIFAR_SHA256:
        rule = f"{path} must be {CIFAR_FILE} with SHA-256 {CIFAR_SHA256} (check=False takes other images)"
        raise ValueError(f"{rule}, got {digest}")
    archive = _open(Path(path))
    *train, test = (_read_batch(archive, name, path) for name in (*TRAIN_FILES, TEST_FILE))
    count = sum(map(len, train))
    if count < 10:
        raise ValueError(f"{path} must hold at least 10 images for training, got {count}")
    # file by file, so that the sums of grey need little memory beside the images
    images = [np.concatenate([_pixels(records, grey) for records in split]) for split in (train, [test])]
    classes = [np.concatenate([records[:, 0] for records in split]) for split in (train, [test])]
    return split_bytes(images, classes, count // 10, digest)


def _open(path: Path) -> tarfile.TarFile:
    content = read_unpacked(path, MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path} must hold at most {MOST_BYTES} bytes, got more")
    try:
        return tarfile.open(fileobj=io.BytesIO(content), mode="r:")
    except tarfile.TarError as error:
        raise ValueError(f"{path} must be a tar archive packed by gzip, got another content ({error})") from None


def _read_batch(archive: tarfile.TarFile, name: str, path: str) -> np.ndarray:
    """The records of one file of the archive, uint8 (N, `RECORD`)."""
    try:
        file = archive.extractfile(name)
    except (KeyError, tarfile.TarError) as error:
        raise ValueError(f"{path} must hold the file {name}, got none ({error})") from None
    if file is None:
        raise ValueError(f"{path} must hold the file {name}, got something else of that name")
    content = np.frombuffer(file.read(), np.uint8)
    if not len(content) or len(content) % RECORD:
        raise ValueError(f"{name} in {path} must hold images of {RECORD} bytes each, got {len(content)} bytes in all")
    records = content.reshape(-1, RECORD)
    if records[:, 0].max() > 9:
        raise ValueError(f"{name} in {path} must hold labels 0 to 9, got {records[:, 0].max()}")
    return records


def _pixels(records: np.ndarray, grey: bool) -> np.ndarray:
    """The pixels of images, uint8 (N, 32, 32, 3), or (N, 32, 32) in grey."""
    planes = records[:, 1:].reshape(-1, COLOURS, SIDE, SIDE)
    if not grey:
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    red, green, blue = (weight * planes[:, i].astype(np.uint32) for i, weight in enumerate(GREY))
    return ((red + green + blue + 2**15) >> 16).astype(np.uint8)
