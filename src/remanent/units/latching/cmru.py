"""The cumulative memory recurrent units, whose writes add a step, and the sample-and-hold with the same parameters."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from remanent.units.base import RecurrentUnit
from remanent.units.cell import make_cell
from remanent.units.latching.annealed import Annealed
from remanent.units.latching.bmru import BMRURecurrence
from remanent.units.latching.gate_norm import plain_gates
from remanent.units.latching.set_or_hold import LatchRecurrence
from remanent.units.latching.write_span import WRITE_SPAN
from remanent.units.recurrence import INITIAL_STATES, Params
from remanent.units.step_data import StepData


@dataclass(eq=False)
class CMRURecurrence(BMRURecurrence):
    """A latch whose writes add up."""

    epsilon: float = 1.0
    annealed_option: ClassVar[str | None] = None


@dataclass(eq=False)
class AlphaCMRURecurrence(LatchRecurrence):
    """A latch whose writes add up, and whose size of step is linear in the input."""

    epsilon: float = 1.0
    write_span: int | None = WRITE_SPAN
    initial_states: ClassVar[tuple[str, ...]] = INITIAL_STATES
    config_fields = MappingProxyType(
        {**LatchRecurrence.config_fields, "gate_norm": "gate_norm", "write_span": "write_span"}
    )
    annealed_option: ClassVar[str | None] = None
    alpha_from_input: ClassVar[bool] = True

    def step_data(self, p: Params) -> StepData | None:
        """An accumulator, whose steps are the last of the gates."""
        D = p["weight_ih"].shape[0] // 3
        p, gain = plain_gates(p, self.gate_norm)
        values = {"epsilon": self.epsilon_tensor.float()}
        return StepData("accumulate", D, p["weight_ih"], p.get("bias_ih"), values, self.start(p), gain=gain)


@dataclass(eq=False)
class AlphaBMRURecurrence(AlphaCMRURecurrence):
    """A latch whose writes replace the state by a number that is linear in the input."""

    epsilon: float = 0.0
    annealed_option: ClassVar[str | None] = "epsilon"


class CMRU(Annealed, RecurrentUnit):
    r"""Cumulative memory recurrent unit: $h_t = h_{t-1} + \alpha\,\mathrm{sgn}(c_t)$ where $|c_t| \ge |\beta_t|$.

    Elsewhere the state is held. It is a `BMRU` with `epsilon` 1: states are integer multiples of
    $\alpha$, as far as the dtype tells them apart, and the gradient passes through time undamped. The
    parameters are those of a `BMRU`, into which its `state_dict` loads.

    Attributes:
        weight_ih_l0: (2 D, M), the rows of the candidate, then of the threshold.
        bias_ih_l0: (2 D,), at first 0 for the candidate, and for the threshold what `write_span` asks for.
        alpha_l0: (D,), the size of a step, at first 1.
        gate_gain_l0: (2 D,), the gain of normalised gates, at first 1 for the candidate and 1/2 for the threshold; only
            where `gate_norm` is "layer" or "batch".
        gate_mean_l0: (2 D,), the running mean of the gates, and `gate_variance_l0` their variance; buffers, only where
            `gate_norm` is "batch".
        h0_l0: (D,), the learned initial state, at first 1 or -1 at random; only where it is learned.
        epsilon: how much of the old state a write keeps, in [0, 1]; may be changed between steps.

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
            (in layers after the first, whose inputs are sums, 1/2 in all channels), as `set_write_rates` does
            from data; at least 2. None for thresholds of 1.
        checkpoint: whether training keeps only the inputs and outputs of each layer, and computes the rest again in
            the backward pass; no bit changes.

    Raises:
        ValueError: a size, `epsilon`, `width`, `initial_state`, `gate_norm` or `write_span` is out of its range.
        TypeError: a size is not an int.

    Source: Brandoit et al. (2026), arXiv 2605.11855.

    >>> y, h_n = CMRU(4, 8, batch_first=True)(torch.randn(2, 100, 4))
    >>> bool((y == y.round()).all())
    True
    """

    recurrence_type = CMRURecurrence

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
        epsilon: float = 1.0,
        width: float = 1.0,
        initial_state: str = "zeros",
        gate_norm: str = "none",
        write_span: int | None = WRITE_SPAN,
        checkpoint: bool = False,
    ) -> None:
        recurrence = CMRURecurrence(epsilon, width, initial_state, gate_norm, write_span)
        sizes = (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


CMRUCell = make_cell(CMRU)
"""One step of `CMRU`, used like `torch.nn.GRUCell`; it takes the options of `CMRU`."""


class AlphaCMRU(Annealed, RecurrentUnit):
    r"""Relaxed cumulative unit: $h_t = h_{t-1} + \alpha_t\,\mathrm{sgn}(c_t)$ where $|c_t| \ge |\beta_t|$.

    The size of a step, $\alpha_t = W_\alpha x_t + b_\alpha$, is linear in the input, so that states are
    no longer quantized. This formula is our reading of the paper's abstract.

    Attributes:
        weight_ih_l0: (3 D, M), the rows of the candidate, the threshold, and the size of a step.
        bias_ih_l0: (3 D,), at first 0 for the candidate, what `write_span` asks for the threshold, 1 for the size.
        gate_gain_l0: (2 D,), the gain of normalised gates, at first 1 for the candidate and 1/2 for the threshold; only
            where `gate_norm` is "layer" or "batch".
        gate_mean_l0: (2 D,), the running mean of the gates, and `gate_variance_l0` their variance; buffers, only where
            `gate_norm` is "batch".
        h0_l0: (D,), the learned initial state, at first 1 or -1 at random; only where it is learned.
        epsilon: how much of the old state a write keeps, in [0, 1]; may be changed between steps.

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
        epsilon: how much of the old state a write keeps, in [0, 1]: with 1 writes add up, with 0 a write
            replaces the state.
        width: $a > 0$ of the surrogate gradient; a larger one looks at a narrower band around the threshold.
        initial_state: the state where no `hx` is given, and after a reset: "zeros" or "learned".
        gate_norm: how candidate and threshold are normalised before their gain and bias: "none"; "layer", over the
            channels of each step; or "batch", over batch and time in training and by running statistics else.
        write_span: the constructor sets the thresholds so that inputs of independent features of mean 0 and mean square
            1 write each channel in a share of the steps, evenly spaced in the logarithm from 1 / `write_span` to 1/2
            (in layers after the first, whose inputs are sums, 1/2 in all channels), as `set_write_rates` does
            from data; at least 2. None for thresholds of 1.
        checkpoint: whether training keeps only the inputs and outputs of each layer, and computes the rest again in
            the backward pass; no bit changes.

    Raises:
        ValueError: a size, `epsilon`, `width`, `initial_state`, `gate_norm` or `write_span` is out of its range.
        TypeError: a size is not an int.

    Source: Brandoit et al. (2026), arXiv 2605.11855.

    >>> AlphaCMRU(4, 8)(torch.randn(100, 2, 4))[0].shape
    torch.Size([100, 2, 8])
    """

    recurrence_type = AlphaCMRURecurrence

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
        epsilon: float = 1.0,
        width: float = 1.0,
        initial_state: str = "zeros",
        gate_norm: str = "none",
        write_span: int | None = WRITE_SPAN,
        checkpoint: bool = False,
    ) -> None:
        recurrence = AlphaCMRURecurrence(epsilon, width, initial_state, gate_norm, write_span)
        sizes = (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


AlphaCMRUCell = make_cell(AlphaCMRU)
"""One step of `AlphaCMRU`, used like `torch.nn.GRUCell`; it takes the options of `AlphaCMRU`."""


class AlphaBMRU(Annealed, RecurrentUnit):
    r"""Sample-and-hold: $h_t = \alpha_t\,\mathrm{sgn}(c_t)$ where $|c_t| \ge |\beta_t|$, else $h_{t-1}$.

    The number that is written, $\alpha_t = W_\alpha x_t + b_\alpha$ with the candidate's sign, is linear in the
    input, and is held bit for bit until the next write: the state is persistent, as a `BMRU`'s is, but any real
    number, and it cannot drift, as an `AlphaCMRU`'s can. The parameters are those of an `AlphaCMRU`, into which its
    `state_dict` loads; training with annealing takes `epsilon` from 1, where it is one, to 0.

    Attributes:
        weight_ih_l0: (3 D, M), the rows of the candidate, the threshold, and the size of a step.
        bias_ih_l0: (3 D,), at first 0 for the candidate, what `write_span` asks for the threshold, 1 for the size.
        gate_gain_l0: (2 D,), the gain of normalised gates, at first 1 for the candidate and 1/2 for the threshold; only
            where `gate_norm` is "layer" or "batch".
        gate_mean_l0: (2 D,), the running mean of the gates, and `gate_variance_l0` their variance; buffers, only where
            `gate_norm` is "batch".
        h0_l0: (D,), the learned initial state, at first 1 or -1 at random; only where it is learned.
        epsilon: how much of the old state a write keeps, in [0, 1]; may be changed between steps, as annealing does.

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
        epsilon: how much of the old state a write keeps, in [0, 1]: with 0 a write replaces the state, with 1
            writes add up, as in an `AlphaCMRU`.
        width: $a > 0$ of the surrogate gradient; a larger one looks at a narrower band around the threshold.
        initial_state: the state where no `hx` is given, and after a reset: "zeros" or "learned".
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

    Source: the parameters and epsilon of Brandoit et al. (2026), arXiv 2605.11855.

    >>> AlphaBMRU(4, 8)(torch.randn(100, 2, 4))[0].shape
    torch.Size([100, 2, 8])
    """

    recurrence_type = AlphaBMRURecurrence

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
        recurrence = AlphaBMRURecurrence(epsilon, width, initial_state, gate_norm, write_span)
        sizes = (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


AlphaBMRUCell = make_cell(AlphaBMRU)
"""One step of `AlphaBMRU`, used like `torch.nn.GRUCell`; it takes the options of `AlphaBMRU`."""
