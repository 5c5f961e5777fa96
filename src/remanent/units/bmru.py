"""The bistable memory recurrent unit: a hysteresis cell a channel."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from remanent._options import check_choice, check_range
from remanent.ops import latch_scan_joint, latch_step, row_linear
from remanent.units.base import RecurrentUnit
from remanent.units.cell import RecurrentCell
from remanent.units.recurrence import (
    INITIAL_STATES,
    Params,
    ScanRecurrence,
    StateIsOutput,
    gate_shapes,
    learned_shapes,
)

LATCH_STATES = (*INITIAL_STATES, "low")
"""What a latch with a learned step may start from."""


@dataclass(eq=False)
class LatchRecurrence(ScanRecurrence, StateIsOutput):
    """Set or hold: a candidate, a threshold and a size of step, from the input or learned.

    Its gates are one tensor, in which they lie side by side.
    """

    epsilon: float = 0.0
    width: float = 1.0
    initial_state: str = "zeros"
    initial_states: ClassVar[tuple[str, ...]] = INITIAL_STATES
    shares_time: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_range("width", self.width, 0, float("inf"), open_low=True)
        check_choice("initial_state", self.initial_state, self.initial_states)
        self.set_epsilon(self.epsilon)

    def set_epsilon(self, epsilon: float) -> None:
        """Changes how much of the old state a write keeps, in [0, 1]."""
        check_range("epsilon", epsilon, 0, 1)
        self.epsilon = float(epsilon)
        # a compiled graph reads the tensor, which may change, where it would fix the number
        self.epsilon_tensor = torch.tensor(self.epsilon, dtype=torch.float64, device="cpu")

    @abstractmethod
    def alpha(self, p: Params) -> Tensor | None:
        """The size of a step, (D,), or None where it is the last of the gates."""

    def split_gates(self, p: Params, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Candidate and threshold (..., D), as it is before its size is taken, and the size of a step."""
        alpha = self.alpha(p)
        candidate, threshold, *size = self.gates(p, x)[0].chunk(3 if alpha is None else 2, dim=-1)
        return candidate, threshold, size[0] if alpha is None else alpha

    def writes(self, p: Params, x: Tensor) -> Tensor | None:
        """See `Recurrence`."""
        candidate, threshold, _ = self.split_gates(p, x)
        return candidate.abs() >= threshold.abs()

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
        return latch_scan_joint(
            gates[0],
            self.alpha(p),
            h,
            epsilon=self.epsilon_tensor,
            width=self.width,
            reset=reset,
            reset_state=start,
            group=group,
        )

    def one_step(self, p: Params, gates: tuple[Tensor, ...], h: Tensor) -> Tensor:
        """See `ScanRecurrence`."""
        alpha = self.alpha(p)
        candidate, threshold, *size = gates[0].chunk(3 if alpha is None else 2, dim=-1)
        alpha = size[0] if alpha is None else alpha
        return latch_step(candidate, threshold, alpha, h, epsilon=self.epsilon_tensor, width=self.width)


class BMRURecurrence(LatchRecurrence):
    """A latch whose step is learned, one for each channel."""

    initial_states: ClassVar[tuple[str, ...]] = LATCH_STATES

    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """See `Recurrence`."""
        return gate_shapes(2, M, D, bias) | {"alpha": (D,)} | learned_shapes(self.initial_state, D)

    def initialise(self, p: Params) -> None:
        """See `BMRU`."""
        initialise_latch(p, p["alpha"].fill_(1))

    def gates(self, p: Params, x: Tensor) -> tuple[Tensor, ...]:
        """Candidate and threshold."""
        return (row_linear(x, p["weight_ih"], p.get("bias_ih")),)

    def alpha(self, p: Params) -> Tensor | None:
        """The learned size."""
        return p["alpha"]

    def start(self, p: Params) -> Tensor | None:
        """The learned initial state, that of a low write, or None for zeros."""
        return -p["alpha"] if self.initial_state == "low" else super().start(p)


