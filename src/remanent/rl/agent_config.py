"""How an agent is trained: frames, rates, annealing, checkpoints; plain values, checked when made."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remanent._files import from_dict, read_json
from remanent._identity import OWN_COLUMN, UNCOUNTED, fields_that
from remanent._options import check_at_least, check_bool, check_choice, check_range
from remanent.models import ModelConfig
from remanent.records.configuration import read_tables, suiting, task_table
from remanent.records.identity import beside_the_point, hashed
from remanent.records.record import AGENT
from remanent.records.training_config import KEPT, MOST_THREADS, Annealing
from remanent.rl.environments import ENVIRONMENTS, Environment

ALGORITHMS = ("ppo", "dqn")
"""How an agent may learn: `AgentConfig.algorithm`."""
TABLES = ("task", "model", AGENT)
"""The tables of a configuration; the environment is its task."""


@dataclass(frozen=True)
class AgentConfig(Annealing):
    """How an agent is trained.

    Args:
        algorithm: "ppo", or "dqn" for recurrent Q-learning from whole episodes.
        frames: the steps in environments that training takes, at least 1; the last window is whole.
        episodes: the number of episodes side by side, at least 1.
        window: the steps of each episode between two updates, at least 1: gradients flow back no further.
        epochs: how often an update goes through its windows, at least 1.
        batches: into how many batches of episodes each time, at least 1; it must divide `episodes`.
        learning_rate: of Adam, above 0; it falls linearly to 0.
        gamma: the discount of later rewards, in [0, 1].
        gradient_clip: the largest norm of the gradient, to which a larger one is scaled down, above 0.
        gae_lambda: for PPO, the weight of later estimates of the advantage, in [0, 1].
        clip: for PPO, how far the ratio of probabilities may leave 1 before it stops counting, above 0.
        entropy: for PPO, the weight of the entropy of the policy, at least 0.
        critic: for PPO, the weight of the error of the estimated returns, at least 0.
        kept_windows: for DQN, how many windows of episodes are kept to learn from, at least 1: the last ones of each of
            the episodes side by side.
        target_every: for DQN, after how many updates the network that estimates targets follows, at least 1.
        explore: for DQN, the probability of a random action at first, in [0, 1]; it falls linearly to `explore_last`.
        explore_last: the probability of a random action in the end, in [0, 1].
        explore_share: the share of the frames within which it falls, in (0, 1].
        anneal: whether the epsilon of bistable units is annealed from 1 to 0 over the frames.
        anneal_hold: the share of frames at the start in which epsilon stays at 1, in [0, 1).
        anneal_ramp: the share of frames after `anneal_hold` in which it falls linearly to 0, in (0, 1].
        checkpoint_every: the number of updates between checkpoints, before each of which the agent is scored in 100
            episodes, with its best actions; at least 1.
        keep: the weights with which the run ends: its "last" ones, or those of the "best" of these scores. Scores count
            only once epsilon is 0; where none counts, the last weights are kept.
        keep_checkpoints: how many of the last checkpoints are kept beside the best one, at least 1.
        seed: the seed of weights, episodes, actions and batches, at least 0.
        threads: the number of torch threads, in [1, 1024]; the same number gives the same bits.

    Raises:
        ValueError: a value is out of its range.
        TypeError: a count is not an int.
    """

    algorithm: str = "ppo"
    frames: int = 250_000
    episodes: int = 64
    window: int = 64
    epochs: int = 4
    batches: int = 4
    learning_rate: float = 1e-3
    gamma: float = 0.98
    gradient_clip: float = 1.0
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    critic: float = 0.5
    kept_windows: int = 16
    target_every: int = 16
    explore: float = 1.0
    explore_last: float = 0.05
    explore_share: float = 0.5
    anneal: bool = True
    anneal_hold: float = 0.05
    anneal_ramp: float = 0.5
    checkpoint_every: int = 10
    keep: str = "best"
    keep_checkpoints: int = field(default=2, metadata=UNCOUNTED)
    seed: int = field(default=0, metadata=OWN_COLUMN)
    threads: int = field(default=1, metadata=UNCOUNTED)

    def __post_init__(self) -> None:
        check_choice("algorithm", self.algorithm, ALGORITHMS)
        check_choice("keep", self.keep, KEPT)
        for name in ("frames", "episodes", "window", "epochs", "batches", "kept_windows", "target_every"):
            check_at_least(name, getattr(self, name), 1)
        for name in ("checkpoint_every", "keep_checkpoints", "threads"):
            check_at_least(name, getattr(self, name), 1)
        check_range("threads", self.threads, 1, MOST_THREADS)
        check_at_least("seed", self.seed, 0)
        if self.episodes % self.batches:
            raise ValueError(f"`batches` must divide `episodes`, {self.episodes}, got {self.batches}")
        check_bool("anneal", self.anneal)
        for name in ("learning_rate", "gradient_clip", "clip"):
            check_range(name, getattr(self, name), 0, float("inf"), open_low=True)
        for name in ("entropy", "critic"):
            check_range(name, getattr(self, name), 0, float("inf"))
        for name in ("gamma", "gae_lambda", "explore", "explore_last"):
            check_range(name, getattr(self, name), 0, 1)
        check_range("explore_share", self.explore_share, 0, 1, open_low=True)
        self.check_annealing()

    @property
    def updates(self) -> int:
        """The number of updates, each after one window of all episodes."""
        return -(-self.frames // (self.episodes * self.window))

    def exploration(self, share: float) -> float:
        """The probability of a random action after a share of the frames."""
        done = min(1.0, share / self.explore_share)
        return self.explore + (self.explore_last - self.explore) * done


@dataclass(frozen=True)
class AgentExperiment:
    """An environment, a model and how it is trained: all that the run of an agent depends on.

    Args:
        environment: the environment.
        model: the configuration of the model, with the sizes of the environment.
        agent: how the agent is trained.

    Raises:
        ValueError: the model's sizes are not those of the environment, or a window of DQN is shorter than an episode.
    """

    environment: Environment
    model: ModelConfig
    agent: AgentConfig

    def __post_init__(self) -> None:
        for name, asked in agent_sizes(self.environment, self.agent).items():
            given = getattr(self.model, name)
            if given != asked:
                rule = f"`model.{name}` must be {asked} for the environment {self.environment.name}"
                raise ValueError(f"{rule} and {self.agent.algorithm}, got {given}")
        horizon = self.environment.horizon
        if self.agent.algorithm == "dqn" and horizon is not None and self.agent.window < horizon:
            rule = f"`agent.window` must be at least the {horizon} steps of an episode, which DQN reads whole"
            raise ValueError(f"{rule}, got {self.agent.window}")
        if self.agent.anneal and self.model.epsilon:
            raise ValueError(f"`model.epsilon` must be 0 where `agent.anneal` is on, got {self.model.epsilon}")

    @property
    def metric(self) -> str:
        """The name of the score in `METRICS`."""
        return self.environment.metric

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, as config.json holds them."""
        task = {"name": self.environment.name, **dataclasses.asdict(self.environment)}  # type: ignore[call-overload]
        return {"task": task, "model": dataclasses.asdict(self.model), "agent": dataclasses.asdict(self.agent)}

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "the configuration") -> "AgentExperiment":
        """Reads the plain values of `to_dict`.

        Args:
            values: a table each for `task`, `model` and `agent`.
            where: the name of the configuration in errors.

        Raises:
            ValueError: a key or the environment's name is unknown, or a value is out of its range.
        """
        kind, task = task_table(values, TABLES, ENVIRONMENTS, where)
        kinds: dict[str, Any] = dict(zip(TABLES, (kind, ModelConfig, AgentConfig), strict=True))
        return cls(*read_tables({**values, "task": task}, kinds, where))

    @property
    def identity(self) -> str:
        """16 hex digits of a hash of every option that makes another run and differs from its default."""
        config = self.to_dict()
        kinds = {"task": type(self.environment), "model": ModelConfig, "agent": AgentConfig}
        skipped = beside_the_point(config) | {f"agent.{name}" for name in fields_that(AgentConfig, [UNCOUNTED])}
        return hashed(config, kinds, skipped)


