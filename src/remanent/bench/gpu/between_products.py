"""Whether what lies between two products is right on a GPU, and how fast: norms of sums, and short convolutions."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from remanent.bench.gpu.cases import Case, Settings
from remanent.bench.gpu.event_times import bandwidth, clock
from remanent.bench.gpu.problems import LIMITS, distance, wide
from remanent.bench.passes import leaves_of
from remanent.ops.elementwise import add_rms_norm, weighted_sum, weighted_taps

SIZES = ((1, 1), (63, 5), (64, 256), (1000, 130), (65, 4096))
"""Steps and channels."""
TAPS = 4
EPS = 1e-3
ARRAYS = {"norm of a sum": (4, 4), "convolution": (2, 3)}
"""Arrays (B, T, D) that a forward pass moves at least, and those that a backward pass does beside."""


def right_cases(settings: Settings) -> list[Case]:
    """All checks, which come first: these kernels were added last."""
    checks = {"norm of a sum": _norm_right, "convolution": _taps_right}
    dtypes = (torch.float32,) if settings.tiny else (torch.float32, torch.float64)
    return [
        Case(f"{name} equals the reference: {str(dtype)[6:]}", partial(checks[name], settings, dtype))
        for name, dtype in product(checks, dtypes)
    ]


def fast_cases(settings: Settings) -> list[Case]:
    """Both operators in both directions, beside the same by operations of torch."""
    return [Case(f"{name}, both passes", partial(_fast, settings, name)) for name in ARRAYS]


def _norm_right(settings: Settings, dtype: torch.dtype) -> dict[str, Any]:
    """Values and gradients near those in float64; the bits of a row alone are those that it has among many."""
    worst: dict[str, float] = {}
    for T, D in ((9, 4),) if settings.tiny else SIZES:
        x, added, weight = _drawn(settings, dtype, (3, T, D), (3, T, D), (D,))
        found = add_rms_norm(x, added, weight, EPS)
        there = leaves_of(*map(wide, (x, added, weight)))
        total = there[0] + there[1]
        normed = there[2] * total * (total.square().mean(-1, keepdim=True) + EPS).rsqrt()
        _compare(worst, found, (total, normed), (x, added, weight), there)
        alone = add_rms_norm(x[1:2, -1:], added[1:2, -1:], weight, EPS)
        assert torch.equal(alone.normed, found.normed[1:2, -1:]), f"a row has other bits alone at {(T, D)}"
    return _within(worst, dtype)


def _taps_right(settings: Settings, dtype: torch.dtype) -> dict[str, Any]:
    """The bits of the definition, and gradients near those in float64."""
    worst: dict[str, float] = {}
    for T, D in ((9, 4),) if settings.tiny else SIZES:
        behind, weight = _drawn(settings, dtype, (3, T + TAPS, D), (D, TAPS))
        found = weighted_taps(behind[:, 1:], weight)
        assert torch.equal(found, _by_torch(behind[:, 1:], weight)), f"other bits than torch's at {(T, D)}"
        there = leaves_of(*map(wide, (behind, weight)))
        _compare(worst, (found,), (_by_torch(there[0][:, 1:], there[1]),), (behind, weight), there)
    return _within(worst, dtype)


def _drawn(settings: Settings, dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[Tensor]:
    draw = torch.Generator().manual_seed(sum(shapes[0]))
    return leaves_of(*(torch.randn(shape, generator=draw, dtype=dtype).to(settings.device) for shape in shapes))


def _by_torch(inputs: Tensor, weight: Tensor) -> Tensor:
    K = weight.shape[1]
    return weighted_sum([inputs[:, k : inputs.shape[1] - K + 1 + k] for k in range(K)], weight)


def _compare(
    worst: dict[str, float],
    found: Sequence[Tensor],
    wanted: Sequence[Tensor],
    here: Sequence[Tensor],
    there: Sequence[Tensor],
) -> None:
    """Keeps the largest distances of values and of all gradients, from gradients of all outputs that differ."""
    draw = torch.Generator().manual_seed(0)
    grads = [torch.randn(y.shape, generator=draw, dtype=torch.float64) for y in wanted]
    given = [grad.to(y.device, y.dtype) for grad, y in zip(grads, found, strict=True)]
    pairs = {
        "values": zip(found, wanted, strict=True),
        "gradients": zip(
            torch.autograd.grad(found, here, given), torch.autograd.grad(wanted, there, grads), strict=True
        ),
    }
    for name, values in pairs.items():
        worst[name] = max(worst.get(name, 0.0), *(distance(one, other) for one, other in values))


def _within(worst: dict[str, float], dtype: torch.dtype) -> dict[str, Any]:
    assert all(value <= LIMITS[dtype] for value in worst.values()), f"over {LIMITS[dtype]}: {worst}"
    return {"largest": worst}


class Operator(NamedTuple):
    """What is timed: its outputs as we compute them and by operations of torch, and what they depend on."""

    ours: Callable[[], tuple[Tensor, ...]]
    by_torch: Callable[[], tuple[Tensor, ...]]
    leaves: list[Tensor]


def _fast(settings: Settings, name: str) -> dict[str, Any]:
    """The time of both passes, the share of the copy's bandwidth, and the time by operations of torch."""
    shape = (2, 9, 4) if settings.tiny else (64, 1024, 256)
    operator = _OPERATORS[name](settings, shape)
    times = clock(_both(operator.ours, operator.leaves), settings.device)
    moved = sum(ARRAYS[name]) * 4 * math.prod(shape)
    share = 1e3 * moved / bandwidth(settings.device, settings.tiny) / times["ms"]
    beside = clock(_both(operator.by_torch, operator.leaves), settings.device)
    return {"shape": list(shape), **times, "bytes": moved, "share": share, "by torch": beside}


def _both(forward: Callable[[], tuple[Tensor, ...]], leaves: list[Tensor]) -> Callable[[], tuple[Tensor, ...]]:
    given = [torch.randn_like(y) for y in forward()]
    return lambda: torch.autograd.grad(forward(), leaves, given)


def _norms(settings: Settings, shape: tuple[int, int, int]) -> Operator:
    x, added, weight = leaves = _drawn(settings, torch.float32, shape, shape, shape[-1:])

    def by_torch() -> tuple[Tensor, ...]:
        total = x + added
        return total, F.rms_norm(total, weight.shape, weight, EPS)

    return Operator(lambda: add_rms_norm(x, added, weight, EPS), by_torch, leaves)


def _convolutions(settings: Settings, shape: tuple[int, int, int]) -> Operator:
    B, T, D = shape
    inputs, weight = leaves = _drawn(settings, torch.float32, (B, T + TAPS - 1, D), (D, TAPS))
    return Operator(lambda: (weighted_taps(inputs, weight),), lambda: (_by_torch(inputs, weight),), leaves)


_OPERATORS: dict[str, Callable[[Settings, tuple[int, int, int]], Operator]] = {
    "norm of a sum": _norms,
    "convolution": _convolutions,
}
