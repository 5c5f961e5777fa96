"""Scores of an agent: its best actions in episodes that run side by side, at any length of the environment."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.analysis._probe import evaluating
from remanent.models import ModelState, SequenceModel
from remanent.rl.environments import Environment
from remanent.rl.rollout import Place, first_place, greedy
from remanent.tasks.base import check_split, derive_seed

EPISODES = 200
"""The number of episodes of a score."""
FACTORS = (1, 10, 100, 1000)
"""The multiples of the length that was trained at, at which memory is tested."""
ATTENTION_FACTOR = 100
"""The longest of these for attention, whose cost grows with the square of the length."""


@torch.no_grad()
def score_agent(
    model: SequenceModel,
    environment: Environment,
    *,
    length: int | None = None,
    split: str = "test",
    episodes: int = EPISODES,
    done: Callable[[int], None] | None = None,
) -> float:
    """The mean score of episodes that run side by side as one batch, in each of which the best action is taken.

    Args:
        model: of the agent; it runs in evaluation mode, and afterwards is in the mode that it was in.
        environment: as it was trained in.
        length: of the environment; None for the length trained at.
        split: "test" or "validation", which have other episodes, the same for every agent.
        episodes: their number, at least 1.
        done: a function that is called after each step, with the number of steps so far.

    Returns:
        The mean of the scores: for "success" the share of the episodes that succeeded.

    Raises:
        ValueError: a value is out of its range, the length of the environment is fixed, or the model has attention and
            the length is above 100 times the one trained at.

    >>> from remanent import ModelConfig
    >>> from remanent.rl.environments import TMaze
    >>> model = SequenceModel(ModelConfig(4, 5, hidden_size=8, head="every"))
    >>> 0 <= score_agent(model, TMaze(length=2), episodes=10) <= 1
    True
    """
    check_split(split)
    check_at_least("episodes", episodes, 1)
    world = environment if length in (None, environment.length) else environment.at_length(length)  # type: ignore[arg-type]
    if model.attends and world.length > ATTENTION_FACTOR * environment.length:
        rule = f"`length` must be at most {ATTENTION_FACTOR} times that of training for a model with attention"
        raise ValueError(f"{rule}, {ATTENTION_FACTOR * environment.length}, got {world.length}")
    running = world.episodes([derive_seed("episodes", environment.name, split, i) for i in range(episodes)])
    choose, scores = greedy(environment.num_actions), np.full(episodes, np.nan)
    place, steps, acting = first_place(running), 0, _Acting(model)
    with evaluating(model):
        while np.isnan(scores).any():
            output, state = acting.step(place)
            found = running.step(choose(output).numpy())
            first = found.ended & np.isnan(scores)
            scores[first] = found.score[first]
            seen = running.begin(found.ended) if found.ended.any() else found.observation
            place = Place(torch.from_numpy(seen), torch.from_numpy(found.ended), place.returns, state)
            steps += 1
            if done is not None:
                done(steps)
    return float(scores.mean())


class _Acting:
    """Steps of a model; one that repeats the step before, as of latches in a corridor, is not computed again.

    Args:
        model: of the agent.
    """

    def __init__(self, model: SequenceModel) -> None:
        self.model = model
        self.before: Place | None = None
        self.found: tuple[Tensor, ModelState] | None = None

    def step(self, place: Place) -> tuple[Tensor, ModelState]:
        """The output at a place, and the state after it."""
        if self.found is None or self.before is None or not _same(place, self.before):
            self.found = self.model.step(place.observation, place.state, reset=place.is_init)
        self.before = place
        return self.found


def _same(one: Place, other: Place) -> bool:
    """Whether a model gives the same bits at both places."""
    if one.state is None or other.state is None or one.is_init.any() or other.is_init.any():
        return False
    if not torch.equal(one.observation, other.observation):
        return False
    first, second = one.state.named(), other.state.named()
    return first.keys() == second.keys() and all(torch.equal(part, second[name]) for name, part in first.items())


def lengths_tested(environment: Environment, factors: Sequence[int], *, attends: bool) -> list[int]:
    """The lengths at these multiples of the environment's; only its own where that is fixed.

    >>> from remanent.rl.environments import CountRecall, TMaze
    >>> lengths_tested(TMaze(length=20), FACTORS, attends=True), lengths_tested(CountRecall(), FACTORS, attends=False)
    ([20, 200, 2000], [20])
    """
    if environment.length_option is None:
        return [environment.length]
    allowed = [factor for factor in factors if not attends or factor <= ATTENTION_FACTOR]
    return [environment.length * factor for factor in sorted(set(allowed))]
