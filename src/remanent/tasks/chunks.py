"""The chunks that sequences of any length are streamed in: their sizes, and what is drawn for each."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.tasks.base import Stream

BLOCK = 1000
"""The number of steps in a chunk of an evaluation stream."""


def blocks(length: int, least: int = 1) -> Iterator[int]:
    """The sizes of the chunks that make up a length: each is `BLOCK` steps, except the last.

    Args:
        length: the steps in all.
        least: the smallest length that is allowed.

    Raises:
        ValueError: the length is below `least`.

    >>> list(blocks(2500))
    [1000, 1000, 500]
    """
    check_at_least("length", length, least)
    return (min(BLOCK, length - begin) for begin in range(0, length, BLOCK))


def noise_blocks(generators: list[torch.Generator], length: int, *features: int) -> Iterator[Tensor]:
    """Normal noise up to a length in blocks (B, at most `BLOCK`, ...), each example from its own generator.

    Raises:
        ValueError: the length is below 1.
    """
    return drawn_blocks(generators, length, lambda generator: torch.randn(BLOCK, *features, generator=generator))


def drawn_blocks(
    generators: list[torch.Generator], length: int, draw: Callable[[torch.Generator], Tensor]
) -> Iterator[Tensor]:
    """What is drawn for each step up to a length, in blocks (B, at most `BLOCK`, ...), each example on its own.

    Args:
        generators: the generator of each example.
        length: the steps in all.
        draw: gives what an example has in the next `BLOCK` steps, (`BLOCK`, ...).

    Raises:
        ValueError: the length is below 1.
    """
    sizes = blocks(length)
    return (torch.stack([draw(generator) for generator in generators])[:, :size] for size in sizes)


def then_empty(x: Tensor, sizes: list[int], target: Tensor) -> Stream:
    """A stream of one whole piece (B, T, M), then empty steps in chunks of these sizes; the target comes last."""
    yield x, None if sizes else target
    for i, size in enumerate(sizes):
        yield x.new_zeros(x.shape[0], size, x.shape[2]), target if i == len(sizes) - 1 else None
