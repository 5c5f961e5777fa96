"""What every task offers: batches to train on, and fixed sequences of any length to be judged by."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from remanent._options import check_choice

if TYPE_CHECKING:
    from torchmetrics import Metric

SPLITS = ("validation", "test")
BLOCK = 1000
"""Steps in a chunk of an evaluation stream."""


class Task(ABC):
    """A sequence to read, and what is to be said after its last step.

    A task is a frozen dataclass of its options. Training batches come from a generator and never
    end; validation and test hold fixed examples, the same on every machine and at every length, and
    a longer sequence of an example begins with the shorter one.
    """

    name: ClassVar[str]
    metric: ClassVar[str]
    """ "mse", of which less is better, or "accuracy", of which more is."""
    length_name: ClassVar[str]
    """What `length` counts."""

    @property
    @abstractmethod
    def length(self) -> int:
        """The length trained at."""

    @property
    @abstractmethod
    def input_size(self) -> int:
        """M, the features of a step."""

    @property
    @abstractmethod
    def output_size(self) -> int:
        """Values to be said."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """The metric of the best answer that ignores the input."""

    @property
    @abstractmethod
    def perfect(self) -> float:
        """The metric of a perfect model."""

    @abstractmethod
    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws training inputs (B, T, M) and targets (B, 1) or classes (B,)."""

    @abstractmethod
    def split_size(self, split: str) -> int:
        """How many examples "validation" or "test" holds."""

    @abstractmethod
    def stream(self, split: str, start: int, stop: int, length: int) -> tuple[Iterator[Tensor], Tensor]:
        """The examples `start` to `stop` of a split at a length.

        Returns:
            An iterator over inputs (B, at most 1000, M) that make up the whole sequence, and the
            targets, as `batch` gives them.
        """

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The training loss of outputs (B, output_size), a scalar."""
        if self.metric == "accuracy":
            return F.cross_entropy(output, target)
        return F.mse_loss(output, target)

    def make_metric(self) -> "Metric":
        """A fresh torchmetrics object for this task's metric."""
        from torchmetrics import MeanSquaredError
        from torchmetrics.classification import MulticlassAccuracy

        if self.metric == "accuracy":
            return MulticlassAccuracy(self.output_size, average="micro")
        return MeanSquaredError()


def derive_seed(*parts: str | int) -> int:
    """A seed of 63 bits for a named purpose, the same on every machine.

    >>> derive_seed("copy-first", "test", 0) == derive_seed("copy-first", "test", 0)
    True
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def check_split(split: str) -> None:
    """Raises unless the split is one of `SPLITS`."""
    check_choice("split", split, SPLITS)
