"""What every task offers: batches to train on, and fixed sequences of any length to be judged by."""

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from remanent._options import check_at_least, check_choice
from remanent.models import Names, Statistics
from remanent.tasks.metrics import IGNORED, METRICS

SPLITS = ("validation", "test")
"""The splits of every task; training batches are drawn without end."""

GENERATED = 512
"""The number of examples in each split of a generated task."""

Data = TypeVar("Data")
Stream = Iterator[tuple[Tensor, Tensor | None]]
"""Chunks of sequences in order of time: inputs, and targets where the chunk holds any."""


class PaddedBatch(NamedTuple):
    """Training inputs and targets, and how many steps of each sequence are real, int64 (B,); None where all are."""

    x: Tensor
    y: Tensor
    lengths: Tensor | None


class Task(ABC):
    """Sequences to read, and what a model must answer at every step or after the last one.

    A task is a frozen dataclass of its options. Training batches are drawn from a generator, without
    end; validation and test hold fixed examples, which are the same on every machine. What is abstract here
    may be a class attribute or a property of a subclass.

    Inputs are numbers, (B, T, M), or tokens, int64 (B, T). Targets are, where `head` is "last", one
    class, (B,), or values, (B, O); where it is "every", classes (B, T) or values (B, T, O), with
    `IGNORED` or NaN at the steps that ask for nothing.
    """

    name: ClassVar[str]
    """The name in `TASKS` and in configurations."""
    metric: ClassVar[str]
    """The name of the score in `METRICS`."""
    length_name: ClassVar[str]
    """What `length` counts, in words."""
    head: ClassVar[str] = "last"
    """Where a model answers: after the "last" step, or at "every" step."""
    tokens: ClassVar[bool] = False
    """Whether inputs are tokens."""
    length_option: ClassVar[str | None] = None
    """The option that `length` is, which a curriculum changes; None for a task of fixed length."""
    letters_option: ClassVar[str | None] = None
    """The option that says of how many letters words are made, None where that cannot be changed."""
    continues: ClassVar[bool] = False
    """Whether training can read long streams, window by window, as `stream_windows` gives them."""
    extends: ClassVar[bool] = True
    """Whether a longer sequence of an example begins with the shorter one."""
    ragged: ClassVar[bool] = False
    """Whether sequences differ in their lengths, which `padded_batch` and `lengths` then give."""
    standardised: ClassVar[bool] = False
    """Whether the task has `statistics`."""
    statistics: ClassVar[Statistics | None] = None
    """Means and deviations of the training part, by which a model standardises."""
    endless: ClassVar[bool] = False
    """Whether any number of examples beyond the size of a split can be drawn."""

    @property
    @abstractmethod
    def length(self) -> int:
        """The length of the training sequences, in what `length_name` says."""

    @property
    @abstractmethod
    def input_size(self) -> int:
        """M, the features of a step; or the number of tokens."""

    @property
    @abstractmethod
    def output_size(self) -> int:
        """O, the number of values to answer with, or of classes to choose from."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """The metric of the best answer that ignores the input."""

    @property
    def perfect(self) -> float:
        """The metric of a perfect model."""
        return METRICS[self.metric].best

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of a model's outputs; none where they have no names."""
        return ()

    @property
    def names(self) -> Names:
        """What a model keeps of the names of its inputs and outputs."""
        return Names(classes=self.class_names)

    @property
    def summary(self) -> str:
        """What was read of files of the user's own, in words; "" where there are none."""
        return ""

    @property
    def fingerprint(self) -> str:
        """The hash of the user's files that the task reads and that nothing else checks; "" if there are none."""
        return ""

    @property
    def longest(self) -> int | None:
        """The longest length that `stream` accepts; None if there is no limit."""
        return None

    @abstractmethod
    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws training inputs and targets.

        Raises:
            TypeError: `batch_size` is not an int.
            ValueError: `batch_size` is below 1.
        """

    def padded_batch(self, batch_size: int, generator: torch.Generator) -> PaddedBatch:
        """Draws what `batch` gives, with the lengths of sequences that padding fills up to the longest one."""
        return PaddedBatch(*self.batch(batch_size, generator), None)

    def lengths(self, split: str, start: int, stop: int) -> Tensor | None:
        """How many steps of the examples `start` to `stop` of a split are real, int64 (B,); None where all count.

        Where there are lengths, `stream` gives each batch in one piece, which padding fills up to its longest example.
        """
        return None

    def stream_windows(
        self, number: int, rows: list[int], streams: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The windows of a training step, each of which begins where that of the step before has ended.

        Args:
            number: the number of the step, from 0.
            rows: the numbers of the streams that are read.
            streams: how many streams there are in all.
            generator: draws where the streams begin; it must be the same for every step.

        Returns:
            Inputs and targets in the form of `batch`.

        Raises:
            ValueError: the task's sequences do not go on, since `continues` is false.
        """
        raise ValueError(f"the task {self.name} must have sequences that go on, got one that `continues` not")

    @abstractmethod
    def split_size(self, split: str) -> int:
        """The number of examples in "validation" or "test"."""

    @abstractmethod
    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Gives the examples `start` to `stop` of a split at a length, independent of what else is in the batch.

        Returns:
            An iterator over chunks that make up the whole sequences: inputs of at most `BLOCK` steps
            (or of one whole image or clip), and their targets; where `head` is "last", the target
            comes with the last chunk and all others come with None.

        Raises:
            TypeError: a number is not an int.
            ValueError: the split is unknown, a number is out of its range, or the examples are not in the split.
        """

    def at_length(self, length: int) -> Self:
        """The same task with training sequences of another length.

        Raises:
            ValueError: the task's length is fixed, or `length` is out of its range.
        """
        if self.length_option is None:
            raise ValueError(f"the task {self.name} must have a length that can be changed, got one of fixed length")
        return dataclasses.replace(self, **{self.length_option: length})  # type: ignore[type-var]

    def at_letters(self, letters: int) -> Self:
        """The same task, whose words are made of fewer letters.

        Raises:
            ValueError: the task's letters cannot be changed, or there are not so many.
        """
        if self.letters_option is None:
            raise ValueError(f"the task {self.name} must have letters that can be fewer, got one of fixed letters")
        return dataclasses.replace(self, **{self.letters_option: letters})  # type: ignore[type-var]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The training loss, a scalar: the mean over the values or classes that the target asks for."""
        if target.is_floating_point():
            asked = ~target.isnan()
            return F.mse_loss(output[asked], target[asked])
        return F.cross_entropy(output.flatten(0, -2), target.flatten(), ignore_index=IGNORED)

    def asked(self, target: Tensor) -> int:
        """The number of values or classes that the loss is the mean of."""
        return int((~target.isnan() if target.is_floating_point() else target != IGNORED).sum())


