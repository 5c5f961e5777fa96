"""Multi-query associative recall: read keys with their values, and say the value of each key that comes again."""

from dataclasses import dataclass

import torch

from remanent._options import check_at_least
from remanent.tasks.placing import choose
from remanent.tasks.recall.asking import Asked, AskingTask


@dataclass(frozen=True)
class MultiQueryRecall(AskingTask):
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
    def input_size(self) -> int:
        """The keys, the values and the blank."""
        return self.keys + self.values + 1

    @property
    def output_size(self) -> int:
        """The values."""
        return self.values

    @property
    def blank(self) -> int:
        """The token after keys and values."""
        return self.keys + self.values

    @property
    def shortest(self) -> int:
        """A step for each key, each value and each question."""
        return 3 * self.pairs

    def draw(self, length: int, generator: torch.Generator) -> Asked:
        """Draws the keys in the order in which they are read, their values, and the steps at which each comes again."""
        keys = torch.randperm(self.keys, generator=generator)[: self.pairs]
        values = torch.randint(self.values, (self.pairs,), generator=generator)
        order = torch.randperm(self.pairs, generator=generator)
        places = torch.tensor(choose(self.pairs, length - 2 * self.pairs, generator))
        asked, read = 2 * self.pairs + places[order], 2 * torch.arange(self.pairs)
        tokens = torch.cat([keys, self.keys + values, keys])
        return Asked(torch.cat([read, read + 1, asked]), tokens, asked, values)
