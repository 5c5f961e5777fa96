"""One step of each cell whose gates see the state, and the same step backwards, by hand.

Each forward function takes what the input adds, what the state feeds back, and the state; its twin takes
the gradient of the new state as well, and returns those of the three.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SIZES = {"brc": (3, 2, 1), "gru": (3, 3, 1), "lstm": (4, 4, 2)}
"""Cell to the widths of the value, the feedback and the state, in multiples of D."""


def feed(h: Tensor, weight: Tensor, bias: Tensor | None, cell: str) -> Tensor:
    """What the state (..., W) feeds back to the gates, (..., K), by a matrix or by diagonals."""
    _, fed, parts = SIZES[cell]
    hidden = h if parts == 1 else h.chunk(parts, dim=-1)[0]
    if weight.dim() == 2:
        with torch.autocast(h.device.type, enabled=False):  # the state stays as exact as it is
            return F.linear(hidden, weight, bias)
    y = torch.cat([hidden] * fed, dim=-1) * weight
    return y if bias is None else y + bias


def feed_backward(grad: Tensor, weight: Tensor, cell: str) -> Tensor:
    """The gradient of the state (B, W) from that of what it fed back, (B, K)."""
    _, fed, parts = SIZES[cell]
    hidden = grad @ weight if weight.dim() == 2 else (grad * weight).unflatten(-1, (fed, -1)).sum(-2)
    return F.pad(hidden, (0, (parts - 1) * hidden.shape[1]))


def brc(value: Tensor, fed: Tensor, h: Tensor) -> Tensor:
    """Bistable recurrent cell."""
    _, z, c = _brc_gates(value, fed, h)
    return z * h + (1 - z) * c


def brc_backward(grad: Tensor, value: Tensor, fed: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `brc`."""
    r, z, c = _brc_gates(value, fed, h)
    grad_c = grad * (1 - z) * (1 - c * c)
    grad_z = grad * (h - c) * z * (1 - z)
    grad_r = grad_c * h * (1 - (r - 1) ** 2)
    return torch.cat([grad_r, grad_z, grad_c], -1), torch.cat([grad_r, grad_z], -1), grad * z + grad_c * r


def gru(value: Tensor, fed: Tensor, h: Tensor) -> Tensor:
    """Gated recurrent unit."""
    _, z, n, _ = _gru_gates(value, fed)
    return n + z * (h - n)


def gru_backward(grad: Tensor, value: Tensor, fed: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `gru`."""
    r, z, n, fed_n = _gru_gates(value, fed)
    grad_n = grad * (1 - z) * (1 - n * n)
    grad_z = grad * (h - n) * z * (1 - z)
    grad_r = grad_n * fed_n * r * (1 - r)
    grad_fed = torch.cat([grad_r, grad_z, grad_n * r], -1)
    return torch.cat([grad_r, grad_z, grad_n], -1), grad_fed, grad * z


def lstm(value: Tensor, fed: Tensor, h: Tensor) -> Tensor:
    """Long short-term memory; the state is the hidden part, then the cell's."""
    i, f, g, o = _lstm_gates(value, fed)
    cell = f * h.chunk(2, dim=-1)[1] + i * g
    return torch.cat([o * torch.tanh(cell), cell], dim=-1)


def lstm_backward(grad: Tensor, value: Tensor, fed: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `lstm`."""
    i, f, g, o = _lstm_gates(value, fed)
    before = h.chunk(2, dim=-1)[1]
    squashed = torch.tanh(f * before + i * g)
    grad_hidden, grad_cell = grad.chunk(2, dim=-1)
    grad_cell = grad_cell + grad_hidden * o * (1 - squashed * squashed)
    grad_gates = torch.cat(
        [
            grad_cell * g * i * (1 - i),
            grad_cell * before * f * (1 - f),
            grad_cell * i * (1 - g * g),
            grad_hidden * squashed * o * (1 - o),
        ],
        dim=-1,
    )
    return grad_gates, grad_gates, torch.cat([torch.zeros_like(grad_hidden), grad_cell * f], dim=-1)


CELLS: dict[str, tuple[Callable[..., Tensor], Callable[..., tuple[Tensor, Tensor, Tensor]]]] = {
    "brc": (brc, brc_backward),
    "gru": (gru, gru_backward),
    "lstm": (lstm, lstm_backward),
}
"""Name to a step forwards and backwards."""


def _brc_gates(value: Tensor, fed: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gain, update, candidate = value.chunk(3, dim=-1)
    fed_gain, fed_update = fed.chunk(2, dim=-1)
    r = 1 + torch.tanh(gain + fed_gain)
    return r, torch.sigmoid(update + fed_update), torch.tanh(candidate + r * h)


def _gru_gates(value: Tensor, fed: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    reset, update, new = value.chunk(3, dim=-1)
    fed_reset, fed_update, fed_new = fed.chunk(3, dim=-1)
    r = torch.sigmoid(reset + fed_reset)
    return r, torch.sigmoid(update + fed_update), torch.tanh(new + r * fed_new), fed_new


def _lstm_gates(value: Tensor, fed: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    write, forget, candidate, out = (value + fed).chunk(4, dim=-1)
    return torch.sigmoid(write), torch.sigmoid(forget), torch.tanh(candidate), torch.sigmoid(out)
