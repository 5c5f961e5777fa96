"""The training of an agent, update by update: everything that a checkpoint must hold, and nothing of files."""

import math
import statistics
from typing import Any

import numpy as np
import torch
from torch import Tensor

from remanent._restore import generators_kept
from remanent.analysis.writes import write_statistics
from remanent.models import SequenceModel
from remanent.rl.agent_config import AgentExperiment
from remanent.rl.learning import LEARNERS, Learner
from remanent.rl.rollout import Place, Window, first_place, plain_place, read_place, roll_out
from remanent.tasks.base import derive_seed


class AgentTraining:
    """A model that learns from windows of episodes.

    All that is random in an update follows from the seed and the number of the update, so that no generator has a state
    to be kept.

    Args:
        experiment: the configuration of the run.

    Attributes:
        model: of the agent.
        done: the number of updates that are done.
    """

    def __init__(self, experiment: AgentExperiment) -> None:
        config = experiment.agent
        self.experiment, self.done = experiment, 0
        with generators_kept():
            torch.manual_seed(derive_seed("weights", config.seed))
            self.model = SequenceModel(experiment.model)
            self.learner: Learner = LEARNERS[config.algorithm](experiment, self.model)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate, eps=1e-5)
        name = experiment.environment.name
        seeds = [derive_seed("episodes", name, config.seed, i) for i in range(config.episodes)]
        self.episodes = experiment.environment.episodes(seeds)
        self.place: Place | None = None

    @property
    def share(self) -> float:
        """The share of the frames that are done."""
        return self.done / self.experiment.agent.updates

    @property
    def is_final(self) -> bool:
        """Whether epsilon is what it is in the end, so that scores are those of an agent as it is used."""
        return not self.experiment.agent.anneal or self.model.epsilon in (None, 0.0)

    def update(self) -> dict[str, Any]:
        """Acts for one window, and learns from it.

        Returns:
            What is known of the update, by name: the loss, the mean score and return of the episodes that ended, the
            share of steps that write latches, and so on.

        Raises:
            FloatingPointError: the loss is not finite; the message names the update.
        """
        config, seed = self.experiment.agent, self.experiment.agent.seed
        if config.anneal and self.model.epsilon is not None:
            self.model.set_epsilon(config.epsilon(self.share))
        rate = config.learning_rate * (1 - self.share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        window = self._act(torch.Generator().manual_seed(derive_seed("actions", seed, self.done)))
        losses = []
        with generators_kept():
            torch.manual_seed(derive_seed("dropout", seed, self.done))
            batches = torch.Generator().manual_seed(derive_seed("batches", seed, self.done))
            for loss in self.learner.losses(window, batches):
                losses.append(self._descend(loss))
        self.done += 1
        frames = {"frames": self.done * config.episodes * config.window}
        return {**frames, "loss": statistics.fmean(losses), "learning_rate": rate, **self._seen(window)}

    def finish(self) -> None:
        """Sets epsilon to 0 where it was annealed, so that the trained model only sets or holds."""
        if self.experiment.agent.anneal and self.model.epsilon is not None:
            self.model.set_epsilon(0.0)

    def state_dict(self) -> dict[str, Any]:
        """Everything from which a training of this configuration goes on, as tensors and plain values."""
        return {
            "model": dict(self.model.state_dict()),
            "epsilon": self.model.epsilon,
            "optimizer": self.optimizer.state_dict(),
            "learner": self.learner.state_dict(),
            "episodes": _tensors(self.episodes.state_dict()),
            "place": None if self.place is None else plain_place(self.place),
            "done": self.done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        if state["epsilon"] is not None:
            self.model.set_epsilon(state["epsilon"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.learner.load_state_dict(state["learner"])
        self.episodes.load_state_dict(_arrays(state["episodes"]))
        self.place = None if state["place"] is None else read_place(state["place"], self.model)
        self.done = state["done"]

    def _act(self, generator: torch.Generator) -> Window:
        self.model.eval()
        place = first_place(self.episodes) if self.place is None or self.learner.fresh else self.place
        choose = self.learner.choose(self.share, generator)
        window, self.place = roll_out(self.model, self.episodes, place, choose, self.experiment.agent.window)
        self.model.train()
        return window

    def _descend(self, loss: Tensor) -> float:
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss must be finite, got {value} in update {self.done}")
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.experiment.agent.gradient_clip).item()
        if not math.isfinite(norm):
            raise FloatingPointError(f"the gradient must be finite, got a norm of {norm} in update {self.done}")
        self.optimizer.step()
        return value

    def _seen(self, window: Window) -> dict[str, Any]:
        """What the window shows of the agent, and of its latches."""
        found: dict[str, Any] = {"episodes": len(window.scores)}
        if window.scores:
            found |= {"score": statistics.fmean(window.scores), "return": statistics.fmean(window.returns)}
        if self.model.epsilon is not None:
            found["epsilon"] = self.model.epsilon
        if self.done % LOOK == 0 and any(unit.latches for unit in self.model.recurrences):
            writes = write_statistics(self.model, window.observation)
            found["write_rate"] = statistics.fmean(layer.rate.mean().item() for layer in writes)
            found["dead_channels"] = sum(int(layer.dead.sum()) for layer in writes)
        return found


LOOK = 10
"""After how many updates writes are counted: over the window, without its resets."""


def _tensors(values: Any) -> Any:
    """Arrays as tensors, which a checkpoint holds."""
    if isinstance(values, np.ndarray):
        return torch.from_numpy(values.copy())
    return {key: _tensors(value) for key, value in values.items()} if isinstance(values, dict) else values


def _arrays(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.numpy().copy()
    return {key: _arrays(value) for key, value in values.items()} if isinstance(values, dict) else values
