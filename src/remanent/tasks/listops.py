"""ListOps: nested operations on lists of digits, to be evaluated while they are read."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from remanent._options import check_at_least, check_range
from remanent.tasks.base import GeneratedTask, Stream, check_examples, example_generators
from remanent.tasks.chunks import BLOCK, blocks
from remanent.tasks.expressions import PADDING, TOKENS, Grammar, draw_expressions
from remanent.tasks.metrics import IGNORED


@dataclass(frozen=True)
class ListOps(GeneratedTask):
    r"""ListOps: an expression such as [MAX 2 9 [MIN 4 7 ] 0 ], then K empty steps, then its value.

    Operators are MAX, MIN, MED (the median, rounded down) and SM (the sum modulo 10); an opening
    bracket and its operator are one token, a closing bracket is another. An expression is an operator
    with probability p, else a digit; an operator has 2 to A arguments, all numbers equally likely, which are
    expressions one level deeper; at depth D all are digits. An expression with too few or too many tokens is drawn
    again. Tokens 0 to 9 are the digits, 10 to 13 the operators, 14 closes and 15 is an empty step.

    Sequences of a batch are filled up with empty steps to the longest one; the answer is due at each
    sequence's own last step, K steps after the end of its expression. More empty steps delay it, so
    `extends` is False, although the inputs begin like the shorter ones. The metric is the accuracy.

    Args:
        min_tokens: the fewest tokens of an expression, at least 1.
        max_tokens: the most tokens of an expression, at least `min_tokens`.
        max_depth: D, the deepest nesting, at least 1; a digit alone has depth 1.
        max_arguments: A, the most arguments of an operator, at least 2.
        operator_probability: p, the probability of an operator, in (0, 1].
        padding: K, the number of empty steps after the expression, at least 0.

    Raises:
        ValueError: an option is out of its range, or no expression is as long as `min_tokens`.

    Source: Nangia, Bowman (2018), arXiv 1804.06028; these lengths Tay et al. (2020), arXiv 2011.04006.

    >>> x, y = ListOps(min_tokens=8, max_tokens=12).batch(1, torch.Generator().manual_seed(10))
    >>> render(x[0]), y[0, -1].item()
    ('[MED 9 [SM 8 2 0 ] 3 ]', 3)
    """

    name = "listops"
    metric = "accuracy"
    length_name = "empty steps"
    length_option = "padding"
    head = "every"
    tokens = True
    extends = False
    input_size = len(TOKENS)
    """Ten digits, four operators, the closing bracket and the empty step."""
    output_size = 10
    """Ten digits."""

    min_tokens: int = 500
    max_tokens: int = 2000
    max_depth: int = 10
    max_arguments: int = 10
    operator_probability: float = 0.25
    padding: int = 0

    def __post_init__(self) -> None:
        check_at_least("min_tokens", self.min_tokens, 1)
        check_at_least("max_tokens", self.max_tokens, self.min_tokens)
        check_at_least("max_depth", self.max_depth, 1)
        check_at_least("max_arguments", self.max_arguments, 2)
        check_range("operator_probability", self.operator_probability, 0, 1, open_low=True)
        check_at_least("padding", self.padding, 0)
        longest = depth = 1
        while longest < self.min_tokens and depth < self.max_depth:
            longest, depth = 2 + self.max_arguments * longest, depth + 1
        if longest < self.min_tokens:
            raise ValueError(
                f"`min_tokens` must be at most {longest}, the longest expression with `max_depth`={self.max_depth} "
                f"and `max_arguments`={self.max_arguments}, got {self.min_tokens}"
            )

    @property
    def length(self) -> int:
        """The number of empty steps trained with."""
        return self.padding

    @property
    def chance(self) -> float:
        """The share of the most frequent value in the test split."""
        return _largest_share(replace(self, padding=0))

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws tokens and targets, both int64 (B, T); one target in each row is not `IGNORED`."""
        check_at_least("batch_size", batch_size, 1)
        expressions, values = draw_expressions(self._grammar(), batch_size, generator)
        longest = max(map(len, expressions))
        return _cut(expressions, values, self.padding, 0, longest + self.padding)

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Gives expressions and empty steps in blocks, up to the last answer of the batch."""
        check_examples(split, start, stop)
        check_at_least("length", length, 0)
        plain = replace(self, padding=0)
        expressions, values = zip(*(_example(plain, split, i) for i in range(start, stop)), strict=True)
        sizes = blocks(max(map(len, expressions)) + length)
        return (
            _cut(list(expressions), np.array(values), length, i * BLOCK, i * BLOCK + size)
            for i, size in enumerate(sizes)
        )

    def _grammar(self) -> Grammar:
        return Grammar(self.min_tokens, self.max_tokens, self.max_depth, self.max_arguments, self.operator_probability)


def render(tokens: Iterable[int] | Tensor) -> str:
    """The text of one sequence of tokens, (T,), without its empty steps.

    >>> render([10, 2, 9, 11, 4, 7, 14, 0, 14, 15, 15])
    '[MAX 2 9 [MIN 4 7 ] 0 ]'
    """
    return " ".join(TOKENS[int(token)] for token in tokens if int(token) != PADDING)


@lru_cache(maxsize=4096)
def _example(task: ListOps, split: str, i: int) -> tuple[np.ndarray, int]:
    (generator,) = example_generators(task, split, i, i + 1)
    (expression,), values = draw_expressions(task._grammar(), 1, generator)
    return expression, int(values[0])


@lru_cache
def _largest_share(task: ListOps) -> float:
    size = task.split_size("test")
    return max(Counter(_example(task, "test", i)[1] for i in range(size)).values()) / size


def _cut(
    expressions: list[np.ndarray], values: np.ndarray, padding: int, begin: int, end: int
) -> tuple[Tensor, Tensor]:
    """The steps from `begin` to `end` of expressions and their empty steps: tokens and targets."""
    x = torch.full((len(expressions), end - begin), PADDING)
    target = torch.full_like(x, IGNORED)
    for i, (expression, value) in enumerate(zip(expressions, values, strict=True)):
        part = torch.from_numpy(expression[begin:end])
        x[i, : len(part)] = part
        last = len(expression) - 1 + padding
        if begin <= last < end:
            target[i, last - begin] = int(value)
    return x, target
