"""What a unit computes: the equations of one layer in one direction, as functions of its parameters.

What surrounds them (layers, directions, batches, packing, checks) is in `base.py` and `cell.py`.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from remanent.units._layout import last_state
from remanent.units.step_data import StepData

INITIAL_STATES = ("zeros", "learned")
"""The initial states that most units have."""
Params = dict[str, Tensor]
"""One layer's parameters by name, without the suffix of layer and direction."""


class LatchGates(NamedTuple):
    """What the scan of a latch is given.

    Attributes:
        candidate: what may be written, (..., D).
        threshold: what its absolute value must reach to be written, (..., D), before its own absolute value is taken.
        alpha: the size of what is written, (..., D), or (D,) where it is the same at every step.
        epsilon: how much of the old state a write keeps.
    """

    candidate: Tensor
    threshold: Tensor
    alpha: Tensor
    epsilon: float = 0.0


class Recurrence(ABC):
    """The equations of one layer in one direction, and, as data, what such a unit is and can do.

    A subclass is a dataclass whose fields are the unit's options. States are tensors (B, W), where W is
    `state_parts` times D. Models, training, measures and exports read what is declared here, never a unit's name or
    class, so that a unit of your own is treated like a built-in one.
    """

    state_parts: ClassVar[int] = 1
    """How many tensors (B, D) a user's state has: two for an LSTM."""
    shares_time: ClassVar[bool] = False
    """Whether its scan takes a `group` of processes that hold a part of the time each."""
    scan_kind: ClassVar[str | None] = None
    """Its scan in `remanent.ops`: "latch", "linear", "feedback" or "transition"; None for a scan of its own."""
    latches: ClassVar[bool] = False
    """Whether each step either sets a channel or holds it; `writes` then gives the steps that set."""
    rate_parameters: ClassVar[tuple[str, ...]] = ()
    """The parameters that `set_write_rates` fills; none where it is not defined."""
    initial_states: ClassVar[tuple[str, ...]] = ()
    """The choices for its option `initial_state`; empty where it has no such option."""
    annealed_option: ClassVar[str | None] = None
    """The option, in [0, 1], that training with annealing takes from 1 to 0; None where there is none."""
    config_fields: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """For each option that a model fills, the field of `ModelConfig` that it is filled from."""
    undecayed: ClassVar[tuple[str, ...]] = ()
    """The parameters, beside vectors, that training leaves out of its weight decay."""
    reads_letters_with_bias: ClassVar[bool] = True
    """Whether a model's layer of letters, one-hot vectors, has biases; without, its weights are a table by letter."""

    @property
    def chooses(self) -> bool:
        """Whether a step compares numbers and chooses, so that rounding may tip it and gradients are surrogates."""
        return self.latches

    @property
    def exact_states(self) -> bool:
        """Whether every state was written or held as it is, never computed: any cut of a sequence gives its bits."""
        return False

    @property
    def finite_states(self) -> bool:
        """Whether each channel's state is one of a fixed number of values, whatever the inputs."""
        return False

    @property
    def why_endless(self) -> str | None:
        """Why few different inputs may lead through endlessly many states, as in "whose state is a sum"; else None.

        With None, as where `finite_states` is true, a unit that reads tokens is a finite automaton. A unit whose states
        copy or code its inputs may declare it as well.
        """
        return None if self.finite_states else "which does not declare that its states are finitely many"

    @property
    def sums_in_order(self) -> bool:
        """Whether its scan takes the steps of a sequence one after another, as where states are sums.

        Packed sequences then lie in rows as long as the longest one, which are scanned at once, and otherwise in one.
        """
        return False

    @classmethod
    def width_factors(cls, options: Mapping[str, Any]) -> dict[str, int]:
        """The numbers, by option, whose product D must be a multiple of, where `options` are not at their defaults."""
        return {}

    @abstractmethod
    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """The parameters' names and shapes, in the order in which they are registered; a D that does not fit raises."""

    @abstractmethod
    def initialise(self, p: Params) -> None:
        """Fills the parameters in place, with what is the same in all layers."""

    def initialise_layer(self, p: Params, layer: int) -> None:
        """Fills the parameters of a layer in place; the first layer is 0, and later ones read the states of another."""
        self.initialise(p)

    def initialise_letters(self, p: Params) -> None:
        """Fills the parameters of a layer whose inputs are letters, one-hot vectors, each of which reads one column."""
        self.initialise_layer(p, 0)

    @abstractmethod
    def run(
        self,
        p: Params,
        x: Tensor,
        h: Tensor,
        reset: Tensor | None,
        lengths: Tensor | None,
        *,
        reset_state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """A sequence (B, T, M) from the state (B, W) to outputs (B, T, D) and the state at the last real step.

        Where `reset` (B, T) is true, `reset_state` (B, T, W) replaces the state before the step, or if None the unit's
        own initial state. It is passed only where a caller of the unit gives it. Outputs beyond `lengths` (B,) are
        arbitrary, but finite where the input is.
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

    def buffers(self, D: int) -> dict[str, Tensor]:
        """What a layer keeps and saves beside its parameters, such as running statistics, with first values."""
        return {}

    def observed(self, p: Params, x: Tensor, real: Tensor | None, group: Any = None) -> Params:
        """The parameters with which inputs (B, T, M) run in training: with statistics of these inputs, if it keeps any.

        The buffers in `p` take the statistics in, over the steps that are `real`, bool (B, T), not padding; over all if
        None. The processes of a `group` hold a part of the time each.
        """
        return p

    def start(self, p: Params) -> Tensor | None:
        """The learned initial state (W,), or None for zeros."""
        return p.get("h0")

    def writes(self, p: Params, x: Tensor) -> Tensor | None:
        """Where a step sets the state, bool (..., D), from inputs (..., M); None for a unit that does not latch."""
        return None

    def set_write_rates(self, p: Params, x: Tensor, rates: Tensor) -> None:
        """Fills `rate_parameters` in place, so that inputs x (N, M) write each channel at its rate, of `rates` (D,)."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its rates are set")

    def latch_gates(self, p: Params, x: Tensor) -> LatchGates | None:
        """What `latch_scan` is given for inputs (..., M), for a hysteresis curve; None for a unit with another scan."""
        return None

    def tables(self, p: Params, x: Tensor) -> Tensor | None:
        """Where inputs (..., M) move each state of K-state heads, uint8 (..., H, K); None for a unit without heads."""
        return None

    def step_data(self, p: Params) -> StepData | None:
        """One step as plain data, from which programs without torch are written; None where no such form is known.

        A subclass that changes the equations changes this as well.
        """
        return None

    def frozen(self, p: Params) -> "Recurrence":
        """The same equations with what these parameters determine stored as numbers; itself if that is nothing.

        An export needs it, since another library may round an exponential differently.
        """
        return self

    def set_option(self, name: str, value: Any) -> None:
        """Changes an option on which no shape depends, such as the annealed one; it is checked as at construction."""
        assert dataclasses.is_dataclass(self)
        vars(self).update(vars(dataclasses.replace(self, **{name: value})))


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
        """The states after every step, (B, T, W); of this process's steps with a `group`, if the unit `shares_time`.

        Where `reset` (B, T) is true, from `start`: (W,), (B, T, W) with a state for each step, or None for zeros.
        """

    @abstractmethod
    def one_step(self, p: Params, gates: tuple[Tensor, ...], h: Tensor) -> Tensor:
        """The state (B, W) after one step, by the same arithmetic as the scan."""

    def to_scan(self, h: Tensor) -> Tensor:
        """States (..., W) in the form in which the scan takes and gives them, and `readout` reads them."""
        return h

    def from_scan(self, states: Tensor) -> Tensor:
        """States as a user has them, from the form of `to_scan`."""
        return states

    def run(
        self,
        p: Params,
        x: Tensor,
        h: Tensor,
        reset: Tensor | None,
        lengths: Tensor | None,
        group: Any = None,
        *,
        reset_state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `Recurrence`; of a shard without a step, the state is `h`."""
        start = None if reset is None else self.start(p) if reset_state is None else reset_state
        first, start = self.to_scan(h), None if start is None else self.to_scan(start)
        states = self.scan(p, self.gates(p, x), first, reset, start, group)
        last = first if group is not None and states.shape[1] == 0 else last_state(states, first, lengths)
        return self.readout(p, states, x), self.from_scan(last)

    def run_laid(
        self, p: Params, x: Tensor, h: Tensor, reset: Tensor, start: Tensor | None, last: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sequences that lie one after another in rows (K, T, M): outputs (K, T, D), and the states after some steps.

        Every row begins with a reset, so that `h` (K, W) is not read. `start` has the states after resets, (W,) or
        (K, T, W); zeros if None. `last` has the steps, counted through all rows, whose state is returned, (B,).
        """
        start = None if start is None else self.to_scan(start)
        states = self.scan(p, self.gates(p, x), self.to_scan(h), reset, start)
        return self.readout(p, states, x), self.from_scan(states.flatten(0, 1).index_select(0, last))

    def advance(self, p: Params, x: Tensor, h: Tensor) -> Tensor:
        """See `Recurrence`."""
        return self.one_step(p, self.gates(p, x), h)


class StateIsOutput(Recurrence):
    """A recurrence whose outputs are its states."""

    def readout(self, p: Params, states: Tensor, x: Tensor) -> Tensor:
        """The states."""
        return states

    def state_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """The dtype of the weights."""
        return dtype


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
