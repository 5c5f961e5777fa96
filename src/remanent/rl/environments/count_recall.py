"""Count-recall: say how often a card has been shown so far."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanent._options import check_at_least
from remanent.rl.environments.draws import Keys, choice, uniform
from remanent.rl.environments.episodes import ArrayEnvironment, Moved, State, one_hot


@dataclass(frozen=True)
class CountRecall(ArrayEnvironment):
    """A card of a shuffled deck is shown at every step, and the agent is asked how often another kind was shown so far.

    A right answer gives 1 / T, a wrong one -1 / T, with T the cards of the deck, so that the return is in [-1, 1]. The
    kind that is asked for is drawn evenly, and the card just shown counts. Success is an episode in which every answer
    was right.

    Args:
        kinds: the number of kinds of card, at least 2.
        copies: how many cards of each kind the deck holds, at least 1.

    Raises:
        ValueError: a value is out of its range.

    Source: Morad, Kortvelesy, Bettini, Liwicki, Prorok (2023), "POPGym: Benchmarking partially observable reinforcement
    learning", for CountRecall.

    >>> CountRecall(kinds=2, copies=3).episodes([0]).begin().sum().item()  # a card and a question
    2.0
    """

    name = "count-recall"
    length_name = "cards"
    horizon = None
    """An episode ends with its last card."""

    kinds: int = 4
    copies: int = 5

    def __post_init__(self) -> None:
        check_at_least("kinds", self.kinds, 2)
        check_at_least("copies", self.copies, 1)

    @property
    def length(self) -> int:
        """T, the cards of the deck."""
        return self.kinds * self.copies

    @property
    def observation_size(self) -> int:
        """The card and the kind that is asked for, each one-hot."""
        return 2 * self.kinds

    @property
    def num_actions(self) -> int:
        """The counts from 0 to `copies`."""
        return self.copies + 1

    @property
    def chance(self) -> float:
        """Close to that of guessing every answer."""
        return 1 / self.num_actions**self.length

    def draw(self, keys: Keys) -> State:
        """The order of the cards, (B, T), and the counts of the kinds, with the first card counted."""
        places = np.arange(self.length)[None]
        order = uniform(keys[:, None], 0, places).argsort(axis=1, kind="stable") % self.kinds
        zeros = np.zeros(len(keys), np.int64)
        counts = one_hot(order[:, 0], self.kinds).astype(np.int64)
        return {"key": keys.view(np.int64), "turn": zeros, "right": zeros, "order": order, "counts": counts}

    def observe(self, state: State) -> NDArray[np.float32]:
        """The card and the kind that is asked for, (B, 2 kinds)."""
        return np.concatenate([one_hot(part, self.kinds) for part in (self._card(state), self._asked(state))], 1)

    def advance(self, state: State, actions: NDArray[Any]) -> tuple[State, Moved]:
        """Judges the answers, and turns the next card."""
        right = actions == np.take_along_axis(state["counts"], self._asked(state)[:, None], 1)[:, 0]
        turn = state["turn"] + 1
        after = {**state, "turn": turn, "right": state["right"] + right}
        more = (turn < self.length)[:, None] * one_hot(self._card(after), self.kinds).astype(np.int64)
        after["counts"] = state["counts"] + more
        all_right = (after["right"] == turn).astype(np.float64)
        return after, Moved(np.where(right, 1.0, -1.0) / self.length, turn == self.length, all_right)

    def _card(self, state: State) -> NDArray[np.int64]:
        turn = np.minimum(state["turn"], self.length - 1)  # after the last card, it is seen again
        return np.take_along_axis(state["order"], turn[:, None], 1)[:, 0]

    def _asked(self, state: State) -> NDArray[np.int64]:
        return choice(state["key"], self.kinds, 1, state["turn"])
