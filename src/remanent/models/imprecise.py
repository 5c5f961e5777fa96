"""Copies of a model as imprecise hardware holds it: rows of few bits, or every parameter times a factor around 1."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from remanent._options import check_at_least, check_range

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


def perturbed(model: Model, noise: float, generator: torch.Generator) -> Model:
    r"""A copy of a model with every parameter $p$ at $p (1 + \mathcal{N}(0, r / 3))$: 99.7 % of them within $\pm r$.

    Parameters are disturbed as the model stores them: of an LRU the logarithms `nu_log`, `theta_log` and
    `gamma_log`, not the eigenvalues that they give. What is 0 stays 0.

    Args:
        model: any module of real parameters; it is not changed.
        noise: r, at least 0: three standard deviations of the relative error.
        generator: on the CPU; a number for every element is drawn from it, parameter by parameter in the model's
            order, so that one state of it gives one set of errors, larger or smaller by r.

    Returns:
        The copy.

    Raises:
        ValueError: `noise` is negative or not finite.
        TypeError: `noise` is no number.

    >>> layer = nn.Linear(100, 100)
    >>> errors = perturbed(layer, 0.15, torch.Generator().manual_seed(0)).weight / layer.weight - 1
    >>> round(errors.std().item(), 2)
    0.05
    """
    check_range("noise", noise, 0, float("inf"))
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            errors = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.mul_(1 + noise / 3 * errors.to(parameter.device))
    return model
