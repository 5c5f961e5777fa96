"""Scans by others on a GPU: linear ones from decay and value, and matrices; each raises where it cannot."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Forward = Callable[[], Tensor]


def _associative(decay: Tensor, value: Tensor) -> Forward:
    from torch._higher_order_ops import associative_scan

    def combine(first: Any, second: Any) -> Any:
        return first[0] * second[0], second[0] * first[1] + second[1]

    @torch.compile(fullgraph=True, dynamic=False)  # type: ignore[untyped-decorator, unused-ignore]
    def scan(a: Tensor, v: Tensor) -> Tensor:
        return associative_scan(combine, (a, v), dim=1, combine_mode="pointwise")[1]

    return lambda: scan(decay, value)


def _loop(decay: Tensor, value: Tensor) -> Forward:
    """A compiled step, called for each step of time: a loop that is unrolled whole takes minutes to compile."""

    @torch.compile(fullgraph=True, dynamic=False)  # type: ignore[untyped-decorator, unused-ignore]
    def step(a: Tensor, v: Tensor, h: Tensor) -> Tensor:
        return a * h + v

    def scan() -> Tensor:
        h, states = torch.zeros_like(value[:, 0]), []
        for a, v in zip(decay.unbind(1), value.unbind(1), strict=True):
            h = step(a, v, h)
            states.append(h)
        return torch.stack(states, dim=1)

    return scan


def _accelerated(decay: Tensor, value: Tensor) -> Forward:
    from accelerated_scan.scalar import scan  # type: ignore[import-not-found, unused-ignore]

    return lambda: scan(decay.mT.contiguous(), value.mT.contiguous()).mT


def _hgrn(decay: Tensor, value: Tensor) -> Forward:
    """Takes the logarithm of the decay."""
    from fla.ops.hgrn import chunk_hgrn  # type: ignore[import-not-found, unused-ignore]

    return lambda: chunk_hgrn(value, decay.log())[0]


PEERS: dict[str, Callable[[Tensor, Tensor], Forward]] = {
    "torch associative_scan, compiled": _associative,
    "compiled step in a loop": _loop,
    "accelerated-scan": _accelerated,
    "flash-linear-attention HGRN": _hgrn,
}
"""Name to what makes the forward pass."""
MATRICES = "torch associative_scan of matrices"


def matrix_scan(logits: Tensor, H: int, K: int) -> Forward:
    """The states of heads with epsilon 0 and K tracers from the start: a product of one-hot matrices up to each step.

    On the CPU it is not compiled.
    """
    from torch._higher_order_ops import associative_scan

    from remanent.ops.arguments import HeadSizes
    from remanent.ops.heads.one_hot import start_state

    start = start_state(logits, H, HeadSizes(K, K)).view(H, K, K)

    def scan(logits: Tensor) -> Tensor:
        best = logits.unflatten(-1, (H, K, K)).argmax(-1)
        maps = torch.nn.functional.one_hot(best, K).to(logits.dtype)
        products = associative_scan(torch.matmul, maps, dim=1, combine_mode="generic")
        return (start @ products).flatten(2)

    run = torch.compile(scan, fullgraph=True, dynamic=False) if logits.is_cuda else scan
    return lambda: run(logits)
