"""The bistable memory recurrent unit: a hysteresis cell in each channel."""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from remanent.units.base import RecurrentUnit
from remanent.units.cell import make_cell
from remanent.units.latching.annealed import Annealed
from remanent.units.latching.gate_norm import plain_gates
from remanent.units.latching.set_or_hold import LatchRecurrence
from remanent.units.latching.write_span import WRITE_SPAN
from remanent.units.recurrence import Params
from remanent.units.step_data import StepData


@dataclass(eq=False)
class BMRURecurrence(LatchRecurrence):
    """A latch whose size of step is learned, one for each channel."""

    write_span: int | None = WRITE_SPAN
    config_fields = MappingProxyType(
        {**LatchRecurrence.config_fields, "gate_norm": "gate_norm", "write_span": "write_span"}
    )

    def step_data(self, p: Params) -> StepData | None:
        """A latch where `epsilon` is 0, else an accumulator that keeps a part of the old state."""
        p, gain = plain_gates(p, self.gate_norm)
        kind, values = "latch", {"alpha": p["alpha"]}
        if self.epsilon > 0:
            kind, values = "accumulate", values | {"epsilon": self.epsilon_tensor.float()}
        D, low = p["alpha"].shape[0], self.initial_state == "low"
        return StepData(kind, D, p["weight_ih"], p.get("bias_ih"), values, self.start(p), starts_low=low, gain=gain)


class BMRU(Annealed, RecurrentUnit):
    r"""Bistable memory recurrent unit: $h_t = \alpha\,\mathrm{sgn}(c_t)$ where $|c_t| \ge |\beta_t|$, else $h_{t-1}$.

    Candidate and threshold are linear in the input, $c_t = W_c x_t + b_c$ and
    $\beta_t = W_\beta x_t + b_\beta$, and do not see the state. With `epsilon` 0, states are exactly
    $\pm\alpha$ (or what `hx` held), and any cut of a sequence gives the same bits.

    Attributes:
        weight_ih_l0: (2 D, M), the rows of the candidate, then of the threshold.
        bias_ih_l0: (2 D,), at first 0 for the candidate, and for the threshold what `write_span` asks for.
        alpha_l0: (D,), the size of a written state, at first 1.
        gate_gain_l0: (2 D,), the gain of normalised gates, at first 1 for the candidate and 1/2 for the threshold; only
            where `gate_norm` is "layer" or "batch".
        gate_mean_l0: (2 D,), the running mean of the gates, and `gate_variance_l0` their variance; buffers, only where
            `gate_norm` is "batch".
        h0_l0: (D,), the learned initial state, at first 1 or -1 at random; only where it is learned.
        epsilon: how much of the old state a write keeps, in [0, 1]; may be changed between steps, as annealing
            does in training. It is not a parameter and not part of the `state_dict`: a copy, such as an
            average of the weights over training, has its own, which must be annealed as well.

    Args:
        input_size: M, the features of a step, at least 1.
        hidden_size: D, the channels, at least 1.
        num_layers: how many layers are stacked, at least 1; each reads the outputs of the one before.
        bias: whether the gates have biases. Without, a threshold is 0 for a zero input, which then writes.
        batch_first: whether inputs and outputs are (B, T, ...) rather than (T, B, ...).
        dropout: the probability, in [0, 1], that an output of any layer but the last is zeroed in training.
        bidirectional: whether a second direction reads the sequence backwards, with its outputs beside the first's.
        device: the device of the parameters.
        dtype: the dtype of the parameters.
        epsilon: how much of the old state a write keeps, in [0, 1]: 0 is the BMRU, 1 the cumulative unit.
        width: $a > 0$ of the surrogate gradient; a larger one looks at a narrower band around the threshold.
        initial_state: the state where no `hx` is given, and after a reset: "zeros", "learned", or "low", which is
            $-\alpha$, as if a negative candidate had been written, so that a state is one bit from the start.
        gate_norm: how candidate and threshold are normalised before their gain and bias: "none"; "layer", over the
            channels of each step; or "batch", over batch and time in training and by running statistics else.
        write_span: the constructor sets the thresholds so that inputs of independent features of mean 0 and mean square
            1 write each channel in a share of the steps, evenly spaced in the logarithm from 1 / `write_span` to 1/2
            (in layers after the first, whose inputs are states, from the root of it), as `set_write_rates` does
            from data; at least 2. None for thresholds of 1.
        checkpoint: whether training keeps only the inputs and outputs of each layer, and computes the rest again in
            the backward pass; no bit changes.

    Raises:
        ValueError: a size, `epsilon`, `width`, `initial_state`, `gate_norm` or `write_span` is out of its range.
        TypeError: a size is not an int.

    Source: De Geeter et al. (2026), arXiv 2601.09495; epsilon: Brandoit et al. (2026), arXiv 2605.11855.

    >>> y, h_n = BMRU(4, 8, batch_first=True)(torch.randn(2, 100, 4))
    >>> y.shape, h_n.shape
    (torch.Size([2, 100, 8]), torch.Size([1, 2, 8]))
    """

    weight_ih_l0: Tensor
    bias_ih_l0: Tensor
    alpha_l0: Tensor
    recurrence_type = BMRURecurrence

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
        epsilon: float = 0.0,
        width: float = 1.0,
        initial_state: str = "zeros",
        gate_norm: str = "none",
        write_span: int | None = WRITE_SPAN,
        checkpoint: bool = False,
    ) -> None:
        recurrence = BMRURecurrence(epsilon, width, initial_state, gate_norm, write_span)
        sizes = (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


BMRUCell = make_cell(BMRU)
"""One step of `BMRU`, used like `torch.nn.GRUCell`; it takes the options of `BMRU`."""
