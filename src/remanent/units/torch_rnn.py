"""torch's own gated units, behind the interface of the others."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from remanent.ops import feedback_scan, feedback_step, row_linear
from remanent.ops.operators import in_transforms, is_traced
from remanent.units._layout import last_state
from remanent.units.base import RecurrentUnit
from remanent.units.cell import make_cell
from remanent.units.recurrence import Params, Recurrence, uniform_


@dataclass(eq=False)
class TorchRecurrence(Recurrence):
    """torch's fused function where it can run, else the same equations by `feedback_scan`.

    torch's cannot reset in mid-sequence, be compiled or exported for any length, or run under `torch.func`.
    """

    cell: ClassVar[str]
    """What `feedback_scan` calls the equations."""
    num_gates: ClassVar[int]
    """How many gates lie one below the other."""
    scan_kind: ClassVar[str | None] = "feedback"

    @property
    def why_endless(self) -> str | None:
        """See `Recurrence`."""
        return "whose state is computed from the one before at every step"

    @abstractmethod
    def fused(self, p: Params, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (B, T, D) and the state (B, W) at the end."""

    @abstractmethod
    def fused_step(self, p: Params, x: Tensor, h: Tensor) -> Tensor:
        """The state (B, W) after one step."""

    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """See `Recurrence`."""
        N = self.num_gates * D
        return {"weight_ih": (N, M), "weight_hh": (N, D)} | ({"bias_ih": (N,), "bias_hh": (N,)} if bias else {})

    def initialise(self, p: Params) -> None:
        """Draws weights and biases as torch does."""
        uniform_(p, 1 / math.sqrt(p["weight_hh"].shape[1]))

    def state_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """The dtype of the weights."""
        return dtype

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
        """See `Recurrence`."""
        dtype = p["weight_ih"].dtype
        traced = torch.compiler.is_compiling() or in_transforms()
        hidden_end = lengths is not None and self.state_parts > 1  # torch returns a cell's state at the last step alone
        if reset is not None or traced or hidden_end or x.shape[0] == 0 or (self.cell == "lstm" and _lacks_half(x)):
            values = row_linear(x, p["weight_ih"], p.get("bias_ih"))
            weights = p["weight_hh"], p.get("bias_hh")
            states = feedback_scan(values, *weights, h, cell=self.cell, reset=reset, reset_state=reset_state)
            return self.readout(p, states, x), last_state(states, h, lengths)
        y, last = self.fused(p, x, h)
        y, last = y.to(dtype), last.to(dtype)
        return y, last if lengths is None else last_state(y, h, lengths)

    def advance(self, p: Params, x: Tensor, h: Tensor) -> Tensor:
        """See `Recurrence`."""
        if _has_fused_step(p, x):
            return self.fused_step(p, x, h)
        value = row_linear(x, p["weight_ih"], p.get("bias_ih"))
        return feedback_step(value, p["weight_hh"], p.get("bias_hh"), h, cell=self.cell)


def _has_fused_step(p: Params, x: Tensor) -> bool:
    """Whether torch's own step may take the place of the equations: on a CPU, and in no half type."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or x.dtype != p["weight_ih"].dtype:
        return False
    return not (is_traced() or torch.is_autocast_enabled("cpu"))


def _weights(p: Params) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """The parameters in the order of torch's steps."""
    return p["weight_ih"], p["weight_hh"], p.get("bias_ih"), p.get("bias_hh")


def _lacks_half(x: Tensor) -> bool:
    """Whether autocast requests a half type for which this processor has no instructions in torch's fused LSTM."""
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    brain = torch.get_autocast_dtype("cpu") == torch.bfloat16
    supported = torch.ops.mkldnn._is_mkldnn_bf16_supported if brain else torch.ops.mkldnn._is_mkldnn_fp16_supported
    return not supported()


def _keeps() -> bool:
    """Whether torch's function keeps what its backward pass needs; a trace does, since it may run with gradients."""
    return torch.is_grad_enabled() or is_traced()