class Annealed:
    """What units and cells of latches have beside the others: an `epsilon` that may be changed between steps."""

    recurrence: Any  # a LatchRecurrence

    @property
    def epsilon(self) -> float:
        """How much of the old state a write keeps, in [0, 1]; no part of the `state_dict`."""
        return self.recurrence.epsilon

    @epsilon.setter
    def epsilon(self, value: float) -> None:
        self.recurrence.set_epsilon(value)


class BMRU(Annealed, RecurrentUnit):
    r"""Bistable memory recurrent unit: $h_t = \alpha\,\mathrm{sgn}(c_t)$ where $|c_t| \ge |\beta_t|$, else $h_{t-1}$.

    Candidate and threshold are linear in the input, $c_t = W_c x_t + b_c$ and
    $\beta_t = W_\beta x_t + b_\beta$, and do not see the state. With `epsilon` 0, states are exactly
    $\pm\alpha$ (or what `hx` held), and any cut of a sequence gives the same bits.

    Attributes:
        weight_ih_l0: (2 D, M), the rows of the candidate, then of the threshold.
        bias_ih_l0: (2 D,), at first 0 for the candidate and 1 for the threshold.
        alpha_l0: (D,), the size of a written state, at first 1.
        h0_l0: (D,), the learned initial state, at first 1 or -1 at random; only where it is learned.
        epsilon: how much of the old state a write keeps, in [0, 1]; may be changed between steps, as
            training by annealing does. It is no parameter and no part of the `state_dict`: a copy, such as
            an average over training, keeps its own and is annealed with the rest.

    Args:
        input_size: this, the next seven, and `checkpoint`, as in `RecurrentUnit`. Without `bias`, a threshold is
            0 for a zero input, which then writes.
        epsilon: see above; 0 is the BMRU, 1 the cumulative unit.
        width: the surrogate gradient's $a > 0$.
        initial_state: "zeros", "learned", or "low", which is $-\alpha$, as if a negative candidate had been
            written: then a state is one bit from the start. Used where no `hx` is given, and after a reset.

    Raises:
        ValueError: a size, `epsilon`, `width` or `initial_state` is out of its range.
        TypeError: a size is not an int.

    Source: De Geeter et al. (2026), arXiv 2601.09495; epsilon: Brandoit et al. (2026), arXiv 2605.11855.

    >>> y, h_n = BMRU(4, 8, batch_first=True)(torch.randn(2, 100, 4))
    >>> y.shape, h_n.shape
    (torch.Size([2, 100, 8]), torch.Size([1, 2, 8]))
    """

    weight_ih_l0: Tensor
    bias_ih_l0: Tensor
    alpha_l0: Tensor

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
        checkpoint: bool = False,
    ) -> None:
        recurrence = BMRURecurrence(epsilon, width, initial_state)
        sizes = (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


class BMRUCell(Annealed, RecurrentCell):
    """One step of a `BMRU`, used like `torch.nn.GRUCell`.

    Args:
        input_size: this and the next four as in `RecurrentCell`.
        epsilon: this and the rest as in `BMRU`.

    >>> BMRUCell(4, 8)(torch.randn(2, 4)).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        epsilon: float = 0.0,
        width: float = 1.0,
        initial_state: str = "zeros",
    ) -> None:
        recurrence = BMRURecurrence(epsilon, width, initial_state)
        super().__init__(recurrence, input_size, hidden_size, bias, device, dtype)


def initialise_latch(p: Params, alpha: Tensor) -> None:
    """Weights as `torch.nn.Linear` draws them, biases 0 but 1 for the threshold, the first state at random sign."""
    M, D = p["weight_ih"].shape[1], alpha.shape[0]
    p["weight_ih"].uniform_(-(M**-0.5), M**-0.5)
    if "bias_ih" in p:
        p["bias_ih"].zero_()[D : 2 * D] = 1
    if "h0" in p:
        p["h0"].copy_(torch.where(torch.rand_like(p["h0"]) < 0.5, -alpha, alpha))
