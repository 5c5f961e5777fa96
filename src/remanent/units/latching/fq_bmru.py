"""The first-quadrant form of the bistable unit, with states 0 and alpha, for unipolar hardware."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from remanent._options import check_choice, check_range
from remanent._rates import band
from remanent.ops import row_linear
from remanent.ops.gated.gated import composed
from remanent.ops.normalisation import projected_moments
from remanent.units.base import RecurrentUnit
from remanent.units.cell import make_cell
from remanent.units.latching.gate_norm import (
    GATE_NORMS,
    gain_shapes,
    moment_buffers,
    normalised_linear,
    observe_moments,
    plain_gates,
    reset_gate_norm,
    settle_moments,
)
from remanent.units.latching.write_span import (
    BITS,
    NORMAL,
    WRITE_SPAN,
    Features,
    begin_moments,
    check_write_span,
    later_span,
    span_bands,
)
from remanent.units.linear_recurrence import GatedRecurrence
from remanent.units.recurrence import INITIAL_STATES, Params, StateIsOutput, gate_shapes, learned_shapes
from remanent.units.step_data import StepData

LOW, WIDTH = 0.5, 2.0
"""Where the band between the thresholds begins at first, and how wide it is."""


@dataclass(eq=False)
class FQBMRURecurrence(GatedRecurrence, StateIsOutput):
    """Set high, set low, or hold. With factors of exactly 0 and 1, a linear scan rounds nothing."""

    cell: ClassVar[str] = "between"
    width: float = 1.0
    initial_state: str = "zeros"
    gate_norm: str = "none"
    write_span: int | None = WRITE_SPAN
    latches: ClassVar[bool] = True
    rate_parameters: ClassVar[tuple[str, ...]] = ("bias_ih", "threshold_low", "threshold_width")
    initial_states: ClassVar[tuple[str, ...]] = INITIAL_STATES
    config_fields = MappingProxyType(
        {
            "width": "surrogate_width",
            "initial_state": "initial_state",
            "gate_norm": "gate_norm",
            "write_span": "write_span",
        }
    )

    def __post_init__(self) -> None:
        check_range("width", self.width, 0, float("inf"), open_low=True)
        check_choice("initial_state", self.initial_state, self.initial_states)
        check_choice("gate_norm", self.gate_norm, GATE_NORMS)
        check_write_span(self.write_span)

    @property
    def exact_states(self) -> bool:
        """A state is set high, set low or held."""
        return True

    @property
    def finite_states(self) -> bool:
        r"""States are 0 and $|\alpha|$, and the initial one."""
        return True

    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """See `Recurrence`."""
        own = {"threshold_low": (D,), "threshold_width": (D,), "alpha": (D,)}
        gain = gain_shapes(self.gate_norm, D)
        return gate_shapes(1, M, D, bias) | gain | own | learned_shapes(self.initial_state, D)

    def buffers(self, D: int) -> dict[str, Tensor]:
        """See `Recurrence`."""
        return moment_buffers(self.gate_norm, D)

    def observed(self, p: Params, x: Tensor, real: Tensor | None, group: Any = None) -> Params:
        """See `Recurrence`."""
        if self.gate_norm != "batch":
            return p
        return observe_moments(p, projected_moments(x, p["weight_ih"], real, group))

    def initialise(self, p: Params) -> None:
        """See `FQBMRU`."""
        M = p["weight_ih"].shape[1]
        p["weight_ih"].uniform_(-(M**-0.5), M**-0.5)
        p["threshold_low"].fill_(LOW)
        p["threshold_width"].fill_(WIDTH)
        p["alpha"].fill_(1)
        reset_gate_norm(p, p["alpha"].shape[0])
        if "bias_ih" in p:
            p["bias_ih"].fill_(LOW + WIDTH / 2)
        if "h0" in p:
            p["h0"].copy_(torch.rand_like(p["h0"]).round())

    def initialise_layer(self, p: Params, layer: int) -> None:
        """See `Recurrence`; the bands are those of a `write_span`, and of other inputs in layers that read 0 and 1."""
        self.initialise(p)
        if self.write_span is None:
            return
        if layer > 0:
            self._set_bands(p, later_span(self.write_span, sums=False), BITS)
        else:
            self._set_bands(p, self.write_span, NORMAL)

    def gates(self, p: Params, x: Tensor) -> tuple[Tensor, ...]:
        """The candidate, the thresholds between which the state is held, and the size of a high state."""
        return (self._candidate(p, x), *_band(p), p["alpha"].abs())

    def writes(self, p: Params, x: Tensor) -> Tensor | None:
        """See `Recurrence`."""
        return composed(self.gates(p, x), self.cell)[0] == 0

    def set_write_rates(self, p: Params, x: Tensor, rates: Tensor) -> None:
        """Puts the band around the candidate's median, and the low end of it at `LOW`, above the zeros of the ReLU."""
        if self.gate_norm == "batch":
            settle_moments(p, projected_moments(x[None], p["weight_ih"]))
        p["bias_ih"].zero_()
        low, high = band(self._candidate(p, x), rates)
        p["bias_ih"].copy_(LOW - low)
        p["threshold_low"].fill_(LOW)
        p["threshold_width"].copy_(high - low)

    def step_data(self, p: Params) -> StepData | None:
        """A latch between two thresholds."""
        p, gain = plain_gates(p, self.gate_norm)
        low, high = _band(p)
        values = {"lower": low, "upper": high, "alpha": p["alpha"].abs()}
        D = p["alpha"].shape[0]
        return StepData("latch_between", D, p["weight_ih"], p.get("bias_ih"), values, self.start(p), gain=gain)

    def _set_bands(self, p: Params, write_span: int, features: Features) -> None:
        if "bias_ih" in p and not p["bias_ih"].is_meta:
            begin_moments(p, features)
            middle, width = span_bands(p, self.gate_norm, write_span, features)
            p["bias_ih"].copy_(LOW + width / 2 - middle)
            p["threshold_width"].copy_(width)

    def _candidate(self, p: Params, x: Tensor) -> Tensor:
        if self.gate_norm == "none":
            return row_linear(x, p["weight_ih"], p.get("bias_ih"), exact=True)
        return normalised_linear(x, p, 1)


