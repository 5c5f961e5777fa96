"""The Pathfinder images of the Long Range Arena release, in a folder of the user."""

import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent.tasks.fetching import data_folder

DIFFICULTIES = ("curv_baseline", "curv_contour_length_9", "curv_contour_length_14")
"""The folders of the release, by the length of the curves."""
WHERE = "the Long Range Arena release (github.com/google-research/long-range-arena)"
"""The source of the images, for errors."""


class PathfinderFiles(NamedTuple):
    """The paths of the images, their classes (N,), and the numbers of the images in each split."""

    paths: list[str]
    classes: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor


def load_pathfinder(data_dir: str | None, size: int, difficulty: str) -> PathfinderFiles:
    """The images of a size and a difficulty in `data_dir`, else in the folder that REMANENT_DATA names.

    Four fifths are for training, a tenth each for validation and test. Empty files, of
    which the release has a few, are left out.

    Raises:
        FileNotFoundError: the folder does not exist, or does not hold the images.
        ValueError: a line of their list is damaged, or an image in the list is missing.
    """
    folder = data_folder(data_dir)
    if folder is None:
        raise FileNotFoundError(
            f"Pathfinder's images are not fetched, since they are large: get {WHERE} and name its folder by "
            "--data-dir or REMANENT_DATA"
        )
    return _load(_find(Path(folder), size, difficulty))


def read_pictures(paths: list[str], size: int) -> Tensor:
    """Grey images in [-0.5, 0.5], (N, size, size).

    Raises:
        ValueError: a file is not an image, or has another size.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'images need Pillow: pip install "remanent[train]" ({error})') from None

    pixels = np.empty((len(paths), size, size), np.uint8)
    for i, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                grey = np.asarray(image.convert("L"))
        except (OSError, SyntaxError) as error:
            raise ValueError(f"{path} must be an image, got {error}") from None
        if grey.shape != (size, size):
            raise ValueError(f"{path} must have {size} x {size} pixels, got {' x '.join(map(str, grey.shape[::-1]))}")
        pixels[i] = grey
    return torch.from_numpy(pixels).float() / 255 - 0.5


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


@cache
def _load(folder: Path) -> PathfinderFiles:
    paths: list[str] = []
    classes: list[int] = []
    for record in sorted((folder / "metadata").glob("*.npy"), key=lambda path: (len(path.stem), path.stem)):
        for path, joined in _read_list(record, folder):
            paths.append(path)
            classes.append(joined)
    if len(paths) < 10:
        raise ValueError(f"{folder / 'metadata'} must list at least 10 images, got {len(paths)}")
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))
    tenth = len(paths) // 10
    return PathfinderFiles(paths, torch.tensor(classes), order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth])


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
        path = folder / fields[0] / fields[1]
        try:
            empty = path.stat().st_size == 0
        except OSError:
            raise ValueError(f"{record}:{number} must name an image that exists, got {path}") from None
        if not empty:
            images.append((os.fspath(path), int(fields[3])))
    return images
