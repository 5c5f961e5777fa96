"""The tree maze: signs at the start name the way through several junctions, one after the other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanent._options import check_at_least
from remanent.rl.environments.draws import Keys, choice
from remanent.rl.environments.episodes import ArrayEnvironment, Moved, State
from remanent.rl.environments.t_maze import DOWN, LEFT, RIGHT, TREASURE, UP, WASTED


@dataclass(frozen=True)
class TreeMaze(ArrayEnvironment):
    """A tree of corridors, at whose start signs name the way to the one leaf with the treasure.

    The agent sees a sign for each junction, 1 for up and -1 for down, at the start alone; and whether it is in a
    corridor or at a junction. A turn in the right direction leads into the next corridor, and after the last junction
    to the treasure, which gives 4; a wrong turn gives -0.1, and both ends end the episode. A move into a wall gives
    -0.1. An episode is cut off after 3 L D - 1 steps. Success is the treasure.

    Args:
        length: L, the steps of each corridor, at least 1.
        depth: D, the number of junctions on the way, in [1, 16].

    Raises:
        ValueError: a value is out of its range.

    Source: our own, after the T-maze of Bakker (2001): what was seen is looked up in the order of the junctions.

    >>> TreeMaze(length=3, depth=2).episodes([0, 1]).begin().shape
    (2, 4)
    """

    name = "tree-maze"
    length_name = "steps of each corridor"
    length_option = "length"
    num_actions = 4
    """Right, up, left, down."""

    length: int = 5
    depth: int = 3

    def __post_init__(self) -> None:
        check_at_least("length", self.length, 1)
        check_at_least("depth", self.depth, 1)
        if self.depth > 16:
            raise ValueError(f"`depth` must be at most 16, got {self.depth}")

    @property
    def observation_size(self) -> int:
        """A sign for each junction, the corridor, the junction."""
        return self.depth + 2

    @property
    def horizon(self) -> int:
        """3 L D - 1 steps."""
        return 3 * self.length * self.depth - 1

    @property
    def chance(self) -> float:
        """Turning to the same sides in every episode."""
        return 0.5**self.depth

    def draw(self, keys: Keys) -> State:
        """The way to the treasure: for each junction 1 for up, or 0."""
        way = np.stack([choice(keys, 2, junction) for junction in range(self.depth)], axis=1)
        zeros = np.zeros(len(keys), np.int64)
        return {"place": zeros, "junction": zeros, "way": way}

    def observe(self, state: State) -> NDArray[np.float32]:
        """Signs, the corridor and the junction, (B, D + 2)."""
        place = state["place"]
        signs = np.where(((place == 0) & (state["junction"] == 0))[:, None], 2 * state["way"] - 1, 0)
        return np.concatenate([signs, np.stack([place < self.length, place == self.length], 1)], 1).astype(np.float32)

    def advance(self, state: State, actions: NDArray[Any]) -> tuple[State, Moved]:
        """Moves each agent."""
        place, junction = state["place"], state["junction"]
        after = np.clip(place + (actions == RIGHT) - (actions == LEFT), 0, self.length)
        turned = (place == self.length) & ((actions == UP) | (actions == DOWN))
        asked = np.take_along_axis(state["way"], junction[:, None], 1)[:, 0]
        right = turned & ((actions == UP) == (asked == 1))
        found = right & (junction == self.depth - 1)
        wasted = (after == place) & ~right
        reward = np.where(found, TREASURE, np.where(wasted, WASTED, 0.0))
        moved = {"place": np.where(right, 0, after), "junction": np.minimum(junction + right, self.depth - 1)}
        return {**state, **moved}, Moved(reward, found | (turned & ~right), found.astype(np.float64))