def agent_sizes(environment: Environment, agent: AgentConfig) -> dict[str, Any]:
    """The fields of a model's configuration that follow from the environment and the algorithm.

    PPO reads a value beside the scores of the actions.
    """
    size = environment.num_actions + (agent.algorithm == "ppo")
    return {"input_size": environment.observation_size, "output_size": size, "encoder": "linear", "head": "every"}


def agent_experiment(
    environment: Environment, unit: str, agent: AgentConfig, options: Mapping[str, Any] | None = None
) -> AgentExperiment:
    """An experiment with two layers of width 32, unless the options say otherwise.

    Args:
        environment: the environment.
        unit: the unit, as `ModelConfig.unit` reads it.
        agent: how the agent is trained.
        options: other fields of `ModelConfig`.

    >>> from remanent.rl.environments import TMaze
    >>> agent_experiment(TMaze(), "bmru", AgentConfig()).model.output_size
    5
    """
    values = {**AGENT_MODEL, **suiting(unit), **(options or {}), **agent_sizes(environment, agent)}
    return AgentExperiment(environment, from_dict(ModelConfig, values, "the model"), agent)


AGENT_MODEL: Mapping[str, Any] = {"hidden_size": 32, "num_layers": 2, "conv_size": 0}
"""What an agent's model has unless it is told otherwise: the sizes of the papers, and units alone to read the past."""


def read_agent(path: Path) -> AgentExperiment:
    """Reads the configuration of an agent's run from its file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is corrupt, or has an unknown key.
    """
    return AgentExperiment.from_dict(read_json(path), str(path))


def is_agent(folder: Path) -> bool:
    """Whether a folder holds the run of an agent, as its configuration says."""
    path = folder / "config.json"
    return path.is_file() and AGENT in read_json(path)