def _band(p: Params) -> tuple[Tensor, Tensor]:
    """The thresholds between which a state is held."""
    low = p["threshold_low"].abs()
    return low, low + p["threshold_width"].abs()


class FQBMRU(RecurrentUnit):
    r"""First-quadrant latch: $h_t = |\alpha|$ where $c_t \ge \beta_{hi}$, 0 where $c_t \le \beta_{lo}$, else $h_{t-1}$.

    The candidate is $c_t = \mathrm{ReLU}(W_c x_t + b_c)$; the thresholds are learned constants,
    $\beta_{lo} = |t|$ and $\beta_{hi} = \beta_{lo} + |w|$. States are 0 and $|\alpha|$, and any cut of a
    sequence gives the same bits. The published equations have no `epsilon`, nor has this unit.

    Attributes:
        weight_ih_l0: (D, M).
        bias_ih_l0: (D,), at first such that the candidate's median is the middle of the band in which a state is held.
        threshold_low_l0: (D,), $t$, at first 0.5.
        threshold_width_l0: (D,), $w$, at first what `write_span` asks for.
        alpha_l0: (D,), the size of a high state, at first 1.
        gate_gain_l0: (D,), the gain of a normalised candidate, at first 1; only
            where `gate_norm` is "layer" or "batch".
        gate_mean_l0: (D,), the running mean of the candidate, and `gate_variance_l0` its variance; buffers, only where
            `gate_norm` is "batch".
        h0_l0: (D,), the learned initial state, at first 0 or 1 at random; only where it is learned.

    Args:
        input_size: M, the features of a step, at least 1.
        hidden_size: D, the channels, at least 1.
        num_layers: how many layers are stacked, at least 1; each reads the outputs of the one before.
        bias: whether the candidate has a bias.
        batch_first: whether inputs and outputs are (B, T, ...) rather than (T, B, ...).
        dropout: the probability, in [0, 1], that an output of any layer but the last is zeroed in training.
        bidirectional: whether a second direction reads the sequence backwards, with its outputs beside the first's.
        device: the device of the parameters.
        dtype: the dtype of the parameters.
        width: $a > 0$ of the surrogate gradient; a larger one looks at a narrower band around each threshold.
        initial_state: the state where no `hx` is given, and after a reset: "zeros" or "learned".
        gate_norm: how the candidate is normalised before its gain and bias: "none"; "layer", over the
            channels of each step; or "batch", over batch and time in training and by running statistics else.
        write_span: the constructor sets bias and thresholds so that inputs of independent features of mean 0 and mean
            square 1, and in later layers the states of the one before, write each channel in a share of the steps,
            half of it to either side; the shares are evenly spaced in the logarithm from 1 / `write_span` (in later
            layers from the root of it) to 1/2, as `set_write_rates` sets them from data. At least 2; None for a band
            from 0.5 to 2.5 and a bias of 1.5.
        checkpoint: whether training keeps only the inputs and outputs of each layer, and computes the rest again in
            the backward pass; no bit changes.

    Raises:
        ValueError: a size, `width`, `initial_state`, `gate_norm` or `write_span` is out of its range.
        TypeError: a size is not an int.

    Source: Fyon et al. (2026), arXiv 2605.15216; the initial values are our choice.

    >>> y, _ = FQBMRU(4, 8)(torch.randn(100, 2, 4))
    >>> y.unique().tolist()
    [0.0, 1.0]
    """

    recurrence_type = FQBMRURecurrence

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
        width: float = 1.0,
        initial_state: str = "zeros",
        gate_norm: str = "none",
        write_span: int | None = WRITE_SPAN,
        checkpoint: bool = False,
    ) -> None:
        recurrence, sizes = (
            FQBMRURecurrence(width, initial_state, gate_norm, write_span),
            (input_size, hidden_size, num_layers),
        )
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


FQBMRUCell = make_cell(FQBMRU)
"""One step of `FQBMRU`, used like `torch.nn.GRUCell`; it takes the options of `FQBMRU`."""
