"""Multi-query associative recall: read keys with their values, and say the value of each key that comes again."""

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


class Pairs(NamedTuple):
    """What a sequence holds and asks for.

    Attributes:
        keys: the keys, all different, in the order in which they are read, int64 (..., K).
        values: the value of each key, from 0 on, int64 (..., K).
        places: the step at which each key comes again, int64 (..., K).
    """

    keys: Tensor
    values: Tensor
    places: Tensor


@dataclass(frozen=True)
class MultiQueryRecall(GeneratedTask):
    """Multi-query associative recall (MQAR): K keys with their values are read; each key comes again once, and asks.

    Tokens 0 to A - 1 are keys, tokens A to A + V - 1 are values, and token A + V is a blank. The first 2 K steps are K
    different keys, each followed by its value; the values are drawn one by one, so that keys may share one. Among the
    other steps each of these keys comes once more, in any order and at any step with equal probability, and the answer
    at that step is its value, from 0 to V - 1; all further steps are blanks, which ask for nothing. In longer sequences
    there are more blanks between the pairs and the questions, and between the questions. The metric is the accuracy
    over all answers; always answering one value scores 1 / V.

    Args:
        steps: T, the number of steps, at least 3 K.
        pairs: K, the number of keys in a sequence, at least 1.
        keys: A, how many different keys there are, at least K.
        values: V, how many different values there are, at least 2.

    Raises:
        ValueError: an option is out of its range.

    Source: Arora et al. (2023), Zoology, arXiv 2312.04927, where no two values of a sequence are the same, questions
    come soon after the pairs more often than late, and other tokens stand in place of the blanks.

    >>> x, y = MultiQueryRecall(steps=9, pairs=2, keys=4, values=3).batch(1, torch.Generator().manual_seed(0))
    >>> read, asked = dict(x[0, :4].reshape(2, 2).tolist()), y[0] != -100
    >>> [read[key] - 4 for key in x[0, asked].tolist()] == y[0, asked].tolist()
    True
    """

    name = "multi-query-recall"
    metric = "accuracy"
    length_name = "steps"
    length_option = "steps"
    head = "every"
    tokens = True
    extends = False

    steps: int = 64
    pairs: int = 3
    keys: int = 6
    values: int = 6

    def __post_init__(self) -> None:
        check_at_least("pairs", self.pairs, 1)
        check_at_least("keys", self.keys, self.pairs)
        check_at_least("values", self.values, 2)
        check_at_least("steps", self.steps, 3 * self.pairs)

    @property
    def length(self) -> int:
        """The number of steps trained with."""
        return self.steps

    @property
    def input_size(self) -> int:
        """The keys, the values and the blank."""
        return self.keys + self.values + 1

    @property
    def output_size(self) -> int:
        """The values."""
        return self.values

    @property
    def chance(self) -> float:
        """The share of one value."""
        return 1 / self.values

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws tokens and classes, both int64 (B, T), with `IGNORED` where nothing is asked."""
        check_at_least("batch_size", batch_size, 1)
        drawn = [self._draw(self.steps, generator) for _ in range(batch_size)]
        ((x, y),) = self._chunks(drawn, [self.steps])
        assert y is not None
        return x, y

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Draws each example from a generator of its own: the same pairs at every length, asked for at other steps."""
        check_at_least("length", length, 3 * self.pairs)
        drawn = [self._draw(length, generator) for generator in example_generators(self, split, start, stop)]
        return self._chunks(drawn, blocks(length))

    def _draw(self, length: int, generator: torch.Generator) -> Pairs:
        keys = torch.randperm(self.keys, generator=generator)[: self.pairs]
        values = torch.randint(self.values, (self.pairs,), generator=generator)
        order = torch.randperm(self.pairs, generator=generator)
        places = torch.tensor(choose(self.pairs, length - 2 * self.pairs, generator))
        return Pairs(keys, values, 2 * self.pairs + places[order])

    def _chunks(self, drawn: list[Pairs], sizes: Iterable[int]) -> Stream:
        keys, values, asked = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        read = 2 * torch.arange(self.pairs).expand_as(keys)
        places = torch.cat([read, read + 1, asked], dim=1)
        tokens = torch.cat([keys, self.keys + values, keys], dim=1)
        begin = 0
        for size in sizes:
            x = place(begin, size, places, tokens, self.keys + self.values)
            yield x, place(begin, size, asked, values, IGNORED)
            begin += size
