"""The bistable recurrent cells: multistable by feedback, and therefore run one step after another."""

from abc import abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from remanent._options import check_choice
from remanent.ops import feedback_scan, feedback_step, row_linear
from remanent.units.base import RecurrentUnit
from remanent.units.cell import make_cell
from remanent.units.recurrence import (
    INITIAL_STATES,
    Params,
    ScanRecurrence,
    StateIsOutput,
    gate_shapes,
    learned_shapes,
    uniform_,
)


@dataclass(eq=False)
class FeedbackRecurrence(ScanRecurrence, StateIsOutput):
    """Gates that see the state, through a diagonal or a full matrix."""

    initial_state: str = "zeros"
    scan_kind: ClassVar[str | None] = "feedback"
    initial_states: ClassVar[tuple[str, ...]] = INITIAL_STATES
    config_fields = MappingProxyType({"initial_state": "initial_state"})

    def __post_init__(self) -> None:
        check_choice("initial_state", self.initial_state, self.initial_states)

    @property
    def why_endless(self) -> str | None:
        """See `Recurrence`."""
        return "whose state is computed from the one before at every step"

    @abstractmethod
    def feedback_shape(self, D: int) -> tuple[int, ...]:
        """The shape of `weight_hh`."""

    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """See `Recurrence`."""
        weight, *biases = gate_shapes(3, M, D, bias).items()
        return dict([weight, ("weight_hh", self.feedback_shape(D)), *biases]) | learned_shapes(self.initial_state, D)

    def initialise(self, p: Params) -> None:
        """Weights and biases as `torch.nn.GRU` draws them, the initial state at zero."""
        uniform_(p, (p["weight_ih"].shape[0] // 3) ** -0.5)
        if "h0" in p:
            p["h0"].zero_()

    def gates(self, p: Params, x: Tensor) -> tuple[Tensor, ...]:
        """What the input contributes to the two gates and the candidate."""
        return (row_linear(x, p["weight_ih"], p.get("bias_ih")),)

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
        return feedback_scan(gates[0], p["weight_hh"], None, h, cell="brc", reset=reset, reset_state=start)

    def one_step(self, p: Params, gates: tuple[Tensor, ...], h: Tensor) -> Tensor:
        """See `ScanRecurrence`."""
        return feedback_step(gates[0], p["weight_hh"], None, h, cell="brc")


class BRCRecurrence(FeedbackRecurrence):
    """Each channel sees its own state alone."""

    def feedback_shape(self, D: int) -> tuple[int, ...]:
        """A diagonal for each gate."""
        return (2 * D,)


class NBRCRecurrence(FeedbackRecurrence):
    """Each channel sees the states of all channels."""

    def feedback_shape(self, D: int) -> tuple[int, ...]:
        """A matrix for each gate."""
        return (2 * D, D)


class BRC(RecurrentUnit):
    r"""Bistable recurrent cell: $h_t = z_t \odot h_{t-1} + (1 - z_t) \odot \tanh(W_h x_t + b_h + r_t \odot h_{t-1})$.

    The feedback is $r_t = 1 + \tanh(W_r x_t + b_r + u_r \odot h_{t-1})$, and a channel is bistable where
    $r_t > 1$; the update gate is $z_t = \sigma(W_z x_t + b_z + u_z \odot h_{t-1})$. The gates see the
    state, so that time is a loop.

    Attributes:
        weight_ih_l0: (3 D, M), the rows of the feedback, the update gate and the candidate.
        weight_hh_l0: (2 D,), $u_r$, then $u_z$.
        bias_ih_l0: (3 D,).
        h0_l0: (D,), the learned initial state, at first 0; only where it is learned.

    Args:
        input_size: M, the features of a step, at least 1.
        hidden_size: D, the channels, at least 1.
        num_layers: how many layers are stacked, at least 1; each reads the outputs of the one before.
        bias: whether the gates have biases.
        batch_first: whether inputs and outputs are (B, T, ...) rather than (T, B, ...).
        dropout: the probability, in [0, 1], that an output of any layer but the last is zeroed in training.
        bidirectional: whether a second direction reads the sequence backwards, with its outputs beside the first's.
        device: the device of the parameters.
        dtype: the dtype of the parameters.
        initial_state: the state where no `hx` is given, and after a reset: "zeros" or "learned".
        checkpoint: whether training keeps only the inputs and outputs of each layer, and computes the rest again in
            the backward pass; no bit changes.

    Raises:
        ValueError: a size or `initial_state` is out of its range.
        TypeError: a size is not an int.

    Source: Vecoven, Ernst, Drion (2021), PLoS ONE 16(6).

    >>> BRC(4, 8)(torch.randn(100, 2, 4))[0].shape
    torch.Size([100, 2, 8])
    """

    recurrence_type = BRCRecurrence

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        initial_state: str = "zeros",
        checkpoint: bool = False,
    ) -> None:
        recurrence, sizes = BRCRecurrence(initial_state), (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


BRCCell = make_cell(BRC)
"""One step of `BRC`, used like `torch.nn.GRUCell`; it takes the options of `BRC`."""


class NBRC(RecurrentUnit):
    r"""Neuromodulated bistable cell, a `BRC` whose gates see every channel: $u_r \odot h$ becomes $U_r h$.

    Attributes:
        weight_ih_l0: (3 D, M), the rows of the feedback, the update gate and the candidate.
        weight_hh_l0: (2 D, D), the rows of $U_r$, then of $U_z$.
        bias_ih_l0: (3 D,).
        h0_l0: (D,), the learned initial state, at first 0; only where it is learned.

    Args:
        input_size: M, the features of a step, at least 1.
        hidden_size: D, the channels, at least 1.
        num_layers: how many layers are stacked, at least 1; each reads the outputs of the one before.
        bias: whether the gates have biases.
        batch_first: whether inputs and outputs are (B, T, ...) rather than (T, B, ...).
        dropout: the probability, in [0, 1], that an output of any layer but the last is zeroed in training.
        bidirectional: whether a second direction reads the sequence backwards, with its outputs beside the first's.
        device: the device of the parameters.
        dtype: the dtype of the parameters.
        initial_state: the state where no `hx` is given, and after a reset: "zeros" or "learned".
        checkpoint: whether training keeps only the inputs and outputs of each layer, and computes the rest again in
            the backward pass; no bit changes.

    Raises:
        ValueError: a size or `initial_state` is out of its range.
        TypeError: a size is not an int.

    Source: Vecoven, Ernst, Drion (2021), PLoS ONE 16(6).

    >>> NBRC(4, 8)(torch.randn(100, 2, 4))[0].shape
    torch.Size([100, 2, 8])
    """

    recurrence_type = NBRCRecurrence

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        initial_state: str = "zeros",
        checkpoint: bool = False,
    ) -> None:
        recurrence, sizes = NBRCRecurrence(initial_state), (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


NBRCCell = make_cell(NBRC)
"""One step of `NBRC`, used like `torch.nn.GRUCell`; it takes the options of `NBRC`."""