class StoredTask(Task, Generic[Data]):
    """A task that reads its examples from files when they are first needed.

    A task object keeps what it has read, whatever happens to the files and the working directory later. A new object
    reads the files as they are then.
    """

    @cached_property
    def _data(self) -> Data:
        return self._load()

    @abstractmethod
    def _load(self) -> Data:
        """Reads the data, and checks all of it."""

    def __getstate__(self) -> dict[str, Any]:
        """The options alone: a copy in another process reads its data there."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]


class GeneratedTask(Task):
    """A task whose examples are drawn, any number of them; the first 512 make up a split."""

    endless = True

    def split_size(self, split: str) -> int:
        """512 examples in each split."""
        check_split(split)
        return GENERATED


def derive_seed(*parts: str | int) -> int:
    """A seed of 63 bits for a named purpose, the same on every machine.

    >>> derive_seed("copy-first", "test", 0) == derive_seed("copy-first", "test", 0)
    True
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def example_generators(task: Task, split: str, start: int, stop: int) -> list[torch.Generator]:
    """A generator for each example `start` to `stop` of a generated task, seeded by task name, split and number.

    Raises:
        TypeError: a number is not an int.
        ValueError: the split is unknown, or no example is asked for.
    """
    check_examples(split, start, stop)
    return [torch.Generator().manual_seed(derive_seed(task.name, split, i)) for i in range(start, stop)]


def read_whole(task: Task, split: str, start: int, stop: int, length: int) -> tuple[Tensor, Tensor]:
    """The examples `start` to `stop` of a split in one piece: inputs and targets in the form of `Task.batch`.

    >>> from remanent.tasks import CopyFirst
    >>> read_whole(CopyFirst(), "test", 0, 2, 1500)[0].shape
    torch.Size([2, 1500, 1])
    """
    inputs, targets = zip(*task.stream(split, start, stop, length), strict=True)
    asked = [target for target in targets if target is not None]
    return torch.cat(inputs, dim=1), torch.cat(asked, dim=1) if task.head == "every" else asked[-1]


def check_split(split: str) -> None:
    """Raises unless the split is one of `SPLITS`."""
    check_choice("split", split, SPLITS)


def check_examples(split: str, start: int, stop: int) -> None:
    """Raises unless the split is one of `SPLITS`, and `start` to `stop` are the numbers of examples."""
    check_split(split)
    check_at_least("start", start, 0)
    check_at_least("stop", stop, start + 1)


def check_stop(split: str, stop: int, size: int, what: str) -> None:
    """Raises unless the examples before `stop` are among the `size` of a split; `what` they are is for the error."""
    if stop > size:
        raise ValueError(f"`stop` must be at most the {size} {what} of the {split} split, got {stop}")
