"""What an update computes from windows of episodes: the losses of TorchRL, on the outputs of one scan."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from tensordict import TensorDict
from tensordict.nn import ProbabilisticTensorDictModule, ProbabilisticTensorDictSequential, TensorDictModule
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torchrl.modules import QValueActor
from torchrl.objectives import ClipPPOLoss, DQNLoss
from torchrl.objectives.value.functional import vec_generalized_advantage_estimate

from remanent.models import ModelState, SequenceModel
from remanent.models.state import HEAD_PARTS
from remanent.rl.agent_config import AgentExperiment
from remanent.rl.rollout import Choose, Window, exploring, sampled


class Learner(Protocol):
    """How an agent acts while it is trained, and the losses of an update."""

    fresh: bool
    """Whether every window begins with new episodes."""

    def choose(self, share: float, generator: torch.Generator) -> Choose:
        """How actions are chosen after a share of the frames."""

    def losses(self, window: Window, generator: torch.Generator) -> Iterator[Tensor]:
        """The losses of an update, one after the other; a step of the optimiser follows each."""

    def state_dict(self) -> dict[str, Any]:
        """What is kept from one update to the next, as tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""


class PpoLearner:
    """Proximal policy optimisation, with advantages from the outputs with which the agent acted.

    Args:
        experiment: the configuration of the run.
        model: gives the scores of the actions, and a value after them.

    Source: Schulman, Wolski, Dhariwal, Radford, Klimov (2017), arXiv 1707.06347.
    """

    def __init__(self, experiment: AgentExperiment, model: SequenceModel) -> None:
        self.config, self.model = experiment.agent, model
        self.actions = experiment.environment.num_actions
        self.fresh = model.attends  # whose state would grow with every window
        scores = TensorDictModule(_Part(slice(None, -1)), in_keys=["output"], out_keys=["logits"])
        draw = ProbabilisticTensorDictModule(
            in_keys=["logits"], out_keys=["action"], distribution_class=torch.distributions.Categorical
        )
        value = TensorDictModule(_Part(slice(-1, None)), in_keys=["output"], out_keys=["state_value"])
        self.loss = ClipPPOLoss(
            ProbabilisticTensorDictSequential(scores, draw),
            value,
            clip_epsilon=self.config.clip,
            entropy_coeff=self.config.entropy,
            critic_coeff=self.config.critic,
            normalize_advantage=True,
        )

    def choose(self, share: float, generator: torch.Generator) -> Choose:
        """Draws from the policy."""
        return sampled(self.actions, generator)

    def losses(self, window: Window, generator: torch.Generator) -> Iterator[Tensor]:
        """Several passes over the window, in batches of episodes."""
        done = (window.terminated | window.truncated)[..., None]
        done[:, -1] = True  # an episode that goes on beyond the window is cut off here, as `next_output` is
        advantage, target = vec_generalized_advantage_estimate(
            self.config.gamma,
            self.config.gae_lambda,
            window.output[..., -1:],
            window.next_output[..., -1:],
            window.reward[..., None],
            done,
            window.terminated[..., None],
        )
        old = window.output[..., :-1].log_softmax(-1).gather(-1, window.action[..., None])[..., 0]
        values = {"action": window.action, "action_log_prob": old, "advantage": advantage, "value_target": target}
        size = self.config.episodes // self.config.batches
        for _ in range(self.config.epochs):
            for rows in torch.randperm(self.config.episodes, generator=generator).split(size):
                state = pick(window.state, rows)
                output, _ = self.model(window.observation[rows], state, reset=window.is_init[rows])
                chosen = {name: value[rows] for name, value in values.items()}
                batch = TensorDict({"output": output, **chosen}, batch_size=output.shape[:2])
                found = self.loss(batch)
                yield found["loss_objective"] + found["loss_critic"] + found["loss_entropy"]

    def state_dict(self) -> dict[str, Any]:
        """Nothing is kept."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing was kept."""


