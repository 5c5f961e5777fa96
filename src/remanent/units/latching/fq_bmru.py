"""The first-quadrant form of the bistable unit, with states 0 and alpha, for unipolar hardware."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from remanent._options import check_choice, check_range
from remanent.ops import row_linear, write_gate
from remanent.units.base import RecurrentUnit
from remanent.units.cell import make_cell
from remanent.units.recurrence import (
    INITIAL_STATES,
    LinearRecurrence,
    Params,
    StateIsOutput,
    gate_shapes,
    learned_shapes,
)
from remanent.units.step_data import StepData

LOW, WIDTH = 0.5, 2.0
"""Where the band between the thresholds begins at first, and how wide it is."""


@dataclass(eq=False)
class FQBMRURecurrence(LinearRecurrence, StateIsOutput):
    """Set high, set low, or hold. With factors of exactly 0 and 1, a linear scan rounds nothing."""

    width: float = 1.0
    initial_state: str = "zeros"
    latches: ClassVar[bool] = True
    initial_states: ClassVar[tuple[str, ...]] = INITIAL_STATES
    config_fields = MappingProxyType({"width": "surrogate_width", "initial_state": "initial_state"})

    def __post_init__(self) -> None:
        check_range("width", self.width, 0, float("inf"), open_low=True)
        check_choice("initial_state", self.initial_state, self.initial_states)

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
        return gate_shapes(1, M, D, bias) | own | learned_shapes(self.initial_state, D)

    def initialise(self, p: Params) -> None:
        """See `FQBMRU`."""
        M = p["weight_ih"].shape[1]
        p["weight_ih"].uniform_(-(M**-0.5), M**-0.5)
        p["threshold_low"].fill_(LOW)
        p["threshold_width"].fill_(WIDTH)
        p["alpha"].fill_(1)
        if "bias_ih" in p:
            p["bias_ih"].fill_(LOW + WIDTH / 2)
        if "h0" in p:
            p["h0"].copy_(torch.rand_like(p["h0"]).round())

    def gates(self, p: Params, x: Tensor) -> tuple[Tensor, ...]:
        """The factor of the state, 0 or 1, and what is added to it, 0 or alpha."""
        candidate = row_linear(x, p["weight_ih"], p.get("bias_ih")).relu()
        low, high = _band(p)
        set_low = write_gate(low, candidate, self.width)
        set_high = write_gate(candidate, high, self.width)
        return (1 - set_low) * (1 - set_high), set_high * p["alpha"].abs()

    def writes(self, p: Params, x: Tensor) -> Tensor | None:
        """See `Recurrence`."""
        return self.gates(p, x)[0] == 0

    def step_data(self, p: Params) -> StepData | None:
        """A latch between two thresholds."""
        low, high = _band(p)
        values = {"lower": low, "upper": high, "alpha": p["alpha"].abs()}
        D = p["alpha"].shape[0]
        return StepData("latch_between", D, p["weight_ih"], p.get("bias_ih"), values, self.start(p))


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
        bias_ih_l0: (D,), at first 1.5, the middle of the band in which a state is held.
        threshold_low_l0: (D,), $t$, at first 0.5.
        threshold_width_l0: (D,), $w$, at first 2.
        alpha_l0: (D,), the size of a high state, at first 1.
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
        checkpoint: whether training keeps only the inputs and outputs of each layer, and computes the rest again in
            the backward pass; no bit changes.

    Raises:
        ValueError: a size, `width` or `initial_state` is out of its range.
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
        checkpoint: bool = False,
    ) -> None:
        recurrence, sizes = FQBMRURecurrence(width, initial_state), (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


FQBMRUCell = make_cell(FQBMRU)
"""One step of `FQBMRU`, used like `torch.nn.GRUCell`; it takes the options of `FQBMRU`."""
