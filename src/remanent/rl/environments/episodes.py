"""What every environment offers: its options, and episodes that run side by side, each from a seed of its own."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from remanent._options import check_at_least
from remanent.rl.environments.draws import Keys, mixed

State = dict[str, NDArray[Any]]
"""Where the episodes of a batch are: arrays of types that torch has, by name, with an entry for each episode."""


class Moved(NamedTuple):
    """What a step gives.

    Attributes:
        reward: float64 (B,).
        ended: bool (B,), whether the episode has ended by its own rules.
        score: float64 (B,), of an episode that has ended: what `Environment.metric` is the mean of.
    """

    reward: NDArray[np.float64]
    ended: NDArray[np.bool_]
    score: NDArray[np.float64]


class Step(NamedTuple):
    """What the episodes of a batch give after a step.

    Attributes:
        observation: float32 (B, M), after the step; of an episode that has ended, its last one.
        reward: float32 (B,).
        terminated: bool (B,), whether the episode has ended by its own rules.
        truncated: bool (B,), whether it was cut off at the horizon.
        score: float64 (B,), of an episode that has ended.
    """

    observation: NDArray[np.float32]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    score: NDArray[np.float64]

    @property
    def ended(self) -> NDArray[np.bool_]:
        """Whether the episode has ended in any way, (B,)."""
        return self.terminated | self.truncated


class Environment(ABC):
    """A world with actions to choose from, of which an agent sees only a part.

    An environment is a frozen dataclass of its options, as a task is. What is abstract here may be a class attribute or
    a property of a subclass.
    """

    name: ClassVar[str]
    """The name in `ENVIRONMENTS` and in configurations."""
    metric: ClassVar[str] = "success"
    """The name in `METRICS` of the mean of the scores of episodes."""
    length_name: ClassVar[str] = "steps"
    """What `length` counts, in words."""
    length_option: ClassVar[str | None] = None
    """The option that `length` is, which an evaluation changes; None where the length is fixed."""
    largest_seen: ClassVar[float] = 1.0
    """No number that an agent sees is farther from 0."""

    @property
    def label(self) -> str:
        """What tables call the environment."""
        return self.name

    @property
    def named(self) -> dict[str, Any]:
        """The options that are part of what the environment is called, by name."""
        return {}

    @property
    @abstractmethod
    def length(self) -> int:
        """How long an episode asks an agent to remember, in what `length_name` says."""

    @property
    @abstractmethod
    def observation_size(self) -> int:
        """M, the numbers that an agent sees at a step."""

    @property
    @abstractmethod
    def num_actions(self) -> int:
        """The number of actions to choose from."""

    @property
    @abstractmethod
    def horizon(self) -> int | None:
        """The steps after which an episode is cut off; None where it ends by itself."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """The metric of the best agent without a memory."""

    @abstractmethod
    def episodes(self, seeds: Sequence[int] | NDArray[Any]) -> "Episodes":
        """Episodes side by side, of which each begins again where it is told to, with another one of its seed.

        Args:
            seeds: one for each, at least 0: the n-th episode of a seed is the same in every batch.
        """

    def at_length(self, length: int) -> Self:
        """The same environment at another length.

        Raises:
            ValueError: the length is fixed, or `length` is out of its range.
        """
        if self.length_option is None:
            raise ValueError(f"`length` must not be given for {self.label}, whose length is fixed, got {length}")
        return dataclasses.replace(self, **{self.length_option: length})  # type: ignore[type-var]


class Episodes(ABC):
    """Episodes that run side by side.

    Args:
        environment: with its options.
        seeds: one for each episode, at least 0.

    Attributes:
        numbers: how often each has begun, less one: int64 (B,).
        steps: that each has taken, int64 (B,).

    Raises:
        ValueError: a seed is below 0, or there are none.
    """

    def __init__(self, environment: Environment, seeds: Sequence[int] | NDArray[Any]) -> None:
        check_at_least("seeds", int(min(seeds, default=-1)), 0)
        self.environment = environment
        self.seeds = np.asarray(seeds).astype(np.uint64)
        self.numbers = np.full(len(self.seeds), -1, np.int64)
        self.steps = np.zeros(len(self.seeds), np.int64)

    @property
    def keys(self) -> Keys:
        """What each present episode is drawn from, (B,)."""
        return mixed(self.seeds, self.numbers)

    def begin(self, where: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """Begins the next episode of each seed, or of some, and gives the observations of all, (B, M).

        Args:
            where: bool (B,), which begin; None for all.
        """
        where = np.ones(len(self.seeds), bool) if where is None else where
        self.numbers = self.numbers + where
        self.steps = np.where(where, 0, self.steps)
        self._begin(where)
        return self._observe()

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Takes one step in each episode; one that has ended must begin again before the next one.

        Args:
            actions: int64 (B,), each in [0, `num_actions`).

        Raises:
            ValueError: there is not one action for each, or one is out of its range, or an episode has not begun.
            TypeError: actions are not whole numbers.
        """
        actions, size = np.asarray(actions), self.environment.num_actions
        if actions.dtype.kind not in "iu":
            raise TypeError(f"`actions` must be whole numbers, got {actions.dtype}")
        if actions.shape != self.seeds.shape:
            raise ValueError(f"`actions` must have shape (B={len(self.seeds)},), got {actions.shape}")
        if ((actions < 0) | (actions >= size)).any():
            raise ValueError(f"`actions` must be in [0, {size}), got {actions.tolist()}")
        if (self.numbers < 0).any():
            raise ValueError("`begin` must be called before `step`, got episodes that have not begun")
        self.steps = self.steps + 1
        moved, cut = self._advance(actions)
        horizon = self.environment.horizon
        cut = cut if horizon is None else cut | (self.steps >= horizon)
        reward = moved.reward.astype(np.float32)
        return Step(self._observe(), reward, moved.ended, cut & ~moved.ended, moved.score)

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Where the episodes are, as arrays and plain values, from which others of these seeds go on."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""

    @abstractmethod
    def _begin(self, where: NDArray[np.bool_]) -> None:
        """Begins some episodes, by their `keys`."""

    @abstractmethod
    def _observe(self) -> NDArray[np.float32]:
        """What is seen in each episode now, (B, M)."""

    @abstractmethod
    def _advance(self, actions: NDArray[np.int64]) -> tuple[Moved, NDArray[np.bool_]]:
        """Takes a step in each episode; gives what it gave, and which were cut off, (B,)."""


