"""A linear recurrence with negative eigenvalues, as a unit of one's own: the linear unit that can count modulo two.

Importing this module registers it, and the command line does so in this folder:

remanent --import negative train parity --model.unit negative_linear
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from remanent.ops import row_linear
from remanent.units import UNITS, LinearRecurrence, RecurrentUnit, StateIsOutput


@dataclass(eq=False)
class NegativeRecurrence(LinearRecurrence, StateIsOutput):
    """A linear recurrence whose factor is in (-1, 1)."""

    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """See `Recurrence`: the rows of the factor, then those of the candidate."""
        return {"weight_ih": (2 * D, M)} | ({"bias_ih": (2 * D,)} if bias else {})

    def initialise(self, p: dict[str, Tensor]) -> None:
        """Weights and biases as `torch.nn.Linear` draws them."""
        bound = p["weight_ih"].shape[1] ** -0.5
        for value in p.values():
            value.uniform_(-bound, bound)

    def gates(self, p: dict[str, Tensor], x: Tensor) -> tuple[Tensor, ...]:
        """The factor of the state, and what is added to it."""
        factor, candidate = row_linear(x, p["weight_ih"], p.get("bias_ih")).chunk(2, dim=-1)
        factor = torch.tanh(factor)
        return factor, (1 - factor) * candidate


class NegativeLinear(RecurrentUnit):
    r"""A linear recurrence with negative eigenvalues: $h_t = a_t \odot h_{t-1} + (1 - a_t) \odot c_t$.

    Factor and candidate see the input alone, $a_t = \tanh(W_a x_t + b_a)$, $c_t = W_c x_t + b_c$. A channel holds its
    state where a is near 1, forgets it where a is 0, and reflects it at the candidate where a is near -1. With
    a sigmoid in the place of the hyperbolic tangent, which can only hold and forget, this is a minimal gated unit.

    Attributes:
        weight_ih_l0: (2 D, M), the rows of the factor, then of the candidate.
        bias_ih_l0: (2 D,).

    Args:
        input_size: M, the features of a step, at least 1.
        hidden_size: D, the channels, at least 1.
        num_layers: how many layers are stacked, at least 1.
        bias: whether factor and candidate have biases.
        batch_first: whether inputs and outputs are (B, T, ...) rather than (T, B, ...).

    Raises:
        ValueError: a size is out of its range.
        TypeError: a size is not an int.

    Source: the idea is that of Grazzi et al. (2024), arXiv 2411.12537.

    >>> NegativeLinear(4, 8)(torch.randn(100, 2, 4))[0].shape
    torch.Size([100, 2, 8])
    """

    recurrence_type = NegativeRecurrence

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False
    ) -> None:
        super().__init__(NegativeRecurrence(), input_size, hidden_size, num_layers, bias, batch_first)


UNITS["negative_linear"] = NegativeLinear
