"""The minimal gated units, minGRU and minLSTM: linear in the state, with gates that see the input alone."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from remanent._options import check_choice
from remanent.ops import row_linear
from remanent.units.base import RecurrentUnit
from remanent.units.cell import make_cell
from remanent.units.linear_recurrence import GatedRecurrence
from remanent.units.recurrence import INITIAL_STATES, Params, StateIsOutput, gate_shapes, learned_shapes, uniform_
from remanent.units.step_data import StepData


@dataclass(eq=False)
class MinRecurrence(GatedRecurrence, StateIsOutput):
    """A linear recurrence whose factor is a gate in (0, 1)."""

    initial_state: str = "zeros"
    initial_states: ClassVar[tuple[str, ...]] = INITIAL_STATES
    config_fields = MappingProxyType({"initial_state": "initial_state"})

    def __post_init__(self) -> None:
        check_choice("initial_state", self.initial_state, self.initial_states)

    def gates(self, p: Params, x: Tensor) -> tuple[Tensor, ...]:
        """The candidate and the gates, side by side, before any function of them."""
        return (row_linear(x, p["weight_ih"], p.get("bias_ih")),)

    def initialise(self, p: Params) -> None:
        """Weights and biases as `torch.nn.Linear` draws them, the initial state at zero."""
        uniform_(p, p["weight_ih"].shape[1] ** -0.5)
        if "h0" in p:
            p["h0"].zero_()


class MinGRURecurrence(MinRecurrence):
    """One gate between the old state and the candidate."""

    cell: ClassVar[str] = "min_gru"

    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """See `Recurrence`."""
        return gate_shapes(2, M, D, bias) | learned_shapes(self.initial_state, D)

    def step_data(self, p: Params) -> StepData | None:
        """A step towards the candidate."""
        D = p["weight_ih"].shape[0] // 2
        return StepData("min_gru", D, p["weight_ih"], p.get("bias_ih"), {}, self.start(p))


class MinLSTMRecurrence(MinRecurrence):
    """Two gates, normalised to sum to one."""

    cell: ClassVar[str] = "min_lstm"

    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """See `Recurrence`."""
        return gate_shapes(3, M, D, bias) | learned_shapes(self.initial_state, D)


class MinGRU(RecurrentUnit):
    r"""Minimal gated recurrent unit: $h_t = (1 - z_t) \odot h_{t-1} + z_t \odot c_t$.

    Gate and candidate are linear in the input, $z_t = \sigma(W_z x_t + b_z)$, $c_t = W_c x_t + b_c$. The
    scan is not in log space, which would break for states at or below zero.

    Attributes:
        weight_ih_l0: (2 D, M), the rows of the candidate, then of the gate.
        bias_ih_l0: (2 D,).
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

    Source: Feng et al. (2024), arXiv 2410.01201.

    >>> MinGRU(4, 8)(torch.randn(100, 2, 4))[0].shape
    torch.Size([100, 2, 8])
    """

    recurrence_type = MinGRURecurrence

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
        recurrence, sizes = MinGRURecurrence(initial_state), (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


MinGRUCell = make_cell(MinGRU)
"""One step of `MinGRU`, used like `torch.nn.GRUCell`; it takes the options of `MinGRU`."""


class MinLSTM(RecurrentUnit):
    r"""Minimal long short-term memory: $h_t = f'_t \odot h_{t-1} + i'_t \odot c_t$, with $f'_t + i'_t = 1$.

    The gates $f_t = \sigma(W_f x_t + b_f)$ and $i_t = \sigma(W_i x_t + b_i)$ are normalised,
    $f'_t = f_t / (f_t + i_t)$; the candidate is linear, $c_t = W_c x_t + b_c$.

    Attributes:
        weight_ih_l0: (3 D, M), the rows of the candidate, the forget gate, and the input gate.
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

    Source: Feng et al. (2024), arXiv 2410.01201.

    >>> MinLSTM(4, 8)(torch.randn(100, 2, 4))[0].shape
    torch.Size([100, 2, 8])
    """

    recurrence_type = MinLSTMRecurrence

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
        recurrence, sizes = MinLSTMRecurrence(initial_state), (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


MinLSTMCell = make_cell(MinLSTM, note="its state is one tensor, unlike that of an LSTM")
"""One step of `MinLSTM`, used like `torch.nn.GRUCell`, with the options of `MinLSTM`; its state is one tensor."""
