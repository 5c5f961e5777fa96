"""Our environments in gymnasium's interface: one episode at a time, or a whole batch as one vector environment."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from remanent._options import check_at_least
from remanent.rl.environments import ENVIRONMENTS
from remanent.rl.environments.episodes import ArrayEnvironment, Environment, Episodes

SEEDS = 2**31
"""The number of seeds from which one is drawn where none is given."""


class GymEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """One episode at a time of an environment of ours, for packages that take an environment of gymnasium's.

    `reset(seed=s)` begins the first episode of the seed s, and each `reset` without a seed the next one of it; the
    first of a `GymVectorEnv` with that seed is the same. Without any seed, one is drawn.

    Args:
        environment: with its options.
        render_mode: nothing is drawn, so it must be None.

    Raises:
        ValueError: a `render_mode` is given.

    >>> from remanent.rl.environments import TMaze
    >>> seen, _ = GymEnv(TMaze(length=5)).reset(seed=3)
    >>> seen.shape
    (4,)
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - gymnasium declares it so

    def __init__(self, environment: Environment, render_mode: str | None = None) -> None:
        check_no_drawing(render_mode)
        self.environment, self.render_mode = environment, render_mode
        self.observation_space, self.action_space = spaces(environment)
        self.episodes: Episodes | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins the first episode of a seed, or the next one."""
        super().reset(seed=seed)
        if seed is not None or self.episodes is None:
            chosen = int(self.np_random.integers(SEEDS)) if seed is None else seed
            self.episodes = self.environment.episodes([chosen])
        return self.episodes.begin()[0], {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Takes a step; `info` holds the `score` of an episode that has ended."""
        if self.episodes is None:
            raise gymnasium.error.ResetNeeded("`reset` must be called before `step`")
        found = self.episodes.step(np.array([action]).reshape(1))
        info = {"score": found.score.item()} if found.ended.item() else {}
        flags = bool(found.terminated.item()), bool(found.truncated.item())
        return found.observation[0], found.reward.item(), *flags, info


class GymVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.int64], NDArray[Any]]):
    """Episodes of an environment of ours side by side, which step as one operation on arrays.

    An episode that ends begins again in the same step; `info` then holds its last observation as "final_obs", and its
    score in "final_info". `reset(seed=s)` seeds the episodes with s, s + 1, and so on, as gymnasium's own do.

    Args:
        environment: with its options.
        num_envs: B, the number of episodes, at least 1.
        render_mode: nothing is drawn, so it must be None.

    Raises:
        ValueError: `num_envs` is below 1, or a `render_mode` is given.

    >>> from remanent.rl.environments import TMaze
    >>> env = GymVectorEnv(TMaze(length=5), num_envs=200)
    >>> seen, _ = env.reset(seed=0)
    >>> env.step(np.zeros(200, int))[0].shape
    (200, 4)
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, environment: Environment, num_envs: int = 1, render_mode: str | None = None) -> None:
        check_at_least("num_envs", num_envs, 1)
        check_no_drawing(render_mode)
        self.environment, self.num_envs, self.render_mode = environment, num_envs, render_mode
        self.single_observation_space, self.single_action_space = spaces(environment)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.episodes: Episodes | None = None

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins the first episode of each seed, or the next one of each."""
        super().reset(seed=seed if isinstance(seed, int) else None)
        if seed is not None or self.episodes is None:
            first = int(self.np_random.integers(SEEDS)) if seed is None else seed
            seeds = [first + i for i in range(self.num_envs)] if isinstance(first, int) else list(first)
            if len(seeds) != self.num_envs:
                raise ValueError(f"`seed` must be one number or {self.num_envs}, one for each, got {len(seeds)}")
            self.episodes = self.environment.episodes(seeds)
        return self.episodes.begin(), {}

    def step(self, actions: NDArray[np.int64]) -> tuple[Any, ...]:
        """Takes a step in each episode, and begins those again that have ended."""
        if self.episodes is None:
            raise gymnasium.error.ResetNeeded("`reset` must be called before `step`")
        found = self.episodes.step(np.asarray(actions))
        seen, info, ended = found.observation, {}, found.ended
        if ended.any():
            last = np.full(self.num_envs, None, object)
            for i in np.flatnonzero(ended):
                last[i] = seen[i]
            scores = {"score": np.where(ended, found.score, 0.0), "_score": ended}
            info = {"final_obs": last, "_final_obs": ended, "final_info": scores, "_final_info": ended}
            seen = self.episodes.begin(ended)
        return seen, found.reward, found.terminated, found.truncated, info


def make_one(name: str, options: Mapping[str, Any] | None = None, render_mode: str | None = None) -> GymEnv:
    """What `gymnasium.make("remanent/t-maze-v0", options={"length": 100})` gives, once this module is imported.

    Args:
        name: in `ENVIRONMENTS`, which the id gives.
        options: of the environment, by name.
        render_mode: nothing is drawn, so it must be None.
    """
    return GymEnv(ENVIRONMENTS[name](**(options or {})), render_mode)


def make_many(
    name: str, num_envs: int = 1, options: Mapping[str, Any] | None = None, render_mode: str | None = None
) -> GymVectorEnv:
    """What `gymnasium.make_vec` gives of the same ids.

    Args:
        name: in `ENVIRONMENTS`, which the id gives.
        num_envs: B, the number of episodes, at least 1.
        options: of the environment, by name.
        render_mode: nothing is drawn, so it must be None.
    """
    return GymVectorEnv(ENVIRONMENTS[name](**(options or {})), num_envs, render_mode)


for _name, _kind in ENVIRONMENTS.items():
    if issubclass(_kind, ArrayEnvironment):  # others are known to gymnasium already
        gymnasium.register(
            f"remanent/{_name}-v0",
            entry_point=f"{__name__}:make_one",
            vector_entry_point=f"{__name__}:make_many",
            kwargs={"name": _name},
        )


def spaces(environment: Environment) -> tuple[Any, Any]:
    """The spaces of observations and actions of an environment, as gymnasium describes them."""
    bound, size = environment.largest_seen, environment.observation_size
    return Box(-bound, bound, (size,), np.float32), Discrete(environment.num_actions)


def check_no_drawing(render_mode: str | None) -> None:
    """Raises unless nothing is to be drawn."""
    if render_mode is not None:
        raise ValueError(f"`render_mode` must be None, since nothing is drawn, got {render_mode!r}")
