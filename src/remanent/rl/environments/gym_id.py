"""Environments of other packages, by their ids in gymnasium, such as those of POPGym."""

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanent._options import check_at_least
from remanent._plugins import naming_extra
from remanent.rl.environments.episodes import Environment, Episodes, Moved


@dataclass(frozen=True)
class GymId(Environment):
    """An environment that gymnasium knows by an id: its observations are flattened, its actions are discrete.

    Those of POPGym are known where the package is installed, such as "popgym-RepeatFirstEasy-v0". Each episode is begun
    with a seed of its own, so that it is a function of that seed and of the actions; a run that is resumed takes the
    actions of the episodes that were under way again. The score of an episode is its return.

    Args:
        id: the id, as `gymnasium.make` takes it.
        most_steps: the steps after which an episode is cut off, at least 1; None for the environment's own limit.

    Raises:
        ValueError: there is no such id, the observations are images or cannot be flattened, or the actions are not
            discrete.
        ModuleNotFoundError: gymnasium is not installed; the message names the extra.

    >>> GymId("CartPole-v1").observation_size
    4
    """

    name = "gym"
    metric = "return"
    length_name = "steps"
    largest_seen = np.inf
    chance = 0.0
    """No return at all; what an agent without a memory gets is not known."""

    id: str = "CartPole-v1"
    most_steps: int | None = None

    def __post_init__(self) -> None:
        if self.most_steps is not None:
            check_at_least("most_steps", self.most_steps, 1)
        _sizes(self.id)

    @property
    def label(self) -> str:
        """The id."""
        return self.id

    @property
    def named(self) -> dict[str, Any]:
        """The id."""
        return {"id": self.id}

    @property
    def observation_size(self) -> int:
        """The numbers of a flattened observation."""
        return _sizes(self.id)[0]

    @property
    def num_actions(self) -> int:
        """The number of actions."""
        return _sizes(self.id)[1]

    @property
    def horizon(self) -> int | None:
        """`most_steps`; the environment's own limit holds as well."""
        return self.most_steps

    @property
    def length(self) -> int:
        """The most steps of an episode; 1 where there is no limit."""
        own = _sizes(self.id)[2]
        limits = [limit for limit in (self.most_steps, own) if limit is not None]
        return min(limits, default=1)

    def episodes(self, seeds: Sequence[int] | NDArray[Any]) -> Episodes:
        """Episodes side by side: see `Environment.episodes`; they step one after the other."""
        return GymEpisodes(self, seeds)


class GymEpisodes(Episodes):
    """Episodes of an environment of gymnasium's, which step one after the other.

    Args:
        environment: the id.
        seeds: one for each episode, at least 0.
    """

    def __init__(self, environment: GymId, seeds: Sequence[int] | NDArray[Any]) -> None:
        super().__init__(environment, seeds)
        self.worlds = [make(environment.id) for _ in self.seeds]
        self.seen = np.zeros((len(self.seeds), environment.observation_size), np.float32)
        self.taken: list[list[int]] = [[] for _ in self.seeds]
        self.returns = np.zeros(len(self.seeds))

    def state_dict(self) -> dict[str, Any]:
        """The numbers of the episodes, and the actions that were taken in each."""
        return {"numbers": self.numbers, "steps": self.steps, "taken": [list(each) for each in self.taken]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the actions again; an environment that is not a function of its seed goes another way."""
        self.numbers = np.array(state["numbers"])
        self._begin(np.ones(len(self.seeds), bool))
        for i, actions in enumerate(state["taken"]):
            for action in actions:
                self._move(i, action)
        self.steps = np.array(state["steps"])

    def _begin(self, where: NDArray[np.bool_]) -> None:
        keys = self.keys
        for i in np.flatnonzero(where):
            first, _ = self.worlds[i].reset(seed=int(keys[i] >> np.uint64(33)))
            self.seen[i] = flat(self.worlds[i].observation_space, first)
            self.taken[i], self.returns[i] = [], 0.0

    def _observe(self) -> NDArray[np.float32]:
        return self.seen.copy()

    def _advance(self, actions: NDArray[np.int64]) -> tuple[Moved, NDArray[np.bool_]]:
        moved = [self._move(i, int(action)) for i, action in enumerate(actions)]
        reward, ended, cut = (np.array(part) for part in zip(*moved, strict=True))
        return Moved(reward, ended, self.returns.copy()), cut

    def _move(self, i: int, action: int) -> tuple[float, bool, bool]:
        seen, reward, ended, cut, _ = self.worlds[i].step(action)
        self.seen[i] = flat(self.worlds[i].observation_space, seen)
        self.taken[i].append(action)
        self.returns[i] += reward
        return float(reward), bool(ended), bool(cut)


def make(id: str) -> Any:
    """An environment by its id; POPGym's are registered first where the package is installed.

    Raises:
        ValueError: there is no such id.
    """
    with naming_extra():
        import gymnasium
    with contextlib.suppress(ModuleNotFoundError):
        import popgym  # noqa: F401
    try:
        return gymnasium.make(id, disable_env_checker=True)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise ValueError(f"`id` must be an environment that gymnasium can make, got {id!r} ({error})") from None


def flat(space: Any, value: Any) -> NDArray[np.float32]:
    """An observation as one row of numbers; of a choice, ones and zeros."""
    from gymnasium.spaces.utils import flatten

    return np.asarray(flatten(space, value), np.float32)


@functools.cache
def _sizes(id: str) -> tuple[int, int, int | None]:
    """The numbers of a flattened observation, the number of actions, and the most steps of an episode."""
    world = make(id)
    seen, action, limit = world.observation_space, world.action_space, world.spec.max_episode_steps
    limit = limit or getattr(world.unwrapped, "max_episode_length", None)
    world.close()
    from gymnasium.spaces import Box, Discrete
    from gymnasium.spaces.utils import flatdim

    if isinstance(seen, Box) and len(seen.shape) > 1:
        raise ValueError(f"`id` must have observations of one axis, got images or others of {seen.shape} from {id!r}")
    try:
        size = int(flatdim(seen))
    except (ValueError, NotImplementedError) as error:
        raise ValueError(f"`id` must have observations of a fixed size, got {seen} from {id!r} ({error})") from None
    if not isinstance(action, Discrete) or action.start != 0:
        raise ValueError(f"`id` must have discrete actions that begin at 0, got {action} from {id!r}")
    return size, int(action.n), limit
