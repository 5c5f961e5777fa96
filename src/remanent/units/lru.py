"""The linear recurrent unit: a diagonal complex state-space layer, whose memory fades."""

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from remanent._options import check_range
from remanent.ops import row_linear
from remanent.ops.pairs.rotation_step import rotation_step
from remanent.ops.pairs.views import as_pairs
from remanent.units.base import RecurrentUnit
from remanent.units.cell import make_cell
from remanent.units.linear_recurrence import LinearRecurrence
from remanent.units.recurrence import Params
from remanent.units.step_data import StepData


@dataclass(eq=False)
class LRURecurrence(LinearRecurrence):
    """A complex linear recurrence between two linear maps, all in real arithmetic: complex numbers are pairs."""

    r_min: float = 0.9
    r_max: float = 0.999
    in_pairs: ClassVar[bool] = True
    config_fields = MappingProxyType({"r_min": "r_min", "r_max": "r_max"})

    def __post_init__(self) -> None:
        check_range("r_max", self.r_max, 0, 1, open_low=True, open_high=True)
        check_range("r_min", self.r_min, 0, self.r_max, open_high=True)

    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """See `Recurrence`."""
        return {
            "weight_ih": (2 * D, M),
            "nu_log": (D,),
            "theta_log": (D,),
            "gamma_log": (D,),
            "weight_ho": (2 * D, D),
            "weight_skip": (D, M),
        }

    def initialise(self, p: Params) -> None:
        """Draws eigenvalues on the ring, and weights normal with the variance of the paper."""
        D, M = p["weight_skip"].shape
        wide = torch.empty_like(p["nu_log"], dtype=_real_dtype(p["nu_log"]))
        limits = torch.finfo(wide.dtype)
        radius_squared = wide.uniform_(self.r_min**2, self.r_max**2).clamp(limits.tiny, 1 - limits.eps / 2)
        p["nu_log"].copy_((-0.5 * radius_squared.log()).log())  # finite, since the radius is neither 0 nor 1
        p["theta_log"].uniform_(1e-4, 2 * math.pi).log_()
        p["gamma_log"].copy_(0.5 * (-2 * p["nu_log"].to(wide.dtype).exp()).expm1().neg().log())
        p["weight_ih"].normal_(0, (2 * M) ** -0.5)
        p["weight_ho"].normal_(0, D**-0.5)
        p["weight_skip"].normal_(0, M**-0.5)

    def state_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """complex128 for float64 weights, else complex64."""
        return torch.complex128 if dtype == torch.float64 else torch.complex64

    def gates(self, p: Params, x: Tensor) -> tuple[Tensor, ...]:
        """The factor of the state, and what is added to it, as pairs."""
        dtype = _real_dtype(p["weight_ih"])
        gamma = p["gamma_log"].to(dtype).exp()
        weight = gamma.to(p["weight_ih"].dtype)[:, None] * p["weight_ih"].unflatten(0, (2, -1))
        return self.eigenvalues(p).flatten(), row_linear(x, weight.transpose(0, 1).flatten(0, 1)).to(dtype)

    def eigenvalues(self, p: Params) -> Tensor:
        r"""What a step keeps of the state, $\lambda$, as pairs (D, 2)."""
        nu, theta = (p[name].to(_real_dtype(p["weight_ih"])).exp() for name in ("nu_log", "theta_log"))
        radius = (-nu).exp()
        if not torch.compiler.is_compiling():
            return torch.view_as_real(torch.polar(radius, theta))
        wide = theta.double()  # torch's own cosine of float32 rounds otherwise than `polar`
        return torch.stack([radius * wide.cos().to(nu.dtype), radius * wide.sin().to(nu.dtype)], dim=1)

    def advance(self, p: Params, x: Tensor, h: Tensor) -> Tensor:
        r"""See `Recurrence`; of one step, $\gamma$ scales what is added, which is smaller than the weights."""
        dtype = _real_dtype(p["weight_ih"])
        factor, gamma = self.eigenvalues(p), p["gamma_log"].to(dtype).exp()
        return rotation_step(factor, gamma, row_linear(x, p["weight_ih"]).to(dtype), h)

    def readout(self, p: Params, states: Tensor, x: Tensor) -> Tensor:
        """The real part of a linear map of the states, complex or as pairs, plus one of the input."""
        pairs = as_pairs(states) if states.is_complex() else states
        real_rows, imaginary_rows = p["weight_ho"].chunk(2)
        weight = torch.stack([real_rows, -imaginary_rows], dim=2).flatten(1)
        return row_linear(pairs.to(weight.dtype), weight) + row_linear(x, p["weight_skip"])

    def frozen(self, p: Params) -> "FrozenLRURecurrence":
        """With the eigenvalues as numbers: another library rounds exponentials differently, which would add up."""
        return FrozenLRURecurrence(self.r_min, self.r_max, self.eigenvalues(p).detach())

    def step_data(self, p: Params) -> StepData | None:
        r"""A rotation by $\lambda$; $\gamma$ is a factor of the gates' weights."""
        D = p["weight_skip"].shape[0]
        real, imaginary = p["weight_ho"].chunk(2)
        values = {
            "eigenvalues": self.eigenvalues(p).T,
            "read_real": real,
            "read_imaginary": -imaginary,
            "read_input": p["weight_skip"],
        }
        weight = p["weight_ih"] * p["gamma_log"].exp().repeat(2)[:, None]
        return StepData("rotate", D, weight, None, values)


