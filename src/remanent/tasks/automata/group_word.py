"""Group words: the product so far of elements of a finite group."""

from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.tasks.automata.words import WordTask

GROUPS = (*(f"Z{n}" for n in range(2, 61)), "S3", "S4", "A5")
"""The groups: the cyclic ones of 2 to 60 elements, two symmetric ones, and an alternating one."""


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
        group: the group, "Z2" to "Z60", "S3", "S4" or "A5".

    Raises:
        ValueError: `steps` is below 1, or the group is none of these.

    Source: Merrill, Petty, Sabharwal (2024), arXiv 2404.08819; Brandoit et al. (2026), arXiv 2605.11855.

    >>> x, y = GroupWord(steps=5, group="Z7").batch(2, torch.Generator().manual_seed(0))
    >>> torch.equal(x.cumsum(1) % 7, y)
    True
    """

    name = "group-word"

    steps: int = 64
    group: str = "S3"

    def __post_init__(self) -> None:
        check_at_least("steps", self.steps, 1)
        if self.group not in GROUPS:
            raise ValueError(f"`group` must be one of Z2 to Z60, S3, S4, A5, got {self.group!r}")

    @property
    def input_size(self) -> int:
        """The elements."""
        return len(multiplication_table(self.group))

    @property
    def output_size(self) -> int:
        """The elements."""
        return len(multiplication_table(self.group))

    @property
    def chance(self) -> float:
        r"""$|G|^{-T}$, exact: all words of products are equally likely."""
        return float((1 / self.output_size) ** self.steps)

    def draw_letters(self, size: tuple[int, ...], generator: torch.Generator, *, begins: bool) -> Tensor:
        """See `WordTask`."""
        return torch.randint(self.input_size, size, generator=generator)

    def follow(self, letters: Tensor, state: Tensor) -> Tensor:
        """See `WordTask`."""
        table = multiplication_table(self.group)
        first = table[letters[:, 0], state]
        return _prefix_products(torch.cat([first[:, None], letters[:, 1:]], dim=1), table)


@cache
def multiplication_table(group: str) -> Tensor:
    """The multiplication table of one of `GROUPS`: the number of the product of elements i and j, (N, N).

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


def _is_even(permutation: tuple[int, ...]) -> bool:
    return sum(a > b for a, b in combinations(permutation, 2)) % 2 == 0


def _prefix_products(letters: Tensor, table: Tensor) -> Tensor:
    """The products of the first t letters, (B, T); after k rounds, those of the last 2^k letters."""
    product = letters.T
    steps, reach = len(product), 1
    while reach < steps:
        # later letters multiply from the left
        longer = table[product[reach:], product[:-reach]]
        product = torch.cat([product[:reach], longer])
        reach *= 2
    return product.T.contiguous()
