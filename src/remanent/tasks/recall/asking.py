"""What the tasks share whose tokens stand at some steps among blanks, and which ask at some steps alone."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.tasks.base import GeneratedTask, Stream, example_generators
from remanent.tasks.chunks import blocks
from remanent.tasks.metrics import IGNORED
from remanent.tasks.placing import place


class Asked(NamedTuple):
    """What a sequence holds and asks for, or several do.

    Attributes:
        places: the steps that have a token other than the blank, int64 (..., P).
        tokens: the token at each of them, int64 (..., P).
        asked: the steps that ask, int64 (..., N).
        answers: the class that is asked for at each of them, int64 (..., N).
    """

    places: Tensor
    tokens: Tensor
    asked: Tensor
    answers: Tensor


class AskingTask(GeneratedTask):
    """A task of tokens among blanks, each example of which is drawn on its own."""

    metric = "accuracy"
    length_name = "steps"
    length_option = "steps"
    head = "every"
    tokens = True
    extends = False

    steps: int

    @property
    def length(self) -> int:
        """The number of steps trained with."""
        return self.steps

    @property
    def chance(self) -> float:
        """The share of one class."""
        return 1 / self.output_size

    @property
    @abstractmethod
    def blank(self) -> int:
        """The token at all steps that have no other."""

    @property
    @abstractmethod
    def shortest(self) -> int:
        """The least length."""

    @abstractmethod
    def draw(self, length: int, generator: torch.Generator) -> Asked:
        """Draws what an example of a length holds and asks for."""

    def total(self, length: int) -> int:
        """The number of steps of a sequence of a length."""
        return length

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws tokens and classes, both int64 (B, T), with `IGNORED` where nothing is asked."""
        check_at_least("batch_size", batch_size, 1)
        drawn = [self.draw(self.steps, generator) for _ in range(batch_size)]
        ((x, y),) = self._chunks(drawn, [self.total(self.steps)])
        assert y is not None
        return x, y

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Draws each example from a generator of its own: the same tokens at every length, at other steps."""
        check_at_least("length", length, self.shortest)
        drawn = [self.draw(length, generator) for generator in example_generators(self, split, start, stop)]
        return self._chunks(drawn, blocks(self.total(length)))

    def _chunks(self, drawn: list[Asked], sizes: Iterable[int]) -> Stream:
        places, tokens, asked, answers = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        begin = 0
        for size in sizes:
            x = place(begin, size, places, tokens, self.blank)
            yield x, place(begin, size, asked, answers, IGNORED)
            begin += size
