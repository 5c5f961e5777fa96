"""What a unit computes: the equations of one layer in one direction, as functions of its parameters.

The machine around them (layers, directions, batches, packing, checks) is in `base.py` and `cell.py`.
"""

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from remanent.ops import linear_scan, linear_step

INITIAL_STATES = ("zeros", "learned")
Params = dict[str, Tensor]
"""One layer's parameters by name, without the suffix of layer and direction."""


class Recurrence(ABC):
    """The equations of one layer in one direction.

    A subclass is a dataclass whose fields are the unit's options. States are tensors (B, W), where W is
    `state_parts` times D.
    """

    state_parts = 1
    shares_time: ClassVar[bool] = False
    """Whether its scan takes a `group` of processes that hold a part of the time each."""

    @abstractmethod
    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """The parameters' names and shapes, in the order in which they are registered."""

    @abstractmethod
    def initialise(self, p: Params) -> None:
        """Fills the parameters in place."""

    @abstractmethod
    def run(
        self, p: Params, x: Tensor, h: Tensor, reset: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """A sequence (B, T, M) from the state (B, W) to outputs (B, T, D) and the state at the last real step.

        What is put out beyond `lengths` (B,) is arbitrary, but finite where the input is.
        """

    @abstractmethod
    def advance(self, p: Params, x: Tensor, h: Tensor) -> Tensor:
        """The state (B, W) after one step with the input (B, M)."""

    @abstractmethod
    def readout(self, p: Params, states: Tensor, x: Tensor) -> Tensor:
        """Outputs (..., D) from states (..., W) and inputs (..., M), each step alone."""

    @abstractmethod
    def state_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """The dtype of the states, given that of the weights."""

    def start(self, p: Params) -> Tensor | None:
        """The learned initial state (W,), or None for zeros."""
        return p.get("h0")

    def writes(self, p: Params, x: Tensor) -> Tensor | None:
        """Where a step sets the state, bool (..., D), from inputs (..., M); None of a unit that has no set and hold."""
        return None


class ScanRecurrence(Recurrence):
    """A recurrence of gates, one scan, a readout; the first and the last treat each step alone."""

    @abstractmethod
    def gates(self, p: Params, x: Tensor) -> tuple[Tensor, ...]:
        """What the scan is given, from inputs (..., M): each (..., D), or (D,) where it is the same at every step."""

    @abstractmethod
    def scan(
        self,
        p: Params,
        gates: tuple[Tensor, ...],
        h: Tensor,
        reset: Tensor | None,
        start: Tensor | None,
        group: Any = None,
    ) -> Tensor:
        """The states after every step, (B, T, W); from `start` (W,), zeros if None, where `reset` (B, T) is true.

        With a `group`, which is given where `shares_time` says so, of this process's steps.
        """

    @abstractmethod
    def one_step(self, p: Params, gates: tuple[Tensor, ...], h: Tensor) -> Tensor:
        """The state (B, W) after one step, by the same arithmetic as the scan."""

    def run(
        self,
        p: Params,
        x: Tensor,
        h: Tensor,
        reset: Tensor | None,
        lengths: Tensor | None,
        group: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """See `Recurrence`; of a shard without a step, the state is `h`."""
        start = None if reset is None else self.start(p)
        states = self.scan(p, self.gates(p, x), h, reset, start, group)
        last = h if group is not None and states.shape[1] == 0 else last_state(states, h, lengths)
        return self.readout(p, states, x), last

    def advance(self, p: Params, x: Tensor, h: Tensor) -> Tensor:
        """See `Recurrence`."""
        return self.one_step(p, self.gates(p, x), h)


class LinearRecurrence(ScanRecurrence):
    """A recurrence that is linear in the state: its gates are what is kept of it and what is added."""

    shares_time: ClassVar[bool] = True

    def scan(
        self,
        p: Params,
        gates: tuple[Tensor, ...],
        h: Tensor,
        reset: Tensor | None,
        start: Tensor | None,
        group: Any = None,
    ) -> Tensor:
        """See `ScanRecurrence`."""
        decay, value = gates
        return linear_scan(decay, value, h, reset=reset, reset_state=start, group=group)

    def one_step(self, p: Params, gates: tuple[Tensor, ...], h: Tensor) -> Tensor:
        """See `ScanRecurrence`."""
        decay, value = gates
        return linear_step(decay, value, h)


class StateIsOutput(Recurrence):
    """A recurrence that puts out its states as they are."""

    def readout(self, p: Params, states: Tensor, x: Tensor) -> Tensor:
        """The states."""
        return states

    def state_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """The dtype of the weights."""
        return dtype


def last_state(states: Tensor, h: Tensor, lengths: Tensor | None) -> Tensor:
    """The state (B, W) at each sequence's last real step; `h`, the first one, where it has none."""
    if lengths is None:
        return states[:, -1].clone()
    last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
    return torch.where(lengths[:, None] > 0, states.gather(1, last).squeeze(1), h)


def uniform_(p: Params, bound: float) -> None:
    """Draws every weight and bias from U(-bound, bound), in their order."""
    for name, value in p.items():
        if name.startswith(("weight", "bias")):
            value.uniform_(-bound, bound)


def gate_shapes(gates: int, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
    """The shapes of a projection to several gates, one below the other."""
    return {"weight_ih": (gates * D, M)} | ({"bias_ih": (gates * D,)} if bias else {})


def learned_shapes(initial_state: str, D: int) -> dict[str, tuple[int, ...]]:
    """The shape of the initial state, where it is learned."""
    return {"h0": (D,)} if initial_state == "learned" else {}


def describe(M: int, D: int, options: dict[str, tuple[object, object]], recurrence: Recurrence) -> str:
    """The sizes, and those options, name to (value, default), that are not at their defaults."""
    assert dataclasses.is_dataclass(recurrence)
    own = {f.name: (getattr(recurrence, f.name), f.default) for f in dataclasses.fields(recurrence)}
    changed = [f"{name}={value!r}" for name, (value, default) in (options | own).items() if value != default]
    return ", ".join([f"{M}, {D}", *changed])
