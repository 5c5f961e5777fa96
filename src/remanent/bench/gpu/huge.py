"""Whether the scans are right where the offsets of elements need more than 31 bits."""

from typing import Any

import torch
from torch import Tensor

from remanent.bench.gpu.cases import Settings
from remanent.bench.gpu.problems import LIMITS, distance
from remanent.ops import latch_scan, linear_scan


def more_than_31_bits(settings: Settings) -> dict[str, Any]:
    """Checks the scans on more than 2^31 elements, one after the other: the memory would not hold both."""
    _latch(settings)
    if settings.device == "cuda":
        torch.cuda.empty_cache()
    return _linear(settings)


def _latch(settings: Settings) -> dict[str, Any]:
    """Sequences whose elements need offsets of more than 31 bits: the last steps equal those run alone."""
    for B, T, D in ((2, 130, 8),) if settings.tiny else ((1, 2**25 + 999, 64), (2**15 + 3, 1024, 64)):
        draw = torch.Generator(settings.device).manual_seed(0)
        gates = [_normal(draw, (B, T, D)) for _ in range(2)]
        leaves = [gate.requires_grad_() for gate in gates]
        alpha = torch.ones(D, dtype=torch.bfloat16, device=settings.device)
        states = latch_scan(leaves[0], leaves[1], alpha, backend="gpu")
        grads = torch.autograd.grad(states, leaves, states.detach())
        with torch.no_grad():
            last = T // 2
            part = [leaf.detach()[-1:, -last:][:, -5000:].requires_grad_() for leaf in leaves]
        steps = part[0].shape[1]
        h0 = states.detach()[-1:, -steps - 1]
        with torch.enable_grad():
            alone = latch_scan(part[0], part[1], alpha, h0, backend="portable")
        assert torch.equal(states.detach()[-1:, -steps:], alone.detach()), f"the last states differ at {(B, T, D)}"
        wanted = torch.autograd.grad(alone, part, alone.detach())
        for one, other in zip(grads, wanted, strict=True):
            apart = distance(one[-1:, -steps:], other)
            assert apart <= LIMITS[torch.bfloat16], f"gradients are off by {apart} at {(B, T, D)}"
        assert not any(grad.isnan().any() for grad in grads)
        del states, grads, gates, leaves, alone, wanted
    return {}


def _linear(settings: Settings) -> dict[str, Any]:
    for B, T, D in ((2, 130, 8),) if settings.tiny else ((1, 2**25 + 999, 64), (2**15 + 3, 1024, 64)):
        draw = torch.Generator(settings.device).manual_seed(0)
        leaves = [_normal(draw, (B, T, D)).sigmoid_().requires_grad_(), _normal(draw, (B, T, D)).requires_grad_()]
        states = linear_scan(leaves[0], leaves[1], backend="gpu")
        grads = torch.autograd.grad(states, leaves, states.detach())
        steps = min(5000, T // 2)
        part = [leaf.detach()[-1:, -steps:].requires_grad_() for leaf in leaves]
        alone = linear_scan(part[0], part[1], states.detach()[-1:, -steps - 1], backend="portable")
        wanted = torch.autograd.grad(alone, part, states.detach()[-1:, -steps:])
        pairs = [(states[-1:, -steps:], alone), *((g[-1:, -steps:], w) for g, w in zip(grads, wanted, strict=True))]
        for one, other in pairs:
            apart = distance(one, other)
            assert apart <= LIMITS[torch.bfloat16], f"off by {apart} at {(B, T, D)}"
        del states, grads, leaves, alone, wanted, pairs
    return {}


def _normal(draw: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=draw, device=draw.device, dtype=torch.bfloat16)
