"""Image sets as tensors: scikit-learn's digits, and MNIST from IDX files or the network."""

import gzip
import hashlib
import struct
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent.tasks.fetching import data_folder, fetch

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


class ImageSet(NamedTuple):
    """Images (N, height, width) in [-0.5, 0.5], their classes (N,), and the numbers of the images in each split."""

    images: Tensor
    classes: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor


@cache
def load_digits() -> ImageSet:
    """The 1,797 digits of 8 x 8 pixels in scikit-learn: 1,257 for training, 180 for validation, 360 for test."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'the digits need scikit-learn: pip install "remanent[train]" ({error})') from None

    digits = load_digits()
    images = torch.from_numpy(digits.images).float() / 16 - 0.5
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return ImageSet(images, torch.from_numpy(digits.target).long(), order[:1257], order[1257:1437], order[1437:])


def load_mnist(data_dir: str | None) -> ImageSet:
    """MNIST from `data_dir`, else from the folder that REMANENT_DATA names, else fetched and checked."""
    return _load_mnist(data_folder(data_dir))


@cache
def _load_mnist(folder: str | None) -> ImageSet:
    """55,000 images for training, 5,000 for validation, the official 10,000 for test."""
    arrays = [_read_idx(path) for path in _find_mnist(folder)]
    images = np.concatenate([arrays[0], arrays[2]])
    classes = np.concatenate([arrays[1], arrays[3]])
    if images.ndim != 3 or classes.ndim != 1 or len(images) != len(classes):
        raise ValueError(f"MNIST must hold one label an image, got shapes {images.shape} and {classes.shape}")
    split = len(arrays[0])
    order = torch.randperm(split, generator=torch.Generator().manual_seed(0))
    held_out = split // 12
    return ImageSet(
        torch.from_numpy(images).float() / 255 - 0.5,
        torch.from_numpy(classes).long(),
        order[held_out:],
        order[:held_out],
        torch.arange(split, len(images)),
    )


def _find_mnist(folder: str | None) -> list[Path]:
    """The four files in the folder of the user, else fetched and checked."""
    if folder is None:
        return [_fetch(name, *hashes) for name, hashes in MNIST_FILES.items()]
    places = [Path(folder), Path(folder) / "raw", Path(folder) / "MNIST" / "raw"]
    found = []
    for name in MNIST_FILES:
        candidates = [place / (name + ending) for place in places for ending in ("", ".gz")]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            raise FileNotFoundError(
                f"`data_dir` or REMANENT_DATA must hold the MNIST file {name} (or {name}.gz), also in raw/ or "
                f"MNIST/raw/, got {folder}"
            )
        found.append(path)
    return found


def _fetch(name: str, md5: str, sha256: str) -> Path:
    path = fetch("MNIST", MNIST_URL, name + ".gz", f"md5:{md5}", "its IDX files")
    if hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest() != sha256:
        raise ValueError(f"{path} must hold {name} with SHA-256 {sha256}, got another content")
    return path


def _read_idx(path: Path) -> np.ndarray:
    """An array of bytes from an IDX file: 0, 0, 8, rank, then the sizes, then the values."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} must be an IDX file of bytes, got one that starts with {content[:4].hex()}")
    rank = content[3]
    if len(content) < 4 + 4 * rank:
        raise ValueError(f"{path} must hold {rank} sizes, got {len(content)} bytes in all")
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if values.size != np.prod(shape):
        raise ValueError(f"{path} must hold {np.prod(shape)} values, got {values.size}")
    return values.reshape(shape)
