"""Parity: whether the number of ones so far is odd, the smallest memory that must not miss any letter."""

from dataclasses import dataclass

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.automata.words import WordTask


@dataclass(frozen=True)
class Parity(WordTask):
    r"""Parity: letters 0 and 1, equally likely; the answer is the parity so far, $\sum_{s \le t} x_s \bmod 2$.

    The answer is asked for at every step. The metric is the share of words that are right at every step.

    Args:
        steps: T, the number of letters, at least 1.

    Raises:
        ValueError: `steps` is below 1.

    Source: Merrill, Petty, Sabharwal (2024), arXiv 2404.08819; Brandoit et al. (2026),
    "Length-independent state tracking under a parallel scan".

    >>> x, y = Parity(steps=5).batch(2, torch.Generator().manual_seed(0))
    >>> torch.equal(x.sum(1) % 2, y[:, -1])
    True
    """

    name = "parity"
    automaton = Automaton(transitions=[[0, 1], [1, 0]], answers=[0, 1])
    """State 0 is even, 1 is odd."""

    steps: int = 64

    def __post_init__(self) -> None:
        check_at_least("steps", self.steps, 1)

    @property
    def chance(self) -> float:
        r"""$2^{-T}$, exact: all words of states are equally likely."""
        return float(0.5**self.steps)

    def draw(self, size: tuple[int, ...], generator: torch.Generator, *, begin: int) -> Tensor:
        """Draws letters; see `WordTask`."""
        return torch.randint(2, size, generator=generator)