class GRURecurrence(TorchRecurrence):
    """`torch.gru`."""

    cell = "gru"
    num_gates = 3

    def fused(self, p: Params, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """See `TorchRecurrence`."""
        y, last = torch.gru(x, h[None], list(p.values()), "bias_ih" in p, 1, 0.0, _keeps(), False, True)
        return y, last[0]

    def fused_step(self, p: Params, x: Tensor, h: Tensor) -> Tensor:
        """See `TorchRecurrence`."""
        return torch.gru_cell(x, h, *_weights(p))

    def readout(self, p: Params, states: Tensor, x: Tensor) -> Tensor:
        """The states."""
        return states


class LSTMRecurrence(TorchRecurrence):
    """`torch.lstm`; the state is the hidden part, then the cell's."""

    cell = "lstm"
    num_gates = 4
    state_parts = 2

    def fused(self, p: Params, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """See `TorchRecurrence`."""
        first = [part[None].contiguous() for part in h.chunk(2, dim=-1)]
        options = ("bias_ih" in p, 1, 0.0, _keeps(), False, True)
        y, hidden, cell = torch.lstm(x, first, list(p.values()), *options)
        return y, torch.cat([hidden[0], cell[0]], dim=-1)

    def fused_step(self, p: Params, x: Tensor, h: Tensor) -> Tensor:
        """See `TorchRecurrence`."""
        return torch.cat(torch.lstm_cell(x, h.chunk(2, dim=-1), *_weights(p)), dim=-1)

    def readout(self, p: Params, states: Tensor, x: Tensor) -> Tensor:
        """The hidden part."""
        return states.chunk(2, dim=-1)[0]


class GRU(RecurrentUnit):
    r"""torch's gated recurrent unit, with resets and lengths: $h_t = (1 - z_t) \odot n_t + z_t \odot h_{t-1}$.

    It runs `torch.gru`. With `reset`, and compiled, exported or under `torch.func`, it runs the same
    equations one step after another.

    Attributes:
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0: as in `torch.nn.GRU`, whose `state_dict` loads.

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
        checkpoint: whether training keeps only the inputs and outputs of each layer, and computes the rest again in
            the backward pass; no bit changes.

    Raises:
        ValueError: a size is out of its range.
        TypeError: a size is not an int.

    Source: Cho et al. (2014), arXiv 1406.1078; PyTorch.

    >>> GRU(4, 8)(torch.randn(100, 2, 4))[0].shape
    torch.Size([100, 2, 8])
    """

    recurrence_type = GRURecurrence

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
        checkpoint: bool = False,
    ) -> None:
        recurrence, sizes = GRURecurrence(), (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


GRUCell = make_cell(GRU)
"""One step of `GRU`, used like `torch.nn.GRUCell`."""


class LSTM(RecurrentUnit):
    r"""torch's long short-term memory, with resets and lengths; its state is a tuple (h, c), never projected.

    It runs `torch.lstm`. With `reset`, lengths or packing, and compiled, exported or under `torch.func`, it
    runs the same equations one step after another.

    Attributes:
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0: as in `torch.nn.LSTM`, whose `state_dict` loads.

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
        proj_size: must be 0; it exists for code written against `torch.nn.LSTM`.
        checkpoint: whether training keeps only the inputs and outputs of each layer, and computes the rest again in
            the backward pass; no bit changes.

    Raises:
        ValueError: a size is out of its range.
        TypeError: a size is not an int, or the state not a tuple.

    Source: Hochreiter and Schmidhuber (1997), Neural Computation 9(8); PyTorch.

    >>> y, (h_n, c_n) = LSTM(4, 8)(torch.randn(100, 2, 4))
    >>> y.shape, c_n.shape
    (torch.Size([100, 2, 8]), torch.Size([1, 2, 8]))
    """

    recurrence_type = LSTMRecurrence

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
        proj_size: int = 0,
        checkpoint: bool = False,
    ) -> None:
        if type(proj_size) is not int or proj_size != 0:
            raise ValueError(f"`proj_size` must be 0, since this LSTM projects no states, got {proj_size!r}")
        recurrence, sizes = LSTMRecurrence(), (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


LSTMCell = make_cell(
    LSTM,
    example="""
    >>> h, c = LSTMCell(4, 8)(torch.randn(2, 4))
    >>> h.shape, c.shape
    (torch.Size([2, 8]), torch.Size([2, 8]))
    """,
    like="torch.nn.LSTMCell",
)
"""One step of `LSTM`, used like `torch.nn.LSTMCell`."""
