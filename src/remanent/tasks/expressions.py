"""Random expressions over lists of digits, many at a time: drawn level by level, evaluated, written as tokens."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

TOKENS = (*"0123456789", "[MAX", "[MIN", "[MED", "[SM", "]", "")
"""The text of each token; the last one is padding."""
FIRST_OPERATOR, OPERATORS, CLOSING, PADDING = 10, 4, 14, 15
"""The token of the first operator, the number of operators, and the tokens of the closing bracket and of padding."""
TRIES = 100_000
"""The number of expressions that are drawn before an error says that none has the right number of tokens."""
MOST_AT_ONCE = 4096
"""The most expressions that are drawn at a time."""

Array = np.ndarray


class Grammar(NamedTuple):
    """The distribution of expressions.

    An expression at depth 1 is an operator with some probability, else a digit. An operator is one of
    four, has 2 to `max_arguments` arguments, which are expressions one level deeper, and takes two tokens besides
    theirs. At `max_depth` all are digits. An expression with too few or too many tokens is drawn again.

    Attributes:
        min_tokens: the fewest tokens of an expression.
        max_tokens: the most tokens of an expression.
        max_depth: the depth at which all expressions are digits.
        max_arguments: the most arguments of an operator.
        operator_probability: the probability of an operator where it is allowed.
    """

    min_tokens: int
    max_tokens: int
    max_depth: int
    max_arguments: int
    operator_probability: float


class _Level(NamedTuple):
    """Expressions of one depth in order: the whole that each is in, and its number of arguments, 0 for a digit."""

    owner: Array
    arguments: Array


class _Symbols(NamedTuple):
    """Expressions of one depth in order: their first token, their number of tokens, their number of arguments."""

    token: Array
    size: Array
    arguments: Array


def draw_expressions(grammar: Grammar, count: int, generator: torch.Generator) -> tuple[list[Array], Array]:
    """Draws expressions as arrays of tokens, and their values (N,).

    Raises:
        ValueError: none of `TRIES` expressions has a number of tokens in range.
    """
    expressions: list[Array] = []
    values: list[Array] = []
    candidates, tried = max(16, 4 * count), 0
    while len(expressions) < count:
        candidates = min(candidates, MOST_AT_ONCE)
        levels, sizes = _grow(grammar, candidates, generator)
        fitting = np.flatnonzero((grammar.min_tokens <= sizes) & (sizes <= grammar.max_tokens))
        if len(fitting) > 0:
            chosen = np.zeros(candidates, bool)
            chosen[fitting[: count - len(expressions)]] = True
            texts, answers = _write(levels, chosen, generator)
            expressions += texts
            values.append(answers)
        tried += candidates
        found, missing = len(expressions), count - len(expressions)
        candidates = max(16, 5 * missing * tried // (4 * found)) if found > 0 else 2 * candidates
        if tried >= TRIES and not expressions:
            raise ValueError(
                f"`min_tokens` to `max_tokens` must be lengths that expressions have, got {grammar.min_tokens} to "
                f"{grammar.max_tokens}, which none of {tried} had"
            )
    return expressions, np.concatenate(values)


def _grow(grammar: Grammar, candidates: int, generator: torch.Generator) -> tuple[list[_Level], Array]:
    """Draws the shapes of expressions and counts their tokens; those that grow too large are left unfinished."""
    sizes = np.zeros(candidates, np.int64)
    owner = np.arange(candidates)
    levels: list[_Level] = []
    while len(owner) > 0:
        is_operator = torch.rand(len(owner), generator=generator).numpy() < grammar.operator_probability
        if not levels and grammar.min_tokens > 1:
            is_operator[:] = True  # a digit alone would be rejected
        if len(levels) + 1 == grammar.max_depth:
            is_operator[:] = False
        arguments = np.zeros(len(owner), np.int64)
        bounds = 2, grammar.max_arguments + 1
        arguments[is_operator] = torch.randint(*bounds, (int(is_operator.sum()),), generator=generator).numpy()
        levels.append(_Level(owner, arguments))
        sizes += np.bincount(owner, minlength=candidates) + np.bincount(owner[is_operator], minlength=candidates)
        awaited = np.bincount(owner, arguments, candidates).astype(np.int64)
        sizes = np.where(sizes + awaited > grammar.max_tokens, grammar.max_tokens + 1, sizes)
        owner = np.repeat(owner, np.where(sizes[owner] > grammar.max_tokens, 0, arguments))
    return levels, sizes


def _write(levels: list[_Level], chosen: Array, generator: torch.Generator) -> tuple[list[Array], Array]:
    """Draws the digits and operators of the chosen expressions, and gives their tokens and values."""
    symbols: list[_Symbols] = []
    size = value = np.zeros(0, np.int64)
    for level in reversed(levels):
        arguments = level.arguments[chosen[level.owner]]
        is_operator = arguments > 0
        token = torch.randint(10, arguments.shape, generator=generator).numpy()
        below, values_below = size, value
        size, value = np.ones_like(token), token.copy()
        if is_operator.any():
            counts = arguments[is_operator]
            starts = counts.cumsum() - counts
            operator = torch.randint(OPERATORS, counts.shape, generator=generator).numpy()
            token[is_operator] = FIRST_OPERATOR + operator
            size[is_operator] = 2 + np.add.reduceat(below, starts)
            value[is_operator] = _apply(operator, values_below, starts, counts)
        symbols.append(_Symbols(token, size, arguments))
    return np.split(_lay_out(symbols[::-1]), size.cumsum()[:-1]), value


def _lay_out(symbols: list[_Symbols]) -> Array:
    """Writes all expressions one after another, each as an operator, its arguments and a closing bracket."""
    size = symbols[0].size
    flat = np.zeros(size.sum(), np.uint8)
    position = size.cumsum() - size
    for level, below in pairwise([*symbols, symbols[-1]]):
        flat[position] = level.token
        is_operator = level.arguments > 0
        if not is_operator.any():
            break  # at the last level at the latest
        flat[(position + level.size - 1)[is_operator]] = CLOSING
        counts = level.arguments[is_operator]
        begin = below.size.cumsum() - below.size
        first = begin[counts.cumsum() - counts]
        position = begin + np.repeat(position[is_operator] + 1 - first, counts)
    return flat


def _apply(operator: Array, values: Array, starts: Array, counts: Array) -> Array:
    """The values of operators, whose arguments follow one another from their starts."""
    owner = np.repeat(np.arange(len(counts)), counts)
    ordered = np.sort(10 * owner + values) % 10
    middle = ordered[starts + (counts - 1) // 2] + ordered[starts + counts // 2]
    sums = np.add.reduceat(values, starts)
    results = np.stack([ordered[starts + counts - 1], ordered[starts], middle // 2, sums % 10])
    return results[operator, np.arange(len(counts))]
