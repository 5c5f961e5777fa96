"""The linear recurrent unit: a diagonal complex state-space layer, whose memory fades."""

import math

import torch
from torch import Tensor, nn

from remanent.ops import linear_scan, linear_step, row_linear
from remanent.units.base import RecurrentUnit


class LRU(RecurrentUnit):
    r"""Linear recurrent unit: $h_t = \lambda \odot h_{t-1} + \gamma \odot B x_t$, $y_t = \mathrm{Re}(C h_t) + D x_t$.

    The state is complex, $\lambda = \exp(-\exp(\nu) + i \exp(\theta))$, so $|\lambda| < 1$ always.

    Attributes:
        weight_ih_l0: (2 D, M), the real rows of $B$, then the imaginary.
        nu_log_l0, theta_log_l0: (D,), $\nu$ and $\theta$; at first $|\lambda|$ fills the ring
            [`r_min`, `r_max`] evenly and the phase [0, 2 pi).
        gamma_log_l0: (D,), the log of $\gamma$, at first of $\sqrt{1 - |\lambda|^2}$.
        weight_ho_l0: (2 D, D), the real rows of $C$, then the imaginary.
        weight_skip_l0: (D, M), the direct path that the paper calls $D$.

    Args:
        input_size: M, at least 1.
        hidden_size: D, the number of complex states and of outputs, at least 1.
        batch_first: inputs are (B, T, M) where true, else (T, B, M), as in `torch.nn.GRU`.
        r_min: the ring's inner radius, in [0, `r_max`).
        r_max: the ring's outer radius, in (`r_min`, 1).
        device: where the parameters are made.
        dtype: their dtype, real; states are complex64, or complex128 for float64.

    Raises:
        ValueError: a size or radius is out of its range.
        TypeError: a size is not an int.

    Source: Orvieto et al. (2023), arXiv 2303.06349.

    >>> y, h_n = LRU(4, 8, batch_first=True)(torch.randn(2, 100, 4))
    >>> y.shape, h_n.dtype
    (torch.Size([2, 100, 8]), torch.complex64)
    """

    weight_ih_l0: nn.Parameter
    nu_log_l0: nn.Parameter
    theta_log_l0: nn.Parameter
    gamma_log_l0: nn.Parameter
    weight_ho_l0: nn.Parameter
    weight_skip_l0: nn.Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        batch_first: bool = False,
        r_min: float = 0.9,
        r_max: float = 0.999,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, batch_first)
        if not 0 <= r_min < r_max < 1:
            raise ValueError(f"`r_min` and `r_max` must satisfy 0 <= r_min < r_max < 1, got {r_min} and {r_max}")
        self.r_min = r_min
        self.r_max = r_max
        M, D = input_size, hidden_size
        shapes = {
            "weight_ih_l0": (2 * D, M),
            "nu_log_l0": (D,),
            "theta_log_l0": (D,),
            "gamma_log_l0": (D,),
            "weight_ho_l0": (2 * D, D),
            "weight_skip_l0": (D, M),
        }
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws eigenvalues on the ring, and weights normal with the variance of the paper."""
        D, M = self.hidden_size, self.input_size
        with torch.no_grad():
            radius_squared = self.nu_log_l0.uniform_(self.r_min**2, self.r_max**2).clone()
            self.nu_log_l0.copy_((-0.5 * radius_squared.log()).log())
            self.theta_log_l0.uniform_(1e-4, 2 * math.pi).log_()
            self.gamma_log_l0.copy_(0.5 * (-2 * self.nu_log_l0.exp()).expm1().neg().log())
            self.weight_ih_l0.normal_(0, (2 * M) ** -0.5)
            self.weight_ho_l0.normal_(0, D**-0.5)
            self.weight_skip_l0.normal_(0, M**-0.5)

    def extra_repr(self) -> str:
        """The sizes, and the options that are not at their defaults."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        shown += ["batch_first=True"] if self.batch_first else []
        shown += [f"r_min={self.r_min:g}"] if self.r_min != 0.9 else []
        shown += [f"r_max={self.r_max:g}"] if self.r_max != 0.999 else []
        return ", ".join(shown)

    @property
    def state_dtype(self) -> torch.dtype:
        """The dtype of the states: complex128 for float64 weights, else complex64."""
        return torch.complex128 if self.weight_ih_l0.dtype == torch.float64 else torch.complex64

    def _gates(self, x: Tensor) -> tuple[Tensor, ...]:
        real, imaginary = row_linear(x, self.weight_ih_l0).to(self.state_dtype.to_real()).chunk(2, dim=-1)
        gamma = self.gamma_log_l0.to(real.dtype).exp()
        return (torch.complex(gamma * real, gamma * imaginary),)

    def _scan(self, gates: tuple[Tensor, ...], h: Tensor | None, reset: Tensor | None, start: Tensor | None) -> Tensor:
        return linear_scan(self._decay(), gates[0], h, reset=reset, reset_state=start)

    def _advance(self, gates: tuple[Tensor, ...], h: Tensor) -> Tensor:
        return linear_step(self._decay(), gates[0], h)

    def _readout(self, states: Tensor, x: Tensor) -> Tensor:
        real_rows, imaginary_rows = self.weight_ho_l0.chunk(2)
        parts = torch.cat([states.real, states.imag], dim=-1).to(x.dtype)
        read = row_linear(parts, torch.cat([real_rows, -imaginary_rows], dim=1))
        return read + row_linear(x, self.weight_skip_l0)

    def _start(self) -> Tensor | None:
        return None

    def _decay(self) -> Tensor:
        real = self.state_dtype.to_real()
        radius = (-self.nu_log_l0.to(real).exp()).exp()
        return torch.polar(radius, self.theta_log_l0.to(real).exp())
