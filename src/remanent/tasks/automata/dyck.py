"""Dyck words: whether brackets of several kinds are all closed, in the right order, to a bounded depth."""

from dataclasses import dataclass
from functools import lru_cache

from remanent._options import check_at_least
from remanent.tasks.automata.automaton import MOST_TRANSITIONS, Automaton
from remanent.tasks.automata.walks import Walk
from remanent.tasks.automata.words import LanguageTask

OPENING, CLOSING = "([{<", ")]}>"
"""The brackets of the first four kinds."""


@dataclass(frozen=True)
class Dyck(LanguageTask):
    r"""Dyck words of bounded depth: the answer is 1 where all brackets so far are closed in the right order, else 0.

    Letter i < K opens bracket i, letter K + i closes it. A word is lost for good once it closes a bracket that is not
    the one opened last, or opens more than D. The first wrong letter comes at step t with probability $\frac{1}{7 t}$
    (`Walk`), so that at every length some words are lost and others are not; until then a bracket is opened or closed
    equally often, where both are right. The metric is the share of words that are right at every step.

    Args:
        kinds: K, the kinds of brackets, at least 1.
        depth: D, the most brackets that may be open, at least 1. The stacks of at most D brackets, one more state for
            lost words, times 2 K letters may be at most 262,144.
        steps: T, the number of letters, at least 1.

    Raises:
        TypeError: an option is not an int.
        ValueError: an option is out of its range.

    Source: Hewitt, Hahn, Ganguli, Liang, Manning (2020), arXiv 2010.07515.

    >>> import torch
    >>> task = Dyck()
    >>> task.automaton.run(torch.tensor([[0, 1, 3, 2], [0, 1, 2, 3]]))  # ( [ ] ) and ( [ ) ]
    tensor([[0, 0, 0, 1],
            [0, 0, 0, 0]])
    """

    name = "dyck"

    kinds: int = 2
    depth: int = 5
    steps: int = 64

    def __post_init__(self) -> None:
        check_at_least("kinds", self.kinds, 1)
        check_at_least("depth", self.depth, 1)
        check_at_least("steps", self.steps, 1)
        states = level = 1
        for _ in range(self.depth):
            level *= self.kinds
            states += level
            if (states + 1) * 2 * self.kinds > MOST_TRANSITIONS:
                rule = f"give an automaton of at most {MOST_TRANSITIONS} transitions"
                raise ValueError(f"`kinds` and `depth` must {rule}, got {self.kinds} and {self.depth}")

    @property
    def walk(self) -> Walk:
        """The walk through an automaton whose states are the brackets that are open; the last is that of lost words."""
        return _walk(self.kinds, self.depth)

    @property
    def letter_names(self) -> tuple[str, ...]:
        """The brackets, of up to four kinds; else numbers."""
        return tuple(OPENING[: self.kinds] + CLOSING[: self.kinds]) if self.kinds <= 4 else super().letter_names


@lru_cache(maxsize=16)
def _walk(kinds: int, depth: int) -> Walk:
    stacks: list[tuple[int, ...]] = [()]
    level = stacks
    for _ in range(depth):
        level = [(*stack, kind) for stack in level for kind in range(kinds)]
        stacks = stacks + level
    number = {stack: i for i, stack in enumerate(stacks)}
    lost = len(stacks)
    rows = []
    for stack in stacks:
        opened = [number.get((*stack, kind), lost) for kind in range(kinds)]
        closed = [number[stack[:-1]] if stack and stack[-1] == kind else lost for kind in range(kinds)]
        rows.append(opened + closed)
    rows.append([lost] * (2 * kinds))
    # one bracket can be closed where each of the kinds can be opened
    return Walk(Automaton(rows, [1, *[0] * lost]), odds=(1,) * kinds + (kinds,) * kinds)