@dataclass(eq=False)
class FrozenLRURecurrence(LRURecurrence):
    """An LRU whose eigenvalues are fixed numbers, in place of those that the parameters give."""

    pairs: Tensor = field(default_factory=lambda: torch.empty(0, 2))

    def eigenvalues(self, p: Params) -> Tensor:
        """See `LRURecurrence`."""
        return self.pairs


def _real_dtype(weight: Tensor) -> torch.dtype:
    """The dtype of the states' real and imaginary parts: half weights have states in float32."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


class LRU(RecurrentUnit):
    r"""Linear recurrent unit: $h_t = \lambda \odot h_{t-1} + \gamma \odot B x_t$, $y_t = \mathrm{Re}(C h_t) + D x_t$.

    The state is complex, $\lambda = \exp(-\exp(\nu) + i \exp(\theta))$, so $|\lambda| < 1$ always. Its dtype is
    complex64, or complex128 for parameters of float64.

    Attributes:
        weight_ih_l0: (2 D, M), the real rows of $B$, then the imaginary.
        nu_log_l0, theta_log_l0: (D,), $\nu$ and $\theta$; at first $|\lambda|$ fills the ring
            [`r_min`, `r_max`] evenly and the phase [0, 2 pi).
        gamma_log_l0: (D,), the log of $\gamma$, at first of $\sqrt{1 - |\lambda|^2}$.
        weight_ho_l0: (2 D, D), the real rows of $C$, then the imaginary.
        weight_skip_l0: (D, M), the direct path that the paper calls $D$.

    Args:
        input_size: M, the features of a step, at least 1.
        hidden_size: D, the complex states and the outputs, at least 1.
        num_layers: how many layers are stacked, at least 1; each reads the outputs of the one before.
        bias: accepted, as by the other units; an LRU has no biases.
        batch_first: whether inputs and outputs are (B, T, ...) rather than (T, B, ...).
        dropout: the probability, in [0, 1], that an output of any layer but the last is zeroed in training.
        bidirectional: whether a second direction reads the sequence backwards, with its outputs beside the first's.
        device: the device of the parameters.
        dtype: the dtype of the parameters.
        r_min: the inner radius of the ring on which eigenvalues start, in [0, `r_max`).
        r_max: the outer radius, in (`r_min`, 1); memory fades in about 1 / (1 - `r_max`) steps.
        checkpoint: whether training keeps only the inputs and outputs of each layer, and computes the rest again in
            the backward pass; no bit changes.

    Raises:
        ValueError: a size or radius is out of its range.
        TypeError: a size is not an int.

    Source: Orvieto et al. (2023), arXiv 2303.06349.

    >>> y, h_n = LRU(4, 8, batch_first=True)(torch.randn(2, 100, 4))
    >>> y.shape, h_n.dtype
    (torch.Size([2, 100, 8]), torch.complex64)
    """

    recurrence_type = LRURecurrence

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
        r_min: float = 0.9,
        r_max: float = 0.999,
        checkpoint: bool = False,
    ) -> None:
        recurrence, sizes = LRURecurrence(r_min, r_max), (input_size, hidden_size, num_layers)
        super().__init__(recurrence, *sizes, bias, batch_first, dropout, bidirectional, device, dtype, checkpoint)


LRUCell = make_cell(
    LRU,
    note="the state is complex, and `readout` gives the output",
    example="""
    >>> cell, x = LRUCell(4, 8), torch.randn(2, 4)
    >>> cell.readout(cell(x), x).shape
    torch.Size([2, 8])
    """,
)
"""One step of `LRU`, used like `torch.nn.GRUCell`, with the options of `LRU`; `readout` gives the output."""
