"""The cumulative memory recurrent units: every write adds a step, and the gradient passes undamped."""

from dataclasses import dataclass

import torch
from torch import Tensor

from remanent.ops import row_linear
from remanent.units.base import RecurrentUnit
from remanent.units.bmru import Annealed, BMRURecurrence, LatchRecurrence, initialise_latch
from remanent.units.cell import RecurrentCell
from remanent.units.recurrence import Params, gate_shapes, learned_shapes


@dataclass(eq=False)
class CMRURecurrence(BMRURecurrence):
    """A latch whose writes add up."""

    epsilon: float = 1.0


@dataclass(eq=False)
class AlphaCMRURecurrence(LatchRecurrence):
    """A latch whose writes add up, and whose step is linear in the input."""

    epsilon: float = 1.0

    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """See `Recurrence`."""
        return gate_shapes(3, M, D, bias) | learned_shapes(self.initial_state, D)

    def initialise(self, p: Params) -> None:
        """See `AlphaCMRU`."""
        D = p["weight_ih"].shape[0] // 3
        initialise_latch(p, p["weight_ih"].new_ones(D))
        if "bias_ih" in p:
            p["bias_ih"][2 * D :] = 1

    def gates(self, p: Params, x: Tensor) -> tuple[Tensor, ...]:
        """Candidate, threshold and the size of a step."""
        return (row_linear(x, p["weight_ih"], p.get("bias_ih")),)

    def alpha(self, p: Params) -> Tensor | None:
        """None: it is a gate."""
        return None


class CMRU(Annealed, RecurrentUnit):
    r"""Cumulative memory recurrent unit: $h_t = h_{t-1} + \alpha\,\mathrm{sgn}(c_t)$ where $|c_t| \ge |\beta_t|$.

    Elsewhere the state is held. It is a `BMRU` with `epsilon` 1: states are integer multiples of
    $\alpha$, as far as the dtype tells them apart, and the gradient passes through time undamped. The
    parameters are those of a `BMRU`, into which its `state_dict` loads.

    Attributes:
        weight_ih_l0: (2 D, M), the rows of the candidate, then of the threshold.
        bias_ih_l0: (2 D,), at first 0 for the candidate and 1 for the threshold.
        alpha_l0: (D,), the size of a step, at first 1.
        h0_l0: (D,), the learned initial state, at first 1 or -1 at random; only where it is learned.
        epsilon: how much of the old state a write keeps, in [0, 1]; may be changed between steps.

    Args:
        input_size: this, the next seven, and `checkpoint`, as in `RecurrentUnit`.
        epsilon: this and the rest as in `BMRU`.

    Raises:
        ValueError: a size, `epsilon`, `width` or `initial_state` is out of its range.
        TypeError: a size is not an int.

    Source: Brandoit et al. (2026), arXiv 2605.11855.

    >>> y, h_n = CMRU(4, 8, batch_first=True)(torch.randn(2, 100, 4))
    >>> bool((y == y.round()).all())
    True
    """

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
        checkpoint: bool = False,
    ) -> None:
        recurrence = CMRURecurrence(epsilon, width, initial_state)
        sizes = (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


class CMRUCell(Annealed, RecurrentCell):
    """One step of a `CMRU`, used like `torch.nn.GRUCell`.

    Args:
        input_size: this and the next four as in `RecurrentCell`.
        epsilon: this and the rest as in `CMRU`.

    >>> CMRUCell(4, 8)(torch.randn(2, 4)).shape
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
        epsilon: float = 1.0,
        width: float = 1.0,
        initial_state: str = "zeros",
    ) -> None:
        recurrence = CMRURecurrence(epsilon, width, initial_state)
        super().__init__(recurrence, input_size, hidden_size, bias, device, dtype)


class AlphaCMRU(Annealed, RecurrentUnit):
    r"""Relaxed cumulative unit: $h_t = h_{t-1} + \alpha_t\,\mathrm{sgn}(c_t)$ where $|c_t| \ge |\beta_t|$.

    The size of a step, $\alpha_t = W_\alpha x_t + b_\alpha$, is linear in the input, so that states are
    no longer quantized. This formula is our reading of the paper's abstract.

    Attributes:
        weight_ih_l0: (3 D, M), the rows of the candidate, the threshold, and the size of a step.
        bias_ih_l0: (3 D,), at first 0 for the candidate and 1 for the other two.
        h0_l0: (D,), the learned initial state, at first 1 or -1 at random; only where it is learned.
        epsilon: how much of the old state a write keeps, in [0, 1]; may be changed between steps.

    Args:
        input_size: this, the next seven, and `checkpoint`, as in `RecurrentUnit`.
        epsilon: this and the rest as in `BMRU`.

    Raises:
        ValueError: a size, `epsilon`, `width` or `initial_state` is out of its range.
        TypeError: a size is not an int.

    Source: Brandoit et al. (2026), arXiv 2605.11855.

    >>> AlphaCMRU(4, 8)(torch.randn(100, 2, 4))[0].shape
    torch.Size([100, 2, 8])
    """

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
        checkpoint: bool = False,
    ) -> None:
        recurrence = AlphaCMRURecurrence(epsilon, width, initial_state)
        sizes = (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


class AlphaCMRUCell(Annealed, RecurrentCell):
    """One step of an `AlphaCMRU`, used like `torch.nn.GRUCell`.

    Args:
        input_size: this and the next four as in `RecurrentCell`.
        epsilon: this and the rest as in `AlphaCMRU`.

    >>> AlphaCMRUCell(4, 8)(torch.randn(2, 4)).shape
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
        epsilon: float = 1.0,
        width: float = 1.0,
        initial_state: str = "zeros",
    ) -> None:
        recurrence = AlphaCMRURecurrence(epsilon, width, initial_state)
        super().__init__(recurrence, input_size, hidden_size, bias, device, dtype)
