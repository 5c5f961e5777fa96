"""Image sets as tensors: scikit-learn's digits, and MNIST from IDX files or the network."""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent.tasks.fetching import data_folder, fetch
from remanent.tasks.versions import version_of

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_FILES = {  # name: (MD5 of the .gz that is fetched, SHA-256 of the file in it)
    "train-images-idx3-ubyte": (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": (
        "d53e105ee54ea40749a09fcbcd1e9432",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte": (
        "9fb629c4189551a2d022fa330f9573f3",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": (
        "ec29112dd5afa0611ce80d1b7f02629c",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}


SIDE = 28
"""The pixels of a side of MNIST's images."""
MOST_IMAGES = 300_000
"""The most images that one file may hold, five times as many as MNIST's; so many pixels bound what is unpacked."""


class ImageSet(NamedTuple):
    """Images with their classes and splits.

    Attributes:
        images: pixels as they are stored, uint8 (N, height, width), or with three colours (N, height, width, 3).
        white: the value of the brightest pixel there may be; 0 is the darkest.
        classes: the class of each image, int64 (N,).
        train: the numbers of the training images.
        validation: the numbers of the validation images.
        test: the numbers of the test images.
        fingerprint: the SHA-256 of the files that hold them; "" for the digits, which are installed.
    """

    images: Tensor
    white: int
    classes: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor
    fingerprint: str

    def pixels(self, numbers: Tensor) -> Tensor:
        """The images of these numbers, (B, height, width) or (B, height, width, 3), in [-0.5, 0.5]."""
        return self.images[numbers].float() / self.white - 0.5


@cache
def load_digits() -> ImageSet:
    """The 1,797 digits of 8 x 8 pixels in scikit-learn: 1,257 for training, 180 for validation, 360 for test."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'the digits need scikit-learn: pip install "remanent[train]" ({error})') from None

    digits = load_digits()
    images, classes = torch.from_numpy(digits.images).to(torch.uint8), torch.from_numpy(digits.target).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return ImageSet(images, 16, classes, order[:1257], order[1257:1437], order[1437:], "")


def load_mnist(data_dir: str | None, *, check: bool) -> ImageSet:
    """MNIST from `data_dir`, else from the folder that REMANENT_DATA names, else fetched.

    Args:
        data_dir: the place of the data.
        check: whether the files must be those of MNIST, by their hashes; else they may hold other images of its form.

    Raises:
        FileNotFoundError: the folder does not hold the files.
        ConnectionError: the files cannot be fetched.
        ValueError: a file is damaged, or has another content than it must have.
    """
    paths = _find_mnist(data_folder(data_dir))
    return _load_mnist(tuple(str(path.absolute()) for path in paths), version_of(paths), check)


@lru_cache(maxsize=2)
def _load_mnist(paths: tuple[str, ...], version: str, check: bool) -> ImageSet:
    """55,000 images for training, 5,000 for validation, the official 10,000 for test."""
    hashes = [sha256 for _, sha256 in MNIST_FILES.values()]
    arrays, found = [], []
    for path, name, sha256 in zip(map(Path, paths), MNIST_FILES, hashes, strict=True):
        array, digest = read_idx(path)
        if check and digest != sha256:
            rule = f"{path} must hold {name} with SHA-256 {sha256} (check=False takes other images)"
            raise ValueError(f"{rule}, got another content")
        arrays.append(array)
        found.append(digest)
    _check_split(paths[:2], *arrays[:2], least=12)  # a twelfth is held out
    _check_split(paths[2:], *arrays[2:], least=1)
    return split_bytes(arrays[::2], arrays[1::2], len(arrays[0]) // 12, " ".join(found))


def split_bytes(images: Sequence[np.ndarray], classes: Sequence[np.ndarray], held_out: int, digests: str) -> ImageSet:
    """A set of images of one byte for each value, whose training images are shuffled once and partly held out.

    Args:
        images: those for training, and those for the test, each uint8 (N, height, width) or with a last axis of 3.
        classes: the classes of both, each (N,).
        held_out: the number of training images that are the validation split.
        digests: the hashes of the files.
    """
    count = len(images[0])
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return ImageSet(
        torch.from_numpy(np.concatenate(images)),
        255,
        torch.from_numpy(np.concatenate(classes)).long(),
        order[held_out:],
        order[:held_out],
        torch.arange(count, count + len(images[1])),
        hashlib.sha256(digests.encode()).hexdigest(),
    )


def _check_split(paths: Sequence[str], images: np.ndarray, classes: np.ndarray, *, least: int) -> None:
    """Raises unless the files of a split hold images of MNIST's size, each with a label from 0 to 9."""
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE) or len(images) < least:
        rule = f"{paths[0]} must hold at least {least} images of {SIDE} x {SIDE} pixels"
        raise ValueError(f"{rule}, got shape {images.shape}")
    if classes.shape != images.shape[:1]:
        rule = f"{paths[1]} must hold one label for each of the {len(images)} images in {Path(paths[0]).name}"
        raise ValueError(f"{rule}, got shape {classes.shape}")
    if classes.max() > 9:
        raise ValueError(f"{paths[1]} must hold labels 0 to 9, got {classes.max()}")


