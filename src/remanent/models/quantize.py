"""Weights of few bits: each row of a matrix as whole numbers times a scale of its own."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from remanent._options import check_at_least

Model = TypeVar("Model", bound=nn.Module)
MOST_BITS = 8
"""The most bits that a whole number of int8 holds."""


def quantize_rows(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    r"""Each row in whole numbers, $w_{ij} \approx s_i q_{ij}$ with $|q_{ij}| \le 2^{b-1} - 1$.

    Args:
        weight: a matrix, (N, M).
        bits: b, from 2 to 8.

    Returns:
        The whole numbers, int8 (N, M), and the scales (N,), 0 for a row of zeros.

    Raises:
        ValueError: `bits` is out of its range, or `weight` is no matrix.

    >>> quantize_rows(torch.tensor([[-1.0, 0.26, 0.0]]), 4)
    (tensor([[-7,  2,  0]], dtype=torch.int8), tensor([0.1429]))
    """
    check_bits(bits)
    if weight.dim() != 2:
        raise ValueError(f"`weight` must have shape (N, M), got {tuple(weight.shape)}")
    levels = 2 ** (bits - 1) - 1
    scale = weight.abs().amax(1) / levels
    whole = torch.where(scale[:, None] > 0, weight / scale[:, None], 0).round().clamp(-levels, levels)
    return whole.to(torch.int8), scale


def quantized(model: Model, bits: int) -> Model:
    """A copy of a model whose matrices hold what so many bits can; vectors (biases, norms, thresholds) are as before.

    >>> weight = quantized(nn.Linear(9, 1), 2).weight
    >>> len(weight.abs().unique()) <= 2
    True
    """
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                whole, scale = quantize_rows(parameter, bits)
                parameter.copy_(scale[:, None] * whole)
    return model


def check_bits(bits: int) -> None:
    """Raises unless a whole number of so many bits fits int8 and has a sign."""
    check_at_least("bits", bits, 2)
    if bits > MOST_BITS:
        raise ValueError(f"`bits` must be at most {MOST_BITS}, got {bits}")
