"""A window of steps in all episodes: the agent acts one step at a time, and learns from the whole window."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from remanent.models import ModelState, SequenceModel
from remanent.models.state import take_state
from remanent.rl.environments.episodes import Episodes

Choose = Callable[[Tensor], Tensor]
"""From the model's output, (B, O), to an action for each episode, int64 (B,)."""


class Place(NamedTuple):
    """Where the agent is between two windows.

    Attributes:
        observation: what it sees, (B, M).
        is_init: bool (B,), whether this is the first step of its episode.
        returns: float64 (B,), the sum of the rewards of its episode so far.
        state: of the model; None at the start.
    """

    observation: Tensor
    is_init: Tensor
    returns: Tensor
    state: ModelState | None = None


class Window(NamedTuple):
    """T steps of B episodes side by side.

    Attributes:
        observation: what was seen, (B, T, M).
        is_init: bool (B, T), where an episode begins.
        action: int64 (B, T).
        output: of the model, as it acted, (B, T, O).
        next_output: of the model for what was seen after the step, (B, T, O).
        reward: (B, T).
        terminated: bool (B, T), where an episode has ended by its own rules.
        truncated: bool (B, T), where one was cut off.
        state: of the model before the first step; None at the start.
        scores: float64 of the episodes that ended, in the order of their ends.
        returns: the sums of their rewards, in the same order.
    """

    observation: Tensor
    is_init: Tensor
    action: Tensor
    output: Tensor
    next_output: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    state: ModelState | None
    scores: list[float]
    returns: list[float]


def first_place(episodes: Episodes) -> Place:
    """The beginnings of the next episodes."""
    seen = torch.from_numpy(episodes.begin())
    return Place(seen, torch.ones(len(seen), dtype=torch.bool), torch.zeros(len(seen), dtype=torch.float64))


@torch.no_grad()
def roll_out(
    model: SequenceModel, episodes: Episodes, place: Place, choose: Choose, steps: int
) -> tuple[Window, Place]:
    """Acts for so many steps in all episodes, each of which begins again where it ends.

    TorchRL's collectors do the same, but what they carry from one batch to the next, the last observations and hidden
    states, is in no `state_dict` of theirs, so that a training could not go on in the middle of episodes. Here it is
    the `Place`.

    Args:
        model: gives an output for each step; its mode is that of the caller.
        episodes: those under way at `place`.
        place: where the agent is.
        choose: which actions it takes.
        steps: T, at least 1.

    Returns:
        The window, and where the agent is after it.
    """
    rows: list[tuple[Tensor, ...]] = []
    seen, is_init, _, state = place
    scores, returns, total = [], [], place.returns.numpy().copy()
    after: dict[int, Tensor] = {}
    for t in range(steps):
        output, state = model.step(seen, state, reset=is_init)
        action = choose(output)
        step = episodes.step(action.numpy())
        total += step.reward
        last = torch.from_numpy(step.observation)
        if step.truncated.any() or t == steps - 1:  # an episode that is cut off could have gone on from here
            after[t] = model.step(last, state)[0]
        flags = [torch.from_numpy(part) for part in (step.reward, step.terminated, step.truncated)]
        rows.append((seen, is_init, action, output, *flags))
        seen, is_init = last, torch.from_numpy(step.ended)
        if step.ended.any():
            scores += step.score[step.ended].tolist()
            returns += total[step.ended].tolist()
            total[step.ended] = 0.0
            seen = torch.from_numpy(episodes.begin(step.ended))
    observation, inits, action, output, reward, terminated, truncated = (
        torch.stack(part, dim=1) for part in zip(*rows, strict=True)
    )
    next_output = output.roll(-1, dims=1)
    for t, value in after.items():
        cut = truncated[:, t] if t < steps - 1 else torch.ones_like(truncated[:, t])
        next_output[:, t] = torch.where(cut[:, None], value, next_output[:, t])
    window = Window(
        observation, inits, action, output, next_output, reward, terminated, truncated, place.state, scores, returns
    )
    return window, Place(seen, is_init, torch.from_numpy(total), state)


def greedy(num_actions: int) -> Choose:
    """The action of the highest score, of several the first."""
    return lambda output: output[:, :num_actions].argmax(1)


def sampled(num_actions: int, generator: torch.Generator) -> Choose:
    """An action drawn from the softmax of the scores."""

    def choose(output: Tensor) -> Tensor:
        shares = output[:, :num_actions].softmax(1)
        return torch.multinomial(shares, 1, generator=generator)[:, 0]

    return choose


def exploring(num_actions: int, probability: float, generator: torch.Generator) -> Choose:
    """The action of the highest score, or with this probability any action."""

    def choose(output: Tensor) -> Tensor:
        best = output[:, :num_actions].argmax(1)
        other = torch.randint(num_actions, best.shape, generator=generator)
        return torch.where(torch.rand(best.shape, generator=generator) < probability, other, best)

    return choose


def plain_place(place: Place) -> dict[str, Any]:
    """A place as tensors by name, as a checkpoint holds them."""
    named = None if place.state is None else place.state.named()
    return {**place._asdict(), "state": named}


@torch.no_grad()
def read_place(values: dict[str, Any], model: SequenceModel) -> Place:
    """The place that `plain_place` gave as plain values.

    Raises:
        ValueError: its state is not one of this model.
    """
    named, place = values["state"], Place(**{**values, "state": None})
    if named is None:
        return place
    return place._replace(state=take_state(dict(named), model.step(place.observation)[1]))
