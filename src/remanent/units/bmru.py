"""The bistable memory recurrent unit: a hysteresis cell a channel."""

import torch
from torch import Tensor, nn

from remanent._options import check_choice, check_range
from remanent.ops import latch_scan, latch_step, row_linear
from remanent.units.base import INITIAL_STATES, RecurrentUnit


class BMRU(RecurrentUnit):
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
            training by annealing does, and is not part of the `state_dict`.

    Args:
        input_size: M, at least 1.
        hidden_size: D, at least 1.
        batch_first: inputs are (B, T, M) where true, else (T, B, M), as in `torch.nn.GRU`.
        epsilon: see above; 0 is the BMRU, 1 the cumulative unit.
        width: the surrogate gradient's $a > 0$.
        initial_state: "zeros" or "learned"; used where no `hx` is given, and after a reset.
        device: where the parameters are made.
        dtype: their dtype.

    Raises:
        ValueError: a size, `epsilon`, `width` or `initial_state` is out of its range.
        TypeError: a size is not an int.

    Source: De Geeter et al. (2026), arXiv 2601.09495; epsilon: Brandoit et al. (2026), arXiv 2605.11855.

    >>> y, h_n = BMRU(4, 8, batch_first=True)(torch.randn(2, 100, 4))
    >>> y.shape, h_n.shape
    (torch.Size([2, 100, 8]), torch.Size([1, 2, 8]))
    """

    h0_l0: nn.Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        batch_first: bool = False,
        epsilon: float = 0.0,
        width: float = 1.0,
        initial_state: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, batch_first)
        check_range("epsilon", epsilon, 0, 1)
        check_range("width", width, 0, float("inf"), open_low=True)
        check_choice("initial_state", initial_state, INITIAL_STATES)
        self.epsilon = float(epsilon)
        self.width = float(width)
        M, D = input_size, hidden_size
        self.weight_ih_l0 = nn.Parameter(torch.empty(2 * D, M, device=device, dtype=dtype))
        self.bias_ih_l0 = nn.Parameter(torch.empty(2 * D, device=device, dtype=dtype))
        self.alpha_l0 = nn.Parameter(torch.empty(D, device=device, dtype=dtype))
        learned = nn.Parameter(torch.empty(D, device=device, dtype=dtype)) if initial_state == "learned" else None
        self.register_parameter("h0_l0", learned)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights as `torch.nn.Linear` does, and sets the rest as the class says."""
        D, M = self.hidden_size, self.input_size
        with torch.no_grad():
            self.weight_ih_l0.uniform_(-(M**-0.5), M**-0.5)
            self.bias_ih_l0[:D] = 0
            self.bias_ih_l0[D:] = 1
            self.alpha_l0.fill_(1)
            if self.h0_l0 is not None:
                self.h0_l0.copy_(torch.where(torch.rand_like(self.h0_l0) < 0.5, -self.alpha_l0, self.alpha_l0))

    def extra_repr(self) -> str:
        """The sizes, and the options that are not at their defaults."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        shown += ["batch_first=True"] if self.batch_first else []
        shown += [f"epsilon={self.epsilon:g}"] if self.epsilon else []
        shown += [f"width={self.width:g}"] if self.width != 1 else []
        shown += ["initial_state='learned'"] if self.h0_l0 is not None else []
        return ", ".join(shown)

    @property
    def state_dtype(self) -> torch.dtype:
        """The dtype of the states: that of the weights."""
        return self.weight_ih_l0.dtype

    def _gates(self, x: Tensor) -> tuple[Tensor, ...]:
        return row_linear(x, self.weight_ih_l0, self.bias_ih_l0).chunk(2, dim=-1)

    def _scan(self, gates: tuple[Tensor, ...], h: Tensor | None, reset: Tensor | None, start: Tensor | None) -> Tensor:
        candidate, threshold = gates
        return latch_scan(
            candidate,
            threshold,
            self.alpha_l0,
            h,
            epsilon=self.epsilon,
            width=self.width,
            reset=reset,
            reset_state=start,
        )

    def _advance(self, gates: tuple[Tensor, ...], h: Tensor) -> Tensor:
        candidate, threshold = gates
        return latch_step(candidate, threshold, self.alpha_l0, h, epsilon=self.epsilon, width=self.width)

    def _readout(self, states: Tensor, x: Tensor) -> Tensor:
        return states

    def _start(self) -> Tensor | None:
        return self.h0_l0