class DqnLearner:
    """Recurrent Q-learning: windows of whole episodes are kept, and read again from their beginnings.

    A step after which an episode was cut off teaches nothing, since what came after it was not seen.

    Args:
        experiment: the configuration of the run.
        model: gives the value of each action.

    Source: Hausknecht, Stone (2015), arXiv 1507.06527, for recurrent Q-learning.
    """

    fresh = True

    def __init__(self, experiment: AgentExperiment, model: SequenceModel) -> None:
        self.config, self.model = experiment.agent, model
        self.actions = experiment.environment.num_actions
        self.target = SequenceModel(experiment.model).requires_grad_(False)
        self.target.load_state_dict(model.state_dict())
        values = TensorDictModule(_Part(slice(None)), in_keys=["output"], out_keys=["action_value"])
        actor = QValueActor(values, in_keys=["output"], action_space="categorical")
        self.loss = DQNLoss(actor, action_space="categorical", loss_function="smooth_l1", delay_value=False)
        self.loss.make_value_estimator(gamma=self.config.gamma)
        self.kept: list[dict[str, Tensor]] = []
        self.updates = 0

    def choose(self, share: float, generator: torch.Generator) -> Choose:
        """The best action, or sometimes any."""
        return exploring(self.actions, self.config.exploration(share), generator)

    def losses(self, window: Window, generator: torch.Generator) -> Iterator[Tensor]:
        """Several batches of the windows that are kept."""
        names = ("observation", "is_init", "action", "reward", "terminated", "truncated")
        self.kept = [*self.kept, {name: getattr(window, name) for name in names}][-self.config.kept_windows :]
        size = self.config.episodes // self.config.batches
        for _ in range(self.config.epochs * self.config.batches):
            rows = torch.randint(len(self.kept) * self.config.episodes, (size,), generator=generator)
            picked = [(self.kept[i // self.config.episodes], i % self.config.episodes) for i in rows.tolist()]
            yield self._loss({name: torch.stack([part[name][row] for part, row in picked]) for name in names})
            self.updates += 1
            if self.updates % self.config.target_every == 0:
                self.target.load_state_dict(self.model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The windows, the weights of the network that estimates targets, and its clock."""
        target = {"weights": dict(self.target.state_dict()), "epsilon": self.target.epsilon}
        return {"kept": self.kept, "target": target, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.kept, self.updates = list(state["kept"]), state["updates"]
        self.target.load_state_dict(state["target"]["weights"])
        if state["target"]["epsilon"] is not None:
            self.target.set_epsilon(state["target"]["epsilon"])

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        if self.model.epsilon is not None:
            self.target.set_epsilon(self.model.epsilon)
        output, _ = self.model(batch["observation"], reset=batch["is_init"])
        with torch.no_grad():
            after = self.target(batch["observation"], reset=batch["is_init"])[0].roll(-1, dims=1)
        known = ~batch["truncated"]
        known[:, -1] &= batch["terminated"][:, -1]  # the step after the window was not seen
        done = batch["terminated"][known][:, None]
        later = {"output": after[known], "reward": batch["reward"][known][:, None], "done": done, "terminated": done}
        count = [len(done)]
        later_td = TensorDict(later, batch_size=count)
        return self.loss(
            TensorDict({"output": output[known], "action": batch["action"][known], "next": later_td}, batch_size=count)
        )["loss"]


class _Part(nn.Module):
    """Some of the model's outputs, as TorchRL's losses ask for them by name; the scan itself has run before."""

    def __init__(self, part: slice) -> None:
        super().__init__()
        self.part = part

    def forward(self, output: Tensor) -> Tensor:
        """The part of (..., O)."""
        return output[..., self.part]


def pick(state: ModelState | None, rows: Tensor) -> ModelState | None:
    """The states of some episodes of a batch."""
    if state is None:
        return None
    layers, windows = tree_map_only(Tensor, lambda part: part.index_select(1, rows), (state.layers, state.windows))
    head = {name: getattr(state, name) for name in HEAD_PARTS}
    return ModelState(layers, **{k: None if v is None else v[rows] for k, v in head.items()}, windows=windows)


LEARNERS: dict[str, type[PpoLearner] | type[DqnLearner]] = {"ppo": PpoLearner, "dqn": DqnLearner}
"""The class of each of `ALGORITHMS`."""
