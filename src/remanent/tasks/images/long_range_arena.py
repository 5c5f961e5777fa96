"""The Pathfinder images of the Long Range Arena release, in a folder of the user."""

import hashlib
import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent.tasks.fetching import data_folder
from remanent.tasks.versions import version_of

DIFFICULTIES = ("curv_baseline", "curv_contour_length_9", "curv_contour_length_14")
"""The folders of the release, by the length of the curves."""
WHERE = "the Long Range Arena release (github.com/google-research/long-range-arena)"
"""The source of the images, for errors."""


class PathfinderFiles(NamedTuple):
    """Images in files, with their classes and splits.

    Attributes:
        paths: the path of each image.
        classes: the class of each image, int64 (N,).
        train: the numbers of the training images.
        validation: the numbers of the validation images.
        test: the numbers of the test images.
        fingerprint: the SHA-256 of the images and their classes.
    """

    paths: list[str]
    classes: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor
    fingerprint: str


def load_pathfinder(data_dir: str | None, size: int, difficulty: str) -> PathfinderFiles:
    """The images of a size and a difficulty in `data_dir`, else in the folder that REMANENT_DATA names.

    Four fifths are for training, a tenth each for validation and test. Empty files, of
    which the release has a few, are left out. Every image is read once, so that a damaged one is found here; that
    takes a process some seconds for each 100,000 of them.

    Raises:
        FileNotFoundError: the folder does not exist, or does not hold the images.
        ValueError: a line of their list is damaged, or an image in the list is missing, damaged, of another size, or
            listed twice.
    """
    folder = data_folder(data_dir)
    if folder is None:
        raise FileNotFoundError(
            f"Pathfinder's images are not fetched, since they are large: get {WHERE} and name its folder by "
            "--data-dir or REMANENT_DATA"
        )
    return _load(_find(Path(folder), size, difficulty), size)


def read_pictures(paths: list[str], size: int) -> Tensor:
    """Grey images in [-0.5, 0.5], (N, size, size).

    Raises:
        ValueError: a file is not an image, or has another size.
    """
    pixels = np.stack([_read_picture(path, size) for path in paths])
    return torch.from_numpy(pixels).float() / 255 - 0.5


def _read_picture(path: str, size: int) -> np.ndarray:
    """The grey pixels of a PNG file, uint8 (size, size); those of another size are not unpacked."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'images need Pillow: pip install "remanent[train]" ({error})') from None

    try:
        with Image.open(path, formats=("PNG",)) as image:
            found = image.size
            if found == (size, size):
                return np.asarray(image.convert("L"))
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} must be an image, got {error}") from None
    raise ValueError(f"{path} must have {size} x {size} pixels, got {' x '.join(map(str, found))}")


def _find(folder: Path, size: int, difficulty: str) -> Path:
    """The folder that holds imgs/ and metadata/, from any folder on the way to it."""
    way = ("lra_release", f"pathfinder{size}", difficulty)
    places = [folder.joinpath(*way[i:]) for i in range(3)]
    if folder.name == difficulty:
        places.append(folder)
    for place in places:
        if (place / "metadata").is_dir():
            return place
    raise FileNotFoundError(
        f"`data_dir` or REMANENT_DATA must hold {'/'.join(way)}/metadata, or what follows one of these folders, "
        f"got {folder}; it is part of {WHERE}"
    )


def _load(folder: Path, size: int) -> PathfinderFiles:
    paths: list[str] = []
    classes: list[int] = []
    records = (path for path in (folder / "metadata").glob("*.npy") if not path.name.startswith("."))
    for record in sorted(records, key=lambda path: (len(path.stem), path.stem)):
        for path, joined in _read_list(record, folder):
            paths.append(path)
            classes.append(joined)
    if len(paths) < 10:
        raise ValueError(f"{folder / 'metadata'} must list at least 10 images, got {len(paths)}")
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(f"{folder / 'metadata'} must list an image once, got twice {twice}")
    fingerprint = _check_pictures(tuple(paths), tuple(classes), size, version_of(map(Path, paths)))
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))
    tenth = len(paths) // 10
    train, validation, test = order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth]
    return PathfinderFiles(paths, torch.tensor(classes), train, validation, test, fingerprint)


@lru_cache(maxsize=4)
def _check_pictures(paths: tuple[str, ...], classes: tuple[int, ...], size: int, version: str) -> str:
    """Reads every image, and gives the hash of their pixels and classes."""
    digest = hashlib.sha256()
    for path, joined in zip(paths, classes, strict=True):
        digest.update(_read_picture(path, size).tobytes() + bytes([joined]))
    return digest.hexdigest()


def _read_list(record: Path, folder: Path) -> list[tuple[str, int]]:
    """The images of one list, which is plain text in spite of its name, and whether their dots are joined."""
    try:
        lines = record.read_bytes().decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{record} must be text in UTF-8, got {error}") from None
    images = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) < 4 or fields[3] not in ("0", "1"):
            raise ValueError(f"{record}:{number} must be a folder, a file, a number and a class 0 or 1, got {line!r}")
        path = Path(os.path.normpath(folder / fields[0] / fields[1]))
        if not path.is_relative_to(os.path.normpath(folder)):
            raise ValueError(f"{record}:{number} must name an image in {folder}, got {path}")
        try:
            empty = path.stat().st_size == 0
        except OSError:
            raise ValueError(f"{record}:{number} must name an image that exists, got {path}") from None
        if not empty:
            images.append((os.fspath(path), int(fields[3])))
    return images
