"""The forward and backward passes that are timed, of this library and of torch, and random inputs for them."""

import os
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from remanent.ops import latch_scan, linear_scan

Run = Callable[[], tuple[Tensor, ...]]
"""A function that is timed; it returns an output and gradients."""


def both_passes(forward: Callable[[], Tensor], leaves: Sequence[Tensor], grad: Tensor) -> Run:
    """A function that runs the forward and the backward pass, and returns the output and the gradients of `leaves`."""

    def run() -> tuple[Tensor, ...]:
        y = forward()
        return (y.detach(), *torch.autograd.grad(y, leaves, grad))

    return run


def leaves_of(*tensors: Tensor) -> list[Tensor]:
    """Tensors of the same memory that require a gradient."""
    return [tensor.detach().requires_grad_() for tensor in tensors]


def latch_both(candidate: Tensor, threshold: Tensor, grad: Tensor) -> Run:
    """A run of both passes of the latch scan, with an alpha (D,)."""
    leaves = leaves_of(candidate, threshold, torch.ones(candidate.shape[-1]))
    return both_passes(lambda: latch_scan(*leaves), leaves, grad)


def linear_both(decay: Tensor, value: Tensor, grad: Tensor) -> Run:
    """A run of both passes of the linear scan, with a decay (B, T, D) or (D,)."""
    leaves = leaves_of(decay, value)
    return both_passes(lambda: linear_scan(*leaves), leaves, grad)


def layer_both(layer: nn.Module, x: Tensor, grad: Tensor, *, first: bool = False) -> Run:
    """A run of both passes of a layer: gradients of its parameters, and of its input unless it is the `first` layer."""
    (leaf,) = (x,) if first else leaves_of(x)

    def forward() -> Tensor:
        y = layer(leaf)
        return y if isinstance(y, Tensor) else y[0]

    return both_passes(forward, [*([] if first else [leaf]), *layer.parameters()], grad)


def positive_inputs(B: int, T: int, D: int) -> tuple[Tensor, Tensor, Tensor]:
    """A decay in [0.9, 1), a value above 0 (some peers take logarithms), and the gradient of the states.

    Products of smaller decays soon leave the range of float32, and peers that compute such products would lose digits
    or time.
    """
    draw = torch.Generator().manual_seed(0)
    decay = 0.9 + 0.0999 * torch.rand(B, T, D, generator=draw)
    value = torch.rand(B, T, D, generator=draw).clamp_(min=1e-3)
    return decay, value, torch.randn(B, T, D, generator=draw)


def normal_inputs(count: int, B: int, T: int, D: int) -> list[Tensor]:
    """As many tensors (B, T, D) of normal numbers as `count` says."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(B, T, D, generator=draw) for _ in range(count)]


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
