"""A model's memory on its task in plain values, for pictures during training and in the report."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from remanent.analysis import Writes, hysteresis_curve, state_trajectory
from remanent.analysis.hysteresis import gates_at_zero
from remanent.models import SequenceModel
from remanent.tasks import Task
from remanent.tasks.base import read_whole

EXAMPLES = 8
"""How many sequences of the validation split are looked at."""
STEPS = 1000
"""How many steps of a sequence are looked at."""


@dataclass(frozen=True)
class Loop:
    """One channel's hysteresis loop.

    Attributes:
        name: which channel.
        candidate: (N,).
        state: (N,).
        threshold: where it flips.
    """

    name: str
    candidate: Tensor
    state: Tensor
    threshold: float


@dataclass(frozen=True)
class Raster:
    """States over the time of one sequence.

    Attributes:
        name: of which unit.
        inputs: (T, M), of tokens (T, 1).
        states: (T, D).
    """

    name: str
    inputs: Tensor
    states: Tensor


def example_inputs(task: Task) -> Tensor:
    """The beginnings of the first validation sequences, (B, T, M) or tokens (B, T), without padding."""
    place = "validation", 0, min(EXAMPLES, task.split_size("validation"))
    lengths = task.lengths(*place)
    return read_whole(task, *place, task.length)[0][:, : STEPS if lengths is None else min(STEPS, int(lengths.min()))]


@torch.no_grad()
def first_loop(model: SequenceModel, writes: list[Writes]) -> Loop | None:
    """The loop of the busiest channel of the first layer of latches that has one; None without any.

    The busiest is the one that is written most often according to `writes`, but not at every step.
    """
    for i, units in enumerate(_units(model)):
        for j, unit in enumerate(units):
            if gates_at_zero(unit) is None:
                continue
            rate = next(w.rate for w in writes if w.name == f"blocks.{i}.layer.units.{j}.l0")
            channel = int(torch.where(rate < 1, rate, -1).argmax())
            candidate, state, threshold = hysteresis_curve(unit, channel)
            return Loop(f"channel {channel} of unit {j}, block {i}", candidate, state, threshold)
    return None


def first_raster(model: SequenceModel, x: Tensor) -> Raster:
    """The states of the first block's first unit under the first of the inputs."""
    x = x[:1]
    states = state_trajectory(model, x)[0]
    inputs = x[0] if x.dim() == 3 else x[0, :, None]
    return Raster(f"{model.config.layers[0][0]} of block 0", inputs, states)


def write_summary(writes: list[Writes]) -> dict[str, float]:
    """The mean share of steps that write, and how many channels never or always do, of all layers of latches."""
    rates = torch.cat([w.rate for w in writes])
    dead = torch.cat([w.dead for w in writes])
    return {"write_rate": rates.mean().item(), "dead_channels": float(dead.sum().item())}


def has_latches(model: SequenceModel) -> bool:
    """Whether writes can be counted: any unit latches, and the model carries a state of constant size."""
    return model.streams and any(recurrence.latches for recurrence in model.recurrences)


def _units(model: SequenceModel) -> list[Any]:
    return [block.layer.units for block in model.blocks]  # type: ignore[union-attr]
