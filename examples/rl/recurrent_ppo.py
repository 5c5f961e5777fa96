"""A policy for RecurrentPPO of sb3-contrib whose memory is a unit of ours, trained in the T-maze.

pip install "remanent[rl]" sb3-contrib
python examples/rl/recurrent_ppo.py --unit bmru --steps 200000
"""

import argparse
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from remanent import UNITS, EpsilonSchedule
from remanent.rl.environments import TMaze
from remanent.rl.environments.gym_interface import GymEnv


class MemoryPolicy(RecurrentActorCriticPolicy):
    """Actor and critic that read one unit, in the place of the LSTM.

    sb3-contrib runs an LSTM step by step wherever an episode begins within a sequence. A unit takes the beginnings as
    `reset`, and runs the whole sequence as one scan. Its state goes where the LSTM's hidden state is kept; the place
    of the cell state stays empty.

    Args:
        observation_space: of the environment.
        action_space: of the environment.
        lr_schedule: the learning rate, as sb3 gives it.
        use_sde: as sb3 gives it.
        unit: a name of `UNITS`, other than "lstm" and "lru", whose states are not one real tensor.
        hidden_size: the width of the unit, at least 1.
        num_layers: the number of its layers, at least 1.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Any,
        use_sde: bool = False,
        *,
        unit: str = "bmru",
        hidden_size: int = 32,
        num_layers: int = 2,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            use_sde=use_sde,
            lstm_hidden_size=hidden_size,
            n_lstm_layers=num_layers,
            shared_lstm=True,
            enable_critic_lstm=False,
        )
        self.lstm_actor = UNITS[unit](self.features_dim, hidden_size, num_layers, batch_first=True)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    @staticmethod
    def _process_sequence(
        features: Tensor, lstm_states: tuple[Tensor, Tensor], episode_starts: Tensor, lstm: Any
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Runs the unit over sequences, or over one step of each, in which episodes may begin anywhere.

        Args:
            features: (B T, M), sequence by sequence.
            lstm_states: the state before, (L, B, D), and the empty place of the cell state.
            episode_starts: (B T), 1 where an episode begins.
            lstm: the unit.
        """
        state, empty = lstm_states
        B = state.shape[1]
        reset = episode_starts.reshape(B, -1) > 0.5
        y, state = lstm(features.reshape(B, -1, features.shape[-1]), state, reset=reset)
        return y.flatten(0, 1), (state, empty)


class AnnealEpsilon(BaseCallback):
    """Takes epsilon from 1 to 0 over the updates of a training.

    Args:
        updates: their number.
    """

    def __init__(self, updates: int) -> None:
        super().__init__()
        self.updates = updates

    def _on_training_start(self) -> None:
        self.schedule = EpsilonSchedule(self.model.policy, self.updates, hold=0.05, ramp=0.5)

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps:
            self.schedule.step()

    def _on_step(self) -> bool:
        return True


def make(unit: str, length: int, *, episodes: int, window: int, seed: int) -> RecurrentPPO:
    """A training in the T-maze."""
    worlds = DummyVecEnv([lambda: GymEnv(TMaze(length)) for _ in range(episodes)])
    options = {"n_steps": window, "batch_size": episodes * window // 4, "n_epochs": 4, "learning_rate": 1e-3}
    options |= {"gamma": 0.98, "ent_coef": 0.01, "policy_kwargs": {"unit": unit}, "device": "cpu"}
    return RecurrentPPO(MemoryPolicy, worlds, seed=seed, **options)


def success(model: RecurrentPPO, environment: TMaze, count: int = 200) -> float:
    """The share of episodes that end at the treasure, with the best actions."""
    running = environment.episodes(range(count))
    seen, state, starts, scores = running.begin(), None, np.ones(count), np.full(count, np.nan)
    while np.isnan(scores).any():
        actions, state = model.predict(seen, state=state, episode_start=starts, deterministic=True)
        step = running.step(actions)
        first = step.ended & np.isnan(scores)
        scores[first] = step.score[first]
        starts = step.ended.astype(float)
        seen = running.begin(step.ended) if step.ended.any() else step.observation
    return float(scores.mean())


def main(arguments: list[str] | None = None) -> float:
    """Trains, and prints the share of right turns at the trained length and at ten times that."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--unit", default="bmru", help="a name of UNITS")
    parser.add_argument("--length", type=int, default=10, help="of the corridor")
    parser.add_argument("--steps", type=int, default=200_000, help="in all episodes together")
    parser.add_argument("--episodes", type=int, default=16, help="side by side")
    parser.add_argument("--window", type=int, default=64, help="steps of each between updates")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = make(options.unit, options.length, episodes=options.episodes, window=options.window, seed=options.seed)
    updates = max(1, options.steps // (options.episodes * options.window))
    latches = UNITS[options.unit].recurrence_type.annealed_option is not None
    model.learn(options.steps, callback=AnnealEpsilon(updates) if latches else None)
    found = 0.0
    for factor in (1, 10):
        found = success(model, TMaze(options.length).at_length(factor * options.length))
        print(f"{factor * options.length:6,} steps: {found:.1%} of 200 episodes succeed")
    return found


if __name__ == "__main__":
    main()
