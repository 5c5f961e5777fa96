"""Induction heads: say what followed the special token when that token stands at the end again."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.tasks.base import GeneratedTask, Stream, example_generators
from remanent.tasks.chunks import BLOCK, drawn_blocks

SHORTEST = 3
"""The fewest steps: the special token, what follows it, and the special token again."""


@dataclass(frozen=True)
class InductionHeads(GeneratedTask):
    """Induction heads: the last of T tokens is a special one; the answer is the token that followed it before.

    Tokens 0 to A - 1 are symbols, drawn at random for every step. Token A is the special one; it stands at one random
    step among the first T - 2, and at the last. In longer sequences it may be at any step too, so that what
    followed is held for longer, among more other symbols before and after it. The metric is the accuracy; always
    answering one symbol scores 1 / A.

    Args:
        steps: T, the number of steps, at least 3.
        symbols: A, how many different symbols there are beside the special token, at least 2.

    Raises:
        ValueError: an option is out of its range.

    Source: Olsson et al. (2022), arXiv 2209.11895; in this form Gu and Dao (2023), Mamba, arXiv 2312.00752, with 16
    tokens, trained at T = 256 and tested up to 2^20.

    >>> x, y = InductionHeads(steps=6, symbols=4).batch(1, torch.Generator().manual_seed(0))
    >>> first = x[0].tolist().index(4)
    >>> bool(x[0, first + 1] == y[0]), int(x[0, -1])
    (True, 4)
    """

    name = "induction-heads"
    metric = "accuracy"
    length_name = "steps"
    length_option = "steps"
    tokens = True
    extends = False

    steps: int = 256
    symbols: int = 15

    def __post_init__(self) -> None:
        check_at_least("steps", self.steps, SHORTEST)
        check_at_least("symbols", self.symbols, 2)

    @property
    def length(self) -> int:
        """The number of steps trained with."""
        return self.steps

    @property
    def input_size(self) -> int:
        """The symbols and the special token."""
        return self.symbols + 1

    @property
    def output_size(self) -> int:
        """The symbols."""
        return self.symbols

    @property
    def chance(self) -> float:
        """The share of one symbol."""
        return 1 / self.symbols

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws tokens, int64 (B, T), and classes, int64 (B,)."""
        check_at_least("batch_size", batch_size, 1)
        places = torch.randint(self.steps - 2, (batch_size,), generator=generator)
        symbols = torch.randint(self.symbols, (batch_size, self.steps), generator=generator)
        ((x, y),) = self._chunks(places, [symbols], self.steps)
        assert y is not None
        return x, y

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Draws each example from a generator of its own; at another length, the special token is at another step."""
        check_at_least("length", length, SHORTEST)
        generators = example_generators(self, split, start, stop)
        places = torch.cat([torch.randint(length - 2, (1,), generator=generator) for generator in generators])
        symbols = drawn_blocks(generators, length, lambda g: torch.randint(self.symbols, (BLOCK,), generator=g))
        return self._chunks(places, symbols, length)

    def _chunks(self, places: Tensor, symbols: Iterable[Tensor], length: int) -> Stream:
        """Inputs and classes from the steps of the special token (B,) and chunks of symbols (B, at most `BLOCK`)."""
        special, begin = self.symbols, 0
        answers = torch.zeros_like(places)
        for drawn in symbols:
            steps = torch.arange(begin, begin + drawn.shape[1])
            follows = steps == places[:, None] + 1
            answers = answers + (drawn * follows).sum(1)
            begin += drawn.shape[1]
            x = torch.where((steps == places[:, None]) | (steps == length - 1), special, drawn)
            yield x, answers if begin == length else None