class ArrayEnvironment(Environment):
    """An environment that steps a whole batch by operations on arrays."""

    @abstractmethod
    def draw(self, keys: Keys) -> State:
        """The beginnings of episodes, each drawn from its key alone."""

    @abstractmethod
    def observe(self, state: State) -> NDArray[np.float32]:
        """What is seen in each episode, (B, M)."""

    @abstractmethod
    def advance(self, state: State, actions: NDArray[np.int64]) -> tuple[State, Moved]:
        """The states after a step, and what it gave."""

    def episodes(self, seeds: Sequence[int] | NDArray[Any]) -> "Episodes":
        """Episodes side by side: see `Environment.episodes`."""
        return ArrayEpisodes(self, seeds)


class ArrayEpisodes(Episodes):
    """Episodes of an `ArrayEnvironment`.

    Args:
        environment: with its options.
        seeds: one for each episode, at least 0.
    """

    def __init__(self, environment: ArrayEnvironment, seeds: Sequence[int] | NDArray[Any]) -> None:
        super().__init__(environment, seeds)
        self.world = environment
        self.state: State = {}

    def state_dict(self) -> dict[str, Any]:
        """The numbers of the episodes, and their states."""
        return {"numbers": self.numbers, "steps": self.steps, "state": dict(self.state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.numbers, self.steps, self.state = state["numbers"], state["steps"], dict(state["state"])

    def _begin(self, where: NDArray[np.bool_]) -> None:
        fresh = self.world.draw(self.keys)
        before = self.state or fresh
        self.state = {name: np.where(_like(where, new), new, before[name]) for name, new in fresh.items()}

    def _observe(self) -> NDArray[np.float32]:
        return self.world.observe(self.state)

    def _advance(self, actions: NDArray[np.int64]) -> tuple[Moved, NDArray[np.bool_]]:
        self.state, moved = self.world.advance(self.state, actions)
        return moved, np.zeros_like(moved.ended)


def _like(where: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.bool_]:
    """A mask of episodes, of as many axes as the values have."""
    return where.reshape(-1, *(1,) * (values.ndim - 1))


def one_hot(values: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """Ones where the value is, (B, size); none where it is below 0.

    >>> one_hot(np.array([1, -1]), 2).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    return (values[:, None] == np.arange(size)).astype(np.float32)
