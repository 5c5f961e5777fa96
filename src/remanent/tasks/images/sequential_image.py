"""Sequential images: read an image by rows or pixels, wait, then name it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from remanent._identity import UNCOUNTED
from remanent._options import check_at_least, check_bool, check_choice, check_text
from remanent.tasks.base import StoredTask, Stream, check_examples, check_split, check_stop
from remanent.tasks.chunks import blocks, then_empty
from remanent.tasks.images.cifar import load_cifar
from remanent.tasks.images.image_sets import ImageSet, load_digits, load_mnist
from remanent.tasks.metrics import largest_share

DATASETS = {"digits": (8, 1), "mnist": (28, 1), "cifar-10": (32, 3), "cifar-10-grey": (32, 1)}
"""The choices of `SequentialImage.dataset`: the pixels of a side, and the colours of a pixel."""
READINGS = ("row", "pixel")
"""The choices of `SequentialImage.reading`."""


@dataclass(frozen=True)
class SequentialImage(StoredTask[ImageSet]):
    r"""Sequential image: an image step by step, then K empty steps of zeros; the answer after them is its class.

    Pixels are scaled to [-0.5, 0.5]. The metric is the accuracy.

    Args:
        dataset: "digits" (scikit-learn's 1,797 real digits of 8 x 8 pixels, which are installed), "mnist", "cifar-10",
            whose pixels have three colours, or "cifar-10-grey".
        reading: the input of a step, a "row" or a "pixel", with all its colours.
        permuted: whether pixels are in a fixed random order (seed 42).
        padding: K, the number of empty steps after the image, at least 0.
        examples: the number of training images that are used, the first ones in a fixed order, at least 1; None for
            all.
        data_dir: a folder with MNIST's IDX files or with cifar-10-binary.tar.gz; None for the folder that the
            environment variable REMANENT_DATA names, or to fetch them.
        check: whether the files must be those of MNIST or CIFAR-10, by their hashes. Without it, any images of the same
            size with labels 0 to 9 in files of the same names and form are taken, for "mnist" at most 300,000 in each
            split, for the others at most 100,000 in all.

    Raises:
        TypeError: an option is of another type.
        ValueError: an option is not among its choices or out of its range; or the data, when first read, is damaged
            or has another content.
        FileNotFoundError: the folder, when first read, does not hold the data.
        ConnectionError: the data cannot be fetched when first read.

    Source: Le, Jaitly, Hinton (2015), arXiv 1504.00941; with padding De Geeter et al. (2026); CIFAR-10 Krizhevsky
    (2009), in grey Tay et al. (2020), arXiv 2011.04006.

    >>> x, y = SequentialImage(padding=10).batch(2, torch.Generator().manual_seed(0))
    >>> x.shape, y.shape
    (torch.Size([2, 18, 8]), torch.Size([2]))
    """

    name = "sequential-image"
    metric = "accuracy"
    length_name = "empty steps"
    length_option = "padding"
    output_size = 10
    """Ten classes."""

    dataset: str = "digits"
    reading: str = "row"
    permuted: bool = False
    padding: int = 136
    examples: int | None = None
    data_dir: str | None = field(default=None, metadata=UNCOUNTED)
    check: bool = True

    def __post_init__(self) -> None:
        check_choice("dataset", self.dataset, DATASETS)
        check_choice("reading", self.reading, READINGS)
        check_bool("permuted", self.permuted)
        check_at_least("padding", self.padding, 0)
        if self.examples is not None:
            check_at_least("examples", self.examples, 1)
        check_text("data_dir", self.data_dir)
        check_bool("check", self.check)

    @property
    def length(self) -> int:
        """The number of empty steps trained with."""
        return self.padding

    @property
    def input_size(self) -> int:
        """The colours of one pixel, or of all pixels of a row."""
        side, colours = DATASETS[self.dataset]
        return colours if self.reading == "pixel" else side * colours

    @property
    def chance(self) -> float:
        """The share of the most frequent class in the test split."""
        return largest_share(self._data.classes[self._data.test])

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the images and labels; "" where they are known."""
        return "" if self.dataset == "digits" or self.check else self._data.fingerprint

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws different training images: inputs (B, T, M) and classes (B,)."""
        check_at_least("batch_size", batch_size, 1)
        data = self._data
        train = data.train if self.examples is None else data.train[: self.examples]
        if batch_size > len(train):
            raise ValueError(f"`batch_size` must be at most the {len(train)} training images, got {batch_size}")
        drawn = train[torch.randperm(len(train), generator=generator)[:batch_size]]
        x = self._steps(data.pixels(drawn))
        empty = x.new_zeros(batch_size, self.padding, x.shape[2])
        return torch.cat([x, empty], dim=1), data.classes[drawn]

    def split_size(self, split: str) -> int:
        """The number of images in the split."""
        check_split(split)
        return len(getattr(self._data, split))

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Gives the image in one piece, then the empty steps in blocks; the class comes last."""
        check_examples(split, start, stop)
        sizes = list(blocks(length, least=0))
        check_stop(split, stop, self.split_size(split), "images")
        data = self._data
        chosen = getattr(data, split)[start:stop]
        return then_empty(self._steps(data.pixels(chosen)), sizes, data.classes[chosen])

    def _steps(self, images: Tensor) -> Tensor:
        side, colours = DATASETS[self.dataset]
        pixels = images.reshape(len(images), side * side, colours)
        if self.permuted:
            pixels = pixels[:, torch.randperm(pixels.shape[1], generator=torch.Generator().manual_seed(42))]
        return pixels.reshape(len(images), -1, self.input_size)

    def _load(self) -> ImageSet:
        if self.dataset == "digits":
            data = load_digits()
        elif self.dataset == "mnist":
            data = load_mnist(self.data_dir, check=self.check)
        else:
            data = load_cifar(self.data_dir, grey=self.dataset == "cifar-10-grey", check=self.check)
        if self.examples is not None and self.examples > len(data.train):
            raise ValueError(f"`examples` must be at most the {len(data.train)} training images, got {self.examples}")
        return data


# FIX
