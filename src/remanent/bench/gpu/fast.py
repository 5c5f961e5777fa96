"""How fast scans, layers and steps are on a GPU: beside a copy of their bytes, and beside others."""

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from remanent.bench.gpu.cases import Case, Settings
from remanent.bench.gpu.event_times import bandwidth, clock
from remanent.bench.gpu.other_scans import MATRICES, PEERS, matrix_scan
from remanent.bench.passes import both_passes, leaves_of
from remanent.models import ModelConfig, SequenceModel
from remanent.ops import latch_scan, linear_scan, lookup_scan, transition_scan
from remanent.units import BMRU

SHAPES = ((64, 1024, 256), (16, 4096, 256), (4, 65536, 64), (1, 1048576, 64))
TINY_SHAPES = ((2, 70, 8),)
TINY_HEADS = ((1, 3, 4),)
ARRAYS = {"latch": (3, 5), "linear": (3, 5), "linear, constant decay": (2, 3)}
"""Arrays (B, T, D) that a forward pass moves at least, and those that a backward pass does beside."""
CONTEXTS = (16, 256, 4096, 65536)
CHUNK = 4096
STREAMED = ("bmru", "attention")


def cases(settings: Settings) -> list[Case]:
    """All measurements; the bandwidth of a copy comes first."""
    shapes = TINY_SHAPES if settings.tiny else SHAPES
    found = [Case("copy", partial(_copy, settings))]
    for shape, scan, both in product(shapes, ARRAYS, (False, True)):
        for dtype in (torch.float32, torch.bfloat16):
            if dtype == torch.bfloat16 and shape not in (shapes[0], shapes[-1]):
                continue
            name = f"{scan} {'both' if both else 'forward'} {shape} {str(dtype)[6:]}"
            found.append(Case(name, partial(_scan, settings, scan, shape, both, dtype)))
    found += _head_cases(settings)
    found += [Case(f"layer {name}", partial(_layer, settings, name)) for name in LAYERS]
    found += [Case(f"memory {name}", partial(_memory, settings, name)) for name in MEMORY]
    contexts = (16, 64) if settings.tiny else CONTEXTS
    found += [
        Case(f"a step after {n}: {unit}", partial(_step, settings, unit, n)) for unit in STREAMED for n in contexts
    ]
    for name, both in product(PEERS, (False, True)):
        for shape in shapes[:1] if "loop" in name else (shapes[0], shapes[-1])[: len(shapes)]:
            case = partial(_peer, settings, name, shape, both)
            found.append(Case(f"{name} {'both' if both else 'forward'} {shape}", case, limit=100))
    return found


def _copy(settings: Settings) -> dict[str, Any]:
    return {"bytes a second": bandwidth(settings.device, settings.tiny)}


def _scan(settings: Settings, scan: str, shape: tuple[int, int, int], both: bool, dtype: torch.dtype) -> dict[str, Any]:
    """A scan's time, and the share of the copy's bandwidth at which the bytes it must move were moved."""
    forward, leaves, grad = scan_inputs(scan, shape, dtype, settings.device)
    run: Callable[[], Any] = both_passes(forward, leaves, grad) if both else _no_grad(forward)
    times = clock(run, settings.device)
    moved = sum(ARRAYS[scan][: 2 if both else 1]) * grad.nbytes
    return {"shape": list(shape), "dtype": str(dtype)[6:], **times, **_shares(settings, moved, times)}


def scan_inputs(
    scan: str, shape: tuple[int, int, int], dtype: torch.dtype, device: str
) -> tuple[Callable[[], Tensor], list[Tensor], Tensor]:
    """A scan's forward pass, what it is differentiated by, and a gradient of its states."""
    draw = torch.Generator(device).manual_seed(0)
    first, second, grad = (torch.randn(shape, generator=draw, device=device, dtype=dtype) for _ in range(3))
    D = shape[-1]
    if scan == "latch":
        leaves = leaves_of(first, second, torch.ones(D, device=device, dtype=dtype))
        return lambda: latch_scan(*leaves, backend="gpu"), leaves, grad
    decay = torch.rand(D, generator=draw, device=device).to(dtype) if "constant" in scan else second.sigmoid()
    leaves = leaves_of(decay, first)
    return lambda: linear_scan(*leaves, backend="gpu"), leaves, grad


