"""Sequential images: read an image by rows or pixels, wait, then name it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from remanent._identity import UNCOUNTED
from remanent._options import check_at_least, check_choice
from remanent.tasks.base import Stream, Task, blocks, check_split, largest_share, then_empty
from remanent.tasks.images.image_sets import ImageSet, load_digits, load_mnist

DATASETS = ("digits", "mnist")
"""The choices of `SequentialImage.dataset`."""
READINGS = ("row", "pixel")
"""The choices of `SequentialImage.reading`."""


@dataclass(frozen=True)
class SequentialImage(Task):
    r"""Sequential image: an image step by step, then K empty steps of zeros; the answer after them is its class.

    Pixels are scaled to [-0.5, 0.5]. The metric is the accuracy.

    Args:
        dataset: "digits" (scikit-learn's 1,797 real digits of 8 x 8 pixels, which are installed) or "mnist".
        reading: the input of a step, a "row" or a "pixel".
        permuted: whether pixels are in a fixed random order (seed 42).
        padding: K, the number of empty steps after the image, at least 0.
        examples: the number of training images that are used, the first ones in a fixed order, at least 1; None for
            all.
        data_dir: a folder with MNIST's IDX files; None for the folder that the environment variable REMANENT_DATA
            names, or to fetch them.

    Raises:
        ValueError: an option is not among its choices or out of its range.

    Source: Le, Jaitly, Hinton (2015), arXiv 1504.00941; with padding De Geeter et al. (2026).

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

    def __post_init__(self) -> None:
        check_choice("dataset", self.dataset, DATASETS)
        check_choice("reading", self.reading, READINGS)
        check_at_least("padding", self.padding, 0)
        if self.examples is not None:
            check_at_least("examples", self.examples, 1)

    @property
    def length(self) -> int:
        """The number of empty steps trained with."""
        return self.padding

    @property
    def input_size(self) -> int:
        """One pixel, or the pixels of a row."""
        if self.reading == "pixel":
            return 1
        return {"digits": 8, "mnist": 28}[self.dataset]

    @property
    def chance(self) -> float:
        """The share of the most frequent class in the test split."""
        data = self._data()
        return largest_share(data.classes[data.test])

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws different training images: inputs (B, T, M) and classes (B,)."""
        data = self._data()
        train = data.train if self.examples is None else data.train[: self.examples]
        if batch_size > len(train):
            raise ValueError(f"`batch_size` must be at most the {len(train)} training images, got {batch_size}")
        drawn = train[torch.randperm(len(train), generator=generator)[:batch_size]]
        x = self._steps(data.images[drawn])
        empty = x.new_zeros(batch_size, self.padding, x.shape[2])
        return torch.cat([x, empty], dim=1), data.classes[drawn]

    def split_size(self, split: str) -> int:
        """The number of images in the split."""
        check_split(split)
        return len(getattr(self._data(), split))

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Gives the image in one piece, then the empty steps in blocks; the class comes last."""
        check_split(split)
        sizes = list(blocks(length, least=0))
        data = self._data()
        chosen = getattr(data, split)[start:stop]
        return then_empty(self._steps(data.images[chosen]), sizes, data.classes[chosen])

    def _steps(self, images: Tensor) -> Tensor:
        pixels = images.flatten(1)
        if self.permuted:
            pixels = pixels[:, torch.randperm(pixels.shape[1], generator=torch.Generator().manual_seed(42))]
        return pixels.reshape(len(images), -1, self.input_size)

    def _data(self) -> ImageSet:
        return load_digits() if self.dataset == "digits" else load_mnist(self.data_dir)
