"""Flip-flop: keep the value that was set last through any number of holds."""

from dataclasses import dataclass

import torch
from torch import Tensor

from remanent._options import check_at_least, check_range
from remanent.tasks.automata.words import WordTask


@dataclass(frozen=True)
class FlipFlop(WordTask):
    r"""Flip-flop: letters set one of V values or hold it, and the answer at every step is the value set last.

    Letter v < V sets the value v, letter V holds. The first letter always sets a value, each later letter with
    probability p; all values are equally likely. The metric is the share of words that are right at every step.

    Args:
        steps: T, the number of letters, at least 1.
        values: V, the number of values, at least 2.
        write_probability: p, the probability that a letter sets a value, in [0, 1].

    Raises:
        ValueError: an option is out of its range.

    Source: Liu et al. (2023), arXiv 2306.00946; Brandoit et al. (2026), arXiv 2605.11855.

    >>> x, y = FlipFlop(steps=5).batch(2, torch.Generator().manual_seed(0))
    >>> torch.equal(x[:, 0], y[:, 0]), bool((y < 2).all())
    (True, True)
    """

    name = "flip-flop"

    steps: int = 64
    values: int = 2
    write_probability: float = 0.2

    def __post_init__(self) -> None:
        check_at_least("steps", self.steps, 1)
        check_at_least("values", self.values, 2)
        check_range("write_probability", self.write_probability, 0, 1)

    @property
    def input_size(self) -> int:
        """A letter for each value, and hold."""
        return self.values + 1

    @property
    def output_size(self) -> int:
        """The values."""
        return self.values

    @property
    def chance(self) -> float:
        r"""$\frac{1}{V} (1 - p + \frac{p}{V})^{T-1}$, exact: the best guess is one value throughout."""
        stays = 1 - self.write_probability + self.write_probability / self.values
        return float(stays ** (self.steps - 1) / self.values)

    def draw_letters(self, size: tuple[int, ...], generator: torch.Generator, *, begins: bool) -> Tensor:
        """See `WordTask`."""
        sets = torch.rand(size, generator=generator) < self.write_probability
        value = torch.randint(self.values, size, generator=generator)
        if begins:
            sets[..., 0] = True
        return torch.where(sets, value, self.values)

    def follow(self, letters: Tensor, state: Tensor) -> Tensor:
        """See `WordTask`."""
        # position 0 holds the state before the letters, so that there always is a last value set
        known = torch.cat([state[:, None], letters], dim=1)
        position = torch.arange(known.shape[1])
        last_set = torch.where(known < self.values, position, 0).cummax(1).values
        return known.gather(1, last_set[:, 1:])
