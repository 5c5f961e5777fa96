"""Repeat-first: name the suit of the first card at every later one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanent._options import check_at_least
from remanent.rl.environments.draws import Keys, choice
from remanent.rl.environments.episodes import ArrayEnvironment, Moved, State, one_hot


@dataclass(frozen=True)
class RepeatFirst(ArrayEnvironment):
    """A card is shown at every step, and at each the agent names the suit of the first one.

    A right answer gives 1 / T, a wrong one -1 / T, so that the return is in [-1, 1]. Suits are drawn evenly. Success is
    an episode in which every answer was right.

    Args:
        length: T, the number of cards, at least 1.
        suits: the number of suits, at least 2.

    Raises:
        ValueError: a value is out of its range.

    Source: Morad, Kortvelesy, Bettini, Liwicki, Prorok (2023), "POPGym: Benchmarking partially observable reinforcement
    learning", for RepeatFirst.

    >>> episodes = RepeatFirst(length=3).episodes([0])
    >>> first = episodes.begin().argmax(1)
    >>> [episodes.step(first).terminated.item() for _ in range(3)]
    [False, False, True]
    """

    name = "repeat-first"
    length_name = "cards"
    length_option = "length"
    horizon = None
    """An episode ends with its last card."""

    length: int = 50
    suits: int = 4

    def __post_init__(self) -> None:
        check_at_least("length", self.length, 1)
        check_at_least("suits", self.suits, 2)

    @property
    def observation_size(self) -> int:
        """The suit of the card, one-hot."""
        return self.suits

    @property
    def num_actions(self) -> int:
        """The suit of the first card."""
        return self.suits

    @property
    def chance(self) -> float:
        """Naming the suit of the card that is seen at the first card, and guessing at each later one."""
        return 1 / self.suits ** (self.length - 1)

    def draw(self, keys: Keys) -> State:
        """The key of each episode, from which its cards follow, and the suit of its first card."""
        zeros = np.zeros(len(keys), np.int64)
        return {"key": keys.view(np.int64), "turn": zeros, "first": choice(keys, self.suits, 0), "right": zeros}

    def observe(self, state: State) -> NDArray[np.float32]:
        """The suit of the present card, (B, suits)."""
        return one_hot(choice(state["key"], self.suits, state["turn"]), self.suits)

    def advance(self, state: State, actions: NDArray[Any]) -> tuple[State, Moved]:
        """Judges the answers, and turns the next card."""
        right = actions == state["first"]
        after = {"turn": state["turn"] + 1, "right": state["right"] + right}
        ended = after["turn"] == self.length
        all_right = (after["right"] == after["turn"]).astype(np.float64)
        return {**state, **after}, Moved(np.where(right, 1.0, -1.0) / self.length, ended, all_right)