def _shares(settings: Settings, moved: int, times: dict[str, Any]) -> dict[str, Any]:
    floor = 1e3 * moved / bandwidth(settings.device, settings.tiny)
    found = {"bytes": moved, "share": floor / times["ms"]}
    if "graph_ms" in times:
        found["graph_share"] = floor / times["graph_ms"]
    return found


def _head_cases(settings: Settings) -> list[Case]:
    """Heads of K states and tracers, on logits as wide as the states; tables of tokens; another scan of matrices."""
    found = []
    shapes = TINY_HEADS if settings.tiny else (SHAPES[0], SHAPES[-1])
    for K, shape, both in product((2,) if settings.tiny else (4, 5), shapes, (False, True)):
        for dtype in (torch.float32, torch.bfloat16)[: 2 if K == 4 and shape == SHAPES[0] else 1]:
            name = f"heads of {K} states {'both' if both else 'forward'} {shape} {str(dtype)[6:]}"
            found.append(Case(name, partial(_heads, settings, K, shape, both, dtype)))
    found += [Case(f"lookup scan {shape}", partial(_lookup, settings, shape)) for shape in shapes]
    return [*found, Case(f"heads by {MATRICES} {shapes[0]}", partial(_matrices, settings, shapes[0]), limit=100)]


def _logits(settings: Settings, K: int, shape: tuple[int, int, int], dtype: torch.dtype) -> tuple[Tensor, int]:
    """Random logits and the number of heads, as many as fit into the width."""
    B, T, D = shape
    H = max(1, D // K**2)
    draw = torch.Generator(settings.device).manual_seed(0)
    return torch.randn(B, T, H * K * K, generator=draw, device=settings.device, dtype=dtype), H


def _heads(settings: Settings, K: int, shape: tuple[int, int, int], both: bool, dtype: torch.dtype) -> dict[str, Any]:
    """The time where epsilon is 0; what must move: logits, states, and backward both, a gradient in and one out."""
    logits, H = _logits(settings, K, shape, dtype)
    leaves = leaves_of(logits)

    def forward() -> Tensor:
        return transition_scan(*leaves, num_states=K, num_tracers=K, backend="gpu")

    run: Callable[[], Any] = both_passes(forward, leaves, torch.ones_like(logits)) if both else _no_grad(forward)
    times, moved = clock(run, settings.device), (6 if both else 2) * logits.nbytes
    return {"shape": list(shape), "heads": H, "dtype": str(dtype)[6:], **times, **_shares(settings, moved, times)}


def _lookup(settings: Settings, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Tables of 64 tokens and heads of 4 states; the check of the tokens makes the host wait."""
    B, T, D = shape
    K, H = 4, max(1, D // 16)
    draw = torch.Generator(settings.device).manual_seed(0)
    tables = torch.randint(K, (64, H, K), generator=draw, device=settings.device).to(torch.uint8)
    tokens = torch.randint(64, (B, T), generator=draw, device=settings.device)
    times = clock(lambda: lookup_scan(tables, tokens), settings.device, graph=False)
    return {"shape": list(shape), "heads": H, **times, **_shares(settings, tokens.nbytes + B * T * H * K, times)}


def _matrices(settings: Settings, shape: tuple[int, int, int]) -> dict[str, Any]:
    """The same states by torch's scan of the matrices of all steps."""
    K = 2 if settings.tiny else 4
    logits, H = _logits(settings, K, shape, torch.float32)
    forward, wanted = matrix_scan(logits, H, K), transition_scan(logits, num_states=K, num_tracers=K, backend="gpu")
    assert torch.equal(forward(), wanted), "its states differ"
    times = clock(forward, settings.device)
    return {"shape": list(shape), "heads": H, **times, **_shares(settings, 2 * logits.nbytes, times)}


def _no_grad(forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.no_grad():
            return forward()

    return run


def _peer(settings: Settings, name: str, shape: tuple[int, int, int], both: bool) -> dict[str, Any]:
    """Another's scan of the same gates, once its states were found near ours."""
    if settings.tiny:
        return {"skipped": "takes a GPU"}
    forward, leaves, grad = scan_inputs("linear", shape, torch.float32, settings.device)
    theirs = PEERS[name](*leaves)
    with torch.no_grad():
        wanted, found = forward(), theirs()
    apart = float((found - wanted).abs().max() / wanted.abs().max())
    assert apart <= 1e-3, f"its states are off by {apart}"
    run: Callable[[], Any] = both_passes(theirs, leaves, grad) if both else _no_grad(theirs)
    times = clock(run, settings.device)
    return {
        "shape": list(shape),
        **times,
        **_shares(settings, sum(ARRAYS["linear"][: 2 if both else 1]) * grad.nbytes, times),
    }


def _layer(settings: Settings, name: str) -> dict[str, Any]:
    """A layer's passes, as a later one of a model, in float32 and under autocast."""
    B, T, D = (2, 40, 8) if settings.tiny else (64, 1024, 256)
    found: dict[str, Any] = {"shape": [B, T, D]}
    for kind in ("float32", "bfloat16"):
        torch.manual_seed(0)
        layer = LAYERS[name](D).to(settings.device)
        (x,) = leaves_of(torch.randn(B, T, D, device=settings.device))

        def forward(layer: nn.Module = layer, x: Tensor = x, half: bool = kind == "bfloat16") -> Tensor:
            with torch.autocast(settings.device, torch.bfloat16, enabled=half):
                y = layer(x)
                return y if isinstance(y, Tensor) else y[0]

        with torch.no_grad():
            grad = torch.randn_like(forward())
        found[f"{kind} forward"] = clock(_no_grad(forward), settings.device)
        found[f"{kind} both"] = clock(both_passes(forward, [x, *layer.parameters()], grad), settings.device)
    return found


LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "BMRU": lambda D: BMRU(D, D, batch_first=True),
    "its matrix product, nn.Linear(M, 2 D)": lambda D: nn.Linear(D, 2 * D),
    "nn.GRU": lambda D: nn.GRU(D, D, batch_first=True),
    "nn.LSTM": lambda D: nn.LSTM(D, D, batch_first=True),
}
"""Name to layer, of a width."""


def _memory(settings: Settings, name: str) -> dict[str, Any]:
    """What the memory grows by, above inputs and weights, in both passes; in arrays (B, T, D) of float32."""
    B, T, D = (2, 40, 8) if settings.tiny else (16, 4096, 256)
    if settings.device != "cuda":
        return {"skipped": "takes a GPU"}
    forward, leaves = MEMORY[name](B, T, D, settings.device)
    grad = torch.randn(B, T, D, device=settings.device)
    run = both_passes(forward, leaves, grad)
    run()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    grown = torch.cuda.max_memory_allocated() - before
    return {"shape": [B, T, D], "bytes": grown, "arrays": grown / (4 * math.prod((B, T, D)))}


def _of_scan(scan: str) -> Callable[..., tuple[Callable[[], Tensor], list[Tensor]]]:
    return lambda B, T, D, device: scan_inputs(scan, (B, T, D), torch.float32, device)[:2]


def _of_layer(name: str) -> Callable[..., tuple[Callable[[], Tensor], list[Tensor]]]:
    def make(B: int, T: int, D: int, device: str) -> tuple[Callable[[], Tensor], list[Tensor]]:
        layer = LAYERS[name](D).to(device)
        (x,) = leaves_of(torch.randn(B, T, D, device=device))

        def forward() -> Tensor:
            y = layer(x)
            return y if isinstance(y, Tensor) else y[0]

        return forward, [x, *layer.parameters()]

    return make


MEMORY: dict[str, Callable[..., tuple[Callable[[], Tensor], list[Tensor]]]] = {
    **{scan: _of_scan(scan) for scan in ARRAYS},
    **{name: _of_layer(name) for name in ("BMRU", "nn.GRU", "nn.LSTM")},
}
"""Name to what makes a forward pass and its leaves."""


def _step(settings: Settings, unit: str, context: int) -> dict[str, Any]:
    """One token more, at a batch of 1, after a context: as the host launches it, and as a graph."""
    torch.manual_seed(0)
    width = 8 if settings.tiny else 256
    config = ModelConfig(width, width, hidden_size=width, num_layers=2 if settings.tiny else 4, unit=unit)
    model = SequenceModel(config).to(settings.device).eval()
    state = None
    with torch.inference_mode():
        left = context
        while left:
            chunk = min(left, CHUNK)
            _, state = model(torch.randn(1, chunk, width, device=settings.device), state)
            left -= chunk
        x_t = torch.randn(1, width, device=settings.device)
        times = clock(lambda: model.step(x_t, state), settings.device)
    size = sum(leaf.nbytes for leaf in tree_leaves(state) if isinstance(leaf, Tensor))
    return {"context": context, "width": width, "blocks": config.num_layers, "state_bytes": size, **times}
