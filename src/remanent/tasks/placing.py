"""Where in a sequence a few steps are marked, and a block of steps that holds something at these alone."""

from typing import TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value", int, float)


def choose(number: int, count: int, generator: torch.Generator) -> list[int]:
    """Different numbers below `count`, sorted, all choices equally likely; it is fast for any `count`.

    Args:
        number: how many are chosen, at most `count`.
        count: how many there are to choose from.
        generator: what they are drawn from.

    Source: Floyd's algorithm in Bentley and Floyd (1987), "A sample of brilliance", Communications of the ACM.

    >>> choose(2, 2, torch.Generator())
    [0, 1]
    """
    chosen: set[int] = set()
    for last in range(count - number, count):
        drawn = int(torch.randint(last + 1, (), generator=generator))
        chosen.add(last if drawn in chosen else drawn)
    return sorted(chosen)


def choose_rows(rows: int, number: int, count: int, generator: torch.Generator) -> Tensor:
    """Rows of different numbers below `count`, each sorted, all choices equally likely: int64 (rows, number).

    >>> choose_rows(3, 2, 2, torch.Generator()).tolist()
    [[0, 1], [0, 1], [0, 1]]
    """
    order = torch.rand(rows, count, generator=generator)
    return order.topk(number).indices.sort().values


def place(begin: int, size: int, places: Tensor, values: Tensor, elsewhere: Value) -> Tensor:
    """A block of sequences, which have values at some of their steps and the same at all others.

    Args:
        begin: the first step of the block.
        size: the number of its steps.
        places: the steps that have a value, int64 (B, K), different in each row.
        values: the value at each of them, (B, K).
        elsewhere: the value at all other steps.

    Returns:
        The block, (B, `size`), of the type of `values`.

    >>> place(10, 4, torch.tensor([[3, 11, 13]]), torch.tensor([[7, 8, 9]]), 0)
    tensor([[0, 8, 0, 9]])
    """
    block = values.new_full((len(places), size), elsewhere)
    here = (places >= begin) & (places < begin + size)
    block[here.nonzero()[:, 0], places[here] - begin] = values[here]
    return block
