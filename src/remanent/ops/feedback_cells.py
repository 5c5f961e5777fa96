"""The cells whose gates see the state: one step of each, and its gradients written by hand.

A step takes what the input adds to the gates, what the state feeds back to them, and the state. Its backward
twin takes the gradient of the new state as well, and returns the gradients of those three.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class StepGradients(NamedTuple):
    """The gradients of one step.

    Attributes:
        value: of what the input adds to the gates.
        fed: of what the state feeds back to them.
        h: of the state before the step, beside what comes through `fed`.
    """

    value: Tensor
    fed: Tensor
    h: Tensor


class FeedbackCell(NamedTuple):
    """A cell whose gates see the state.

    Attributes:
        value: the width of what the input adds to the gates, in multiples of D.
        fed: the width of what the state feeds back to them, in multiples of D.
        state: the width of the state, in multiples of D, of which the first D are fed back.
        step: from (value, fed, h) to the state after a step.
        backward: from (gradient, value, fed, h) to the gradients of a step.
    """

    value: int
    fed: int
    state: int
    step: Callable[[Tensor, Tensor, Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor, Tensor], StepGradients]


def feed(h: Tensor, weight: Tensor, bias: Tensor | None, cell: str) -> Tensor:
    """What the state (..., W) feeds back to the gates, (..., K), by a matrix or by diagonals."""
    sizes = CELLS[cell]
    hidden = h if sizes.state == 1 else h.chunk(sizes.state, dim=-1)[0]
    if weight.dim() == 2:
        with torch.autocast(h.device.type, enabled=False):  # the state stays as exact as it is
            return F.linear(hidden, weight, bias)
    y = torch.cat([hidden] * sizes.fed, dim=-1) * weight
    return y if bias is None else y + bias


def feed_backward(grad: Tensor, weight: Tensor, cell: str) -> Tensor:
    """The gradient of the state (B, W) from that of what it fed back, (B, K)."""
    sizes = CELLS[cell]
    hidden = grad @ weight if weight.dim() == 2 else (grad * weight).unflatten(-1, (sizes.fed, -1)).sum(-2)
    return F.pad(hidden, (0, (sizes.state - 1) * hidden.shape[1]))


def brc(value: Tensor, fed: Tensor, h: Tensor) -> Tensor:
    """A step of the bistable recurrent cell."""
    _, z, c = _brc_gates(value, fed, h)
    return z * h + (1 - z) * c


def brc_backward(grad: Tensor, value: Tensor, fed: Tensor, h: Tensor) -> StepGradients:
    """The gradients of `brc`."""
    r, z, c = _brc_gates(value, fed, h)
    grad_c = grad * (1 - z) * (1 - c * c)
    grad_z = grad * (h - c) * z * (1 - z)
    grad_r = grad_c * h * (1 - (r - 1) ** 2)
    grad_value, grad_fed = torch.cat([grad_r, grad_z, grad_c], -1), torch.cat([grad_r, grad_z], -1)
    return StepGradients(grad_value, grad_fed, grad * z + grad_c * r)


def gru(value: Tensor, fed: Tensor, h: Tensor) -> Tensor:
    """A step of the gated recurrent unit."""
    _, z, n, _ = _gru_gates(value, fed)
    return n + z * (h - n)


def gru_backward(grad: Tensor, value: Tensor, fed: Tensor, h: Tensor) -> StepGradients:
    """The gradients of `gru`."""
    r, z, n, fed_n = _gru_gates(value, fed)
    grad_n = grad * (1 - z) * (1 - n * n)
    grad_z = grad * (h - n) * z * (1 - z)
    grad_r = grad_n * fed_n * r * (1 - r)
    grad_fed = torch.cat([grad_r, grad_z, grad_n * r], -1)
    return StepGradients(torch.cat([grad_r, grad_z, grad_n], -1), grad_fed, grad * z)


def lstm(value: Tensor, fed: Tensor, h: Tensor) -> Tensor:
    """A step of long short-term memory; its state is the hidden part, then the part of the cell."""
    i, f, g, o = _lstm_gates(value, fed)
    cell = f * h.chunk(2, dim=-1)[1] + i * g
    return torch.cat([o * torch.tanh(cell), cell], dim=-1)


def lstm_backward(grad: Tensor, value: Tensor, fed: Tensor, h: Tensor) -> StepGradients:
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
    grad_h = torch.cat([torch.zeros_like(grad_hidden), grad_cell * f], dim=-1)
    return StepGradients(grad_gates, grad_gates, grad_h)


CELLS = {
    "brc": FeedbackCell(3, 2, 1, brc, brc_backward),
    "gru": FeedbackCell(3, 3, 1, gru, gru_backward),
    "lstm": FeedbackCell(4, 4, 2, lstm, lstm_backward),
}
"""Name to cell."""


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
