"""Selective copying: find a few tokens at random places among blanks, and repeat them in order at the end."""

from dataclasses import dataclass

import torch

from remanent._options import check_at_least
from remanent.tasks.placing import choose
from remanent.tasks.recall.asking import Asked, AskingTask


@dataclass(frozen=True)
class SelectiveCopying(AskingTask):
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

    steps: int = 64
    items: int = 4
    symbols: int = 4

    def __post_init__(self) -> None:
        check_at_least("items", self.items, 1)
        check_at_least("symbols", self.symbols, 2)
        check_at_least("steps", self.steps, self.items)

    @property
    def input_size(self) -> int:
        """The symbols, the blank and the question."""
        return self.symbols + 2

    @property
    def output_size(self) -> int:
        """The symbols."""
        return self.symbols

    @property
    def blank(self) -> int:
        """The token after the symbols."""
        return self.symbols

    @property
    def shortest(self) -> int:
        """A step for each symbol."""
        return self.items

    def total(self, length: int) -> int:
        """The steps before the first question, and the questions."""
        return length + self.items

    def draw(self, length: int, generator: torch.Generator) -> Asked:
        """Draws the symbols, in order, and the steps at which they stand."""
        symbols = torch.randint(self.symbols, (self.items,), generator=generator)
        places = torch.tensor(choose(self.items, length, generator))
        asked, question = torch.arange(length, length + self.items), torch.full_like(symbols, self.symbols + 1)
        return Asked(torch.cat([places, asked]), torch.cat([symbols, question]), asked, symbols)
