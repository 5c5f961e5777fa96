"""Selective copying: find a few tokens at random places among blanks, and repeat them in order at the end."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.tasks.base import GeneratedTask, Stream, example_generators
from remanent.tasks.chunks import blocks
from remanent.tasks.metrics import IGNORED
from remanent.tasks.placing import choose, place


class Items(NamedTuple):
    """What a sequence asks for.

    Attributes:
        symbols: the tokens, in order, int64 (..., N).
        places: the steps at which they stand, rising, int64 (..., N).
    """

    symbols: Tensor
    places: Tensor


@dataclass(frozen=True)
class SelectiveCopying(GeneratedTask):
    """Selective copying: N symbols stand at random places among T steps, and are repeated in order at N more steps.

    Tokens 0 to A - 1 are the symbols, which are equally likely; token A is the blank, at all other of the T steps;
    token A + 1 asks for the next symbol, at the N steps after these. All choices of places are equally likely. In
    longer sequences there are more blanks, before, between and after the symbols. The metric is the accuracy over all
    answers; always answering one symbol scores 1 / A.

    Args:
        steps: T, the number of steps before the first question, at least N.
        items: N, how many symbols are to be copied, at least 1.
        symbols: A, how many different symbols there are, at least 2.

    Raises:
        ValueError: an option is out of its range.

    Source: Gu and Dao (2023), Mamba, arXiv 2312.00752, with T = 4,096 and N = 16.

    >>> x, y = SelectiveCopying(steps=9, items=2, symbols=4).batch(1, torch.Generator().manual_seed(0))
    >>> torch.equal(x[x < 4], y[:, -2:].flatten()), x[0, -2:].tolist()
    (True, [5, 5])
    """

    name = "selective-copying"
    metric = "accuracy"
    length_name = "steps"
    length_option = "steps"
    head = "every"
    tokens = True
    extends = False

    steps: int = 64
    items: int = 4
    symbols: int = 4

    def __post_init__(self) -> None:
        check_at_least("items", self.items, 1)
        check_at_least("symbols", self.symbols, 2)
        check_at_least("steps", self.steps, self.items)

    @property
    def length(self) -> int:
        """The number of steps trained with, before the first question."""
        return self.steps

    @property
    def input_size(self) -> int:
        """The symbols, the blank and the question."""
        return self.symbols + 2

    @property
    def output_size(self) -> int:
        """The symbols."""
        return self.symbols

    @property
    def chance(self) -> float:
        """The share of one symbol."""
        return 1 / self.symbols

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws tokens and classes, both int64 (B, T + N), with `IGNORED` before the last N steps."""
        check_at_least("batch_size", batch_size, 1)
        drawn = [self._draw(self.steps, generator) for _ in range(batch_size)]
        ((x, y),) = self._chunks(drawn, self.steps, [self.steps + self.items])
        assert y is not None
        return x, y

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Draws each example from a generator of its own: the same symbols at every length, at other steps."""
        check_at_least("length", length, self.items)
        drawn = [self._draw(length, generator) for generator in example_generators(self, split, start, stop)]
        return self._chunks(drawn, length, blocks(length + self.items))

    def _draw(self, length: int, generator: torch.Generator) -> Items:
        symbols = torch.randint(self.symbols, (self.items,), generator=generator)
        return Items(symbols, torch.tensor(choose(self.items, length, generator)))

    def _chunks(self, drawn: list[Items], length: int, sizes: Iterable[int]) -> Stream:
        symbols, places = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        blank, question = self.symbols, self.symbols + 1
        asked = torch.arange(length, length + self.items).expand_as(places)
        tokens = torch.cat([symbols, torch.full_like(symbols, question)], dim=1)
        begin = 0
        for size in sizes:
            x = place(begin, size, torch.cat([places, asked], dim=1), tokens, blank)
            yield x, place(begin, size, asked, symbols, IGNORED)
            begin += size
