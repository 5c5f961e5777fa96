"""Group words: the product so far of elements of a finite group."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, permutations

import torch
from torch import Tensor

from remanent._options import check_at_least, check_range
from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.automata.words import WordTask
from remanent.tasks.base import derive_seed

PERMUTATIONS = ("S3", "S4", "S5", "A5")
"""The groups of permutations: three symmetric ones, and the alternating one of five points."""
LARGEST = 512
"""The most elements of a cyclic group."""


@dataclass(frozen=True)
class GroupWord(WordTask):
    r"""Group word: letters are elements of a group; the answer at every step is their product so far.

    Each new letter multiplies from the left, $g_t = x_t g_{t-1} = x_t x_{t-1} \cdots x_1$. All elements are
    equally likely. Element i of Zn is the number i, and the product is the sum modulo n. The elements of Sn
    and An are the permutations (the even ones) in lexicographic order, so that 0 is the identity; in
    a product the right one acts first, $(pq)(i) = p(q(i))$. The metric is the share of words that are right at
    every step.

    Args:
        steps: T, the number of letters, at least 1.
        group: the group, "Z2" to "Z512", "S3", "S4", "S5" or "A5".
        letters: how many elements the letters of words are, the first ones of `alphabet`; at least 2, which make up the
            group. None for all. A curriculum may begin with few.

    Raises:
        ValueError: `steps` is below 1, the group is none of these, or it has not so many elements.

    Source: Merrill, Petty, Sabharwal (2024), arXiv 2404.08819; Brandoit et al. (2026),
    "Length-independent state tracking under a parallel scan".

    >>> x, y = GroupWord(steps=5, group="Z7").batch(2, torch.Generator().manual_seed(0))
    >>> torch.equal(x.cumsum(1) % 7, y)
    True
    """

    name = "group-word"
    letters_option = "letters"

    steps: int = 64
    group: str = "S3"
    letters: int | None = None

    def __post_init__(self) -> None:
        check_at_least("steps", self.steps, 1)
        if self.group not in PERMUTATIONS and not _is_cyclic(self.group):
            known = f"Z2 to Z{LARGEST}, {', '.join(PERMUTATIONS)}"
            raise ValueError(f"`group` must be one of {known}, got {self.group!r}")
        if self.letters is not None:
            check_at_least("letters", self.letters, 2)
            check_range("letters", self.letters, 2, self.input_size)

    @property
    def alphabet(self) -> tuple[int, ...]:
        """All elements in the order in which `letters` takes them: two that generate the group, then the others.

        >>> sorted(GroupWord(group="S3").alphabet)
        [0, 1, 2, 3, 4, 5]
        """
        return _alphabet(self.group)

    @property
    def automaton(self) -> Automaton:
        """A state is the product so far."""
        return _automaton(self.group)

    @property
    def chance(self) -> float:
        r"""$n^{-T}$ for n letters, exact: all their words are equally likely, and no two have the same products."""
        return float((1 / (self.letters or self.output_size)) ** self.steps)

    def draw(self, size: tuple[int, ...], generator: torch.Generator, *, begin: int) -> Tensor:
        """Draws letters; see `WordTask`."""
        if self.letters is None:
            return torch.randint(self.input_size, size, generator=generator)
        return torch.tensor(self.alphabet)[torch.randint(self.letters, size, generator=generator)]


@lru_cache(maxsize=16)
def multiplication_table(group: str) -> Tensor:
    """The multiplication table of a group of `GroupWord`: the number of the product of elements i and j, (N, N).

    >>> multiplication_table("Z3").tolist()
    [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    size = int(group[1:])
    if group[0] == "Z":
        number = torch.arange(size)
        return (number[:, None] + number) % size
    elements = [p for p in permutations(range(size)) if group[0] == "S" or _is_even(p)]
    place = {p: i for i, p in enumerate(elements)}
    return torch.tensor([[place[tuple(p[i] for i in q)] for q in elements] for p in elements])


@lru_cache(maxsize=16)
def _automaton(group: str) -> Automaton:
    table = multiplication_table(group)
    # a letter multiplies from the left
    return Automaton(table.T.tolist(), list(range(len(table))))


@lru_cache(maxsize=16)
def _alphabet(group: str) -> tuple[int, ...]:
    """The elements in a fixed random order, with the first pair in it that generates the group in front."""
    rows = _automaton(group).transitions
    generator = torch.Generator().manual_seed(derive_seed("alphabet", group))
    order = torch.randperm(len(rows), generator=generator).tolist()
    first, second = next(pair for pair in combinations(order, 2) if _generates(pair, rows))
    return first, second, *(element for element in order if element not in (first, second))


def _generates(elements: Sequence[int], rows: Sequence[Sequence[int]]) -> bool:
    """Whether products of these elements are all elements; `rows` has the products of each with each letter."""
    found, todo = {0}, [0]
    while todo:
        after = {rows[todo[-1]][element] for element in elements} - found
        todo.pop()
        found |= after
        todo += after
    return len(found) == len(rows)


def _is_cyclic(group: object) -> bool:
    return isinstance(group, str) and bool(re.fullmatch("Z[1-9][0-9]{0,3}", group)) and 2 <= int(group[1:]) <= LARGEST


def _is_even(permutation: tuple[int, ...]) -> bool:
    return sum(a > b for a, b in combinations(permutation, 2)) % 2 == 0
