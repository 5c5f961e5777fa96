"""Imprecise parameters: each times a factor drawn around 1, as analog devices hold them."""

import copy
from typing import TypeVar

import torch
from torch import nn

from remanent._options import check_range

Model = TypeVar("Model", bound=nn.Module)


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
