"""The T-maze: a sign at the start of a corridor says which way to turn at its end."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanent._options import check_at_least
from remanent.rl.environments.draws import Keys, choice
from remanent.rl.environments.episodes import ArrayEnvironment, Moved, State, one_hot

RIGHT, UP, LEFT, DOWN = range(4)
"""The actions, in the order of their numbers."""
TREASURE, WASTED = 4.0, -0.1
"""The reward at the end of the right way, and of a move into a wall or into the wrong arm."""


@dataclass(frozen=True)
class TMaze(ArrayEnvironment):
    """A corridor with a sign at its start that says in which arm of the junction at its end the treasure is.

    The agent sees where it is, one of four: at the start with a sign that points up, there with one that points down,
    in the corridor, or at the junction. It goes right, up, left or down. The arm with the treasure gives 4, the other
    one -0.1, and both end the episode; a move into a wall gives -0.1, any other move nothing. An episode is cut off
    after 3 L - 1 steps. Success is the treasure.

    Args:
        length: L, the steps from the start to the junction, at least 1.
        shortest: where given, the length of each episode is drawn from here to `length`, at least 1; None for `length`.

    Raises:
        ValueError: a length is out of its range.

    Source: Bakker (2001), "Reinforcement learning with long short-term memory"; Lambrechts, De Geeter, Vecoven, Ernst,
    Drion (2023), "Warming up recurrent neural networks to maximise reachable multistability greatly improves learning",
    for the horizon, and for actions that go back.

    >>> episodes = TMaze(length=1).episodes([0])
    >>> sign = episodes.begin()
    >>> _ = episodes.step(np.array([RIGHT]))
    >>> episodes.step(np.where(sign[:, 0] == 1, UP, DOWN)).reward.tolist()
    [4.0]
    """

    name = "t-maze"
    length_name = "steps of the corridor"
    length_option = "length"
    observation_size = 4
    """Where the agent is, one-hot."""
    num_actions = 4
    """Right, up, left, down."""
    chance = 0.5
    """Turning always to the same side."""

    length: int = 20
    shortest: int | None = None

    def __post_init__(self) -> None:
        check_at_least("length", self.length, 1)
        if self.shortest is not None:
            check_at_least("shortest", self.shortest, 1)
            if self.shortest > self.length:
                raise ValueError(f"`shortest` must be at most `length`, {self.length}, got {self.shortest}")

    @property
    def horizon(self) -> int:
        """3 L - 1 steps."""
        return 3 * self.length - 1

    def at_length(self, length: int) -> "TMaze":
        """A T-maze whose corridors all have this length."""
        return TMaze(length)

    def draw(self, keys: Keys) -> State:
        """The lengths of the corridors and the sides of the treasures, 1 for up."""
        low = self.length if self.shortest is None else self.shortest
        place = np.zeros(len(keys), np.int64)
        return {"place": place, "side": choice(keys, 2, 0), "end": low + choice(keys, self.length - low + 1, 1)}

    def observe(self, state: State) -> NDArray[np.float32]:
        """Where the agent is, (B, 4)."""
        place, end = state["place"], state["end"]
        seen = np.where(place == 0, 1 - state["side"], np.where(place == end, 3, 2))
        return one_hot(seen, self.observation_size)

    def advance(self, state: State, actions: NDArray[Any]) -> tuple[State, Moved]:
        """Moves each agent."""
        place, end = state["place"], state["end"]
        after = np.clip(place + (actions == RIGHT) - (actions == LEFT), 0, end)
        turned = (place == end) & ((actions == UP) | (actions == DOWN))
        found = turned & ((actions == UP) == (state["side"] == 1))
        reward = np.where(found, TREASURE, np.where(after == place, WASTED, 0.0))
        return {**state, "place": after}, Moved(reward, turned, found.astype(np.float64))