def _find_mnist(folder: str | None) -> list[Path]:
    """The four files in one folder of the user, else fetched and checked."""
    if folder is None:
        return [_fetch(name, *hashes) for name, hashes in MNIST_FILES.items()]
    missing = []
    for place in (Path(folder), Path(folder) / "raw", Path(folder) / "MNIST" / "raw"):
        candidates = [[place / (name + ending) for ending in ("", ".gz")] for name in MNIST_FILES]
        found = [next((path for path in paths if path.is_file()), None) for paths in candidates]
        if None not in found:
            return [path for path in found if path is not None]
        missing.append(found.index(None))
    name = list(MNIST_FILES)[max(missing)]
    raise FileNotFoundError(
        f"`data_dir` or REMANENT_DATA must hold the MNIST file {name} (or {name}.gz) beside the others, also in "
        f"raw/ or MNIST/raw/, got {folder}"
    )


def _fetch(name: str, md5: str, sha256: str) -> Path:
    path = fetch("MNIST", MNIST_URL, name + ".gz", f"md5:{md5}", "its IDX files")
    if hashlib.sha256(read_unpacked(path, 16 + MOST_IMAGES * SIDE**2)).hexdigest() != sha256:
        raise ValueError(f"{path} must hold {name} with SHA-256 {sha256}, got another content")
    return path


def read_idx(path: Path) -> tuple[np.ndarray, str]:
    """Reads an array of bytes from an IDX file: 0, 0, 8, rank, then the sizes, then the values.

    No more is unpacked than the sizes say, nor than the largest file may hold.

    Args:
        path: the file; its content is packed by gzip where its name ends in .gz.

    Returns:
        The array, and the SHA-256 of the unpacked file.

    Raises:
        ValueError: the file is not a whole IDX file of bytes, or holds more than `MOST_IMAGES` images do.
    """
    header = read_unpacked(path, 4)
    if header[:3] != b"\0\0\x08" or len(header) < 4:
        raise ValueError(f"{path} must be an IDX file of bytes, got one that starts with {header.hex()}")
    rank = header[3]
    begin = 4 + 4 * rank
    header = read_unpacked(path, begin)
    if len(header) < begin:
        raise ValueError(f"{path} must hold {rank} sizes, got {len(header)} bytes in all")
    shape = struct.unpack(f">{rank}I", header[4:])
    size = math.prod(shape)
    if size > MOST_IMAGES * SIDE**2:
        raise ValueError(f"{path} must hold at most {MOST_IMAGES * SIDE**2} values, got the sizes {shape}")
    content = read_unpacked(path, begin + size + 1)
    values = np.frombuffer(content, np.uint8, offset=begin)
    if values.size != size:
        raise ValueError(f"{path} must hold {size} values, got {values.size if values.size < size else 'more'}")
    return values.reshape(shape), hashlib.sha256(content).hexdigest()


def read_unpacked(path: Path, most: int) -> bytes:
    """At most so many bytes from the beginning of a file, unpacked where its name ends in .gz."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(most)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        size = path.stat().st_size
        raise ValueError(f"{path} must be a whole file packed by gzip ({error}), got {size} bytes") from None
