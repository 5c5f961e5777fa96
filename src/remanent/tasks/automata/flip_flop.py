"""Flip-flop: keep the values that were set last through any number of holds."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from remanent._options import check_at_least, check_range
from remanent.tasks.automata.automaton import MOST_TRANSITIONS, Automaton
from remanent.tasks.automata.words import WordTask
from remanent.tasks.metrics import IGNORED

MOST_CELLS = 20
"""More cells than this have more states than any flip-flop may have."""


@dataclass(frozen=True)
class FlipFlop(WordTask):
    r"""Flip-flop: letters set one of C cells to one of V values or hold; the answer is what all cells hold.

    Letter c V + v sets cell c to the value v, letter C V holds. The first letter always sets a cell, each later letter
    with probability p; all cells and values are equally likely. Cells that were not set yet hold the value 0. The
    answer at every step is $\sum_c v_c V^c$, which for one cell is the value set last. The metric is the share of words
    that are right at every step.

    Args:
        steps: T, the number of letters, at least 1.
        values: V, the number of values, at least 2.
        write_probability: p, the probability that a letter sets a cell, in [0, 1].
        cells: C, the number of cells, at least 1: 4 for the flip-flop of 4 bits. The $V^C + 1$ states times the
            $C V + 1$ letters may be at most 262,144.

    Raises:
        ValueError: an option is out of its range.

    Source: Sussillo and Barak (2013); Liu et al. (2023), arXiv 2306.00946; Brandoit et al. (2026),
    "Length-independent state tracking under a parallel scan".

    >>> x, y = FlipFlop(steps=5).batch(2, torch.Generator().manual_seed(0))
    >>> torch.equal(x[:, 0], y[:, 0]), bool((y < 2).all())
    (True, True)
    """

    name = "flip-flop"

    steps: int = 64
    values: int = 2
    write_probability: float = 0.2
    cells: int = 1

    def __post_init__(self) -> None:
        check_at_least("steps", self.steps, 1)
        check_at_least("values", self.values, 2)
        check_range("write_probability", self.write_probability, 0, 1)
        check_at_least("cells", self.cells, 1)
        most = MOST_TRANSITIONS
        if self.cells > MOST_CELLS or (self.values**self.cells + 1) * (self.cells * self.values + 1) > most:
            rule = f"give an automaton of at most {most} transitions"
            raise ValueError(f"`values` and `cells` must {rule}, got {self.values} and {self.cells}")

    @property
    def automaton(self) -> Automaton:
        """State 0 is before the first cell is set, where nothing is asked; else a state is 1 more than its answer."""
        return _automaton(self.values, self.cells)

    @property
    def chance(self) -> float:
        r"""$\frac{1}{V} (1 - p + \frac{p}{V})^{T-1}$, exact: the best guess is 0 throughout."""
        stays = 1 - self.write_probability + self.write_probability / self.values
        return float(stays ** (self.steps - 1) / self.values)

    def draw(self, size: tuple[int, ...], generator: torch.Generator, *, begin: int) -> Tensor:
        """Draws letters; see `WordTask`."""
        sets = torch.rand(size, generator=generator) < self.write_probability
        hold = self.values * self.cells
        letter = torch.randint(hold, size, generator=generator)
        if begin == 0:
            sets[..., 0] = True
        return torch.where(sets, letter, hold)

    @property
    def letter_names(self) -> tuple[str, ...]:
        """What each letter sets, such as "0=1" for cell 0 to value 1, or "=1" where there is one cell; and "hold"."""
        cells = range(self.cells) if self.cells > 1 else [""]
        return (*(f"{cell}={value}" for cell in cells for value in range(self.values)), "hold")


@lru_cache(maxsize=16)
def _automaton(values: int, cells: int) -> Automaton:
    held = np.arange(values**cells)
    sets = [held + (v - held // values**c % values) * values**c for c in range(cells) for v in range(values)]
    rows = 1 + np.stack([*sets, held], axis=1)
    first = rows[0].copy()
    first[-1] = 0  # what holds before any cell is set changes nothing
    return Automaton(np.vstack([first, rows]).tolist(), [IGNORED, *held.tolist()])
