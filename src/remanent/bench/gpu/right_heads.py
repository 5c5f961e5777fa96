"""Whether heads of K states give on the GPU what the float64 reference gives, and tokens what their tables say."""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from remanent.bench.gpu.cases import Case, Settings
from remanent.bench.gpu.problems import (
    LIMITS,
    Draws,
    Inputs,
    Shape,
    compare,
    distance,
    initial_of,
    leaf,
    nan_like,
    same_bits,
    there,
    wide,
)
from remanent.ops import lookup_scan, reference, transition_scan
from remanent.ops.arguments import HeadSizes, TransitionGradients
from remanent.ops.transition import BACKENDS

HEADS = 7
SIZES = (HeadSizes(5, 5), HeadSizes(4, 4), HeadSizes(3, 3), HeadSizes(2, 2))
HALF = (torch.bfloat16, torch.float16)


class Trial(NamedTuple):
    """A scan to check: its steps, its epsilon, and what `Shape` says of resets and layout."""

    T: int
    epsilon: float = 0.0
    shape: dict[str, Any] = {}  # noqa: RUF012 (never changed)


EACH: dict[str, Any] = {"reset": True, "each": True}
TRIALS = (
    Trial(1),
    Trial(63, 0.3, {"reset": True, "layout": "joint"}),
    Trial(65, 0.0, EACH | {"layout": "time-first"}),
    Trial(1000, 1.0),
    Trial(1000, 0.0, {"reset": True}),
)
"""Of K = 5; the others have two, since each combination of options is compiled for each K."""
FEW_TRIALS = (Trial(65, 0.3, EACH | {"layout": "channels-first"}), Trial(1000, 0.0, EACH))


def cases(settings: Settings) -> list[Case]:
    """All checks of heads; those of the most common kind first."""
    if settings.tiny:
        tiny = (Trial(3, 0.3, EACH | {"layout": "joint"}), Trial(2))
        equal = partial(_equal, settings, HeadSizes(2, 2), torch.float32, tiny)
        found = [Case("heads equal the reference: K 2, float32", equal)]
    else:
        found = [_equal_case(settings, sizes, torch.float32) for sizes in SIZES]
        found += [_equal_case(settings, SIZES[0], dtype) for dtype in (torch.bfloat16, torch.float64, torch.float16)]
        found.append(_equal_case(settings, HeadSizes(9, 2), torch.float32))
    found.append(Case("lookup equals the reference", partial(_lookup, settings)))
    found += [Case(f"heads, {name}", partial(check, settings), limit=120) for name, check in _OTHERS.items()]
    return found


def _equal_case(settings: Settings, sizes: HeadSizes, dtype: torch.dtype) -> Case:
    trials = TRIALS if sizes == SIZES[0] and dtype == torch.float32 else FEW_TRIALS
    name = f"heads equal the reference: K {sizes.states}, {str(dtype).removeprefix('torch.')}"
    return Case(name, partial(_equal, settings, sizes, dtype, trials), limit=150)


def head_inputs(shape: Shape, sizes: HeadSizes, dtype: torch.dtype, device: str, seed: int = 0) -> Inputs:
    """Logits in whole numbers, many of which are equal, and states that are one-hot; every state is given."""
    draw, (K, R) = Draws(shape, dtype, device, seed), sizes
    H = shape.D // (R * K)

    def states(*shape: int) -> Tensor:
        found = torch.randint(K, (*shape, H * R), generator=draw.generator, device=device)
        return one_hot(found, K).flatten(-2).to(dtype)

    after = states(shape.B, shape.T) if shape.each else states()
    return {
        "logits": draw.laid((2 * draw(shape.B, shape.T, H * K * K)).round()),
        "h0": states(shape.B),
        "reset": draw.resets() if shape.reset else None,
        "reset_state": draw.laid(after) if shape.reset else None,
    }


def run_heads(inputs: Inputs, sizes: HeadSizes, epsilon: float) -> tuple[Tensor, dict[str, Tensor]]:
    """States and gradients by the GPU's kernels, in memory that was full of NaN."""
    logits, h0, initial, functions = there(inputs, "logits"), there(inputs, "h0"), initial_of(inputs), BACKENDS["gpu"]
    assert functions is not None
    states = nan_like(logits.new_empty(*logits.shape[:2], h0.shape[1]))
    functions.forward(logits, initial, sizes, epsilon, states)
    start = h0[0] if initial.reset_state is None else initial.reset_state
    grads = TransitionGradients(nan_like(logits), nan_like(h0), nan_like(start))
    functions.backward(_weights(states), states, logits, initial, sizes, epsilon, grads)
    return states, grads._asdict()


def _weights(states: Tensor) -> Tensor:
    draw = torch.Generator(states.device).manual_seed(99)
    return torch.randn(states.shape, generator=draw, device=states.device).to(states.dtype)


def _exact(inputs: Inputs, sizes: HeadSizes, epsilon: float, grad: Tensor) -> tuple[Tensor, Inputs]:
    leaves = {name: leaf(value) for name, value in inputs.items()}
    states = reference.transition_scan(**leaves, **_options(sizes), epsilon=epsilon)  # type: ignore[arg-type]
    states.backward(wide(grad))
    return states.detach(), {k: v.grad for k, v in leaves.items() if v is not None and v.dtype != torch.bool}


def _options(sizes: HeadSizes) -> dict[str, Any]:
    return {"num_states": sizes.states, "num_tracers": sizes.tracers}


def _equal(settings: Settings, sizes: HeadSizes, dtype: torch.dtype, trials: tuple[Trial, ...]) -> dict[str, Any]:
    """States bit for bit where epsilon is 0; else, and all gradients, within the limits."""
    worst: dict[str, float] = {}
    H = 1 if settings.tiny else HEADS
    for T, epsilon, more in trials:
        shape = Shape(1 if settings.tiny else 3, T, H * sizes.states * sizes.tracers, **more)
        inputs = head_inputs(shape, sizes, dtype, settings.device, seed=T)
        found = run_heads(inputs, sizes, epsilon)
        wanted = _exact(inputs, sizes, epsilon, _weights(found[0]))
        if epsilon == 0:
            assert torch.equal(found[0].cpu(), wanted[0].to(dtype)), f"bits differ at {shape}"
        compare(worst, f"epsilon {epsilon}, ", found, wanted, inputs)
    over = {name: value for name, value in worst.items() if not value <= LIMITS[dtype]}
    assert not over, f"over {LIMITS[dtype]}: {over}"
    return {"largest": {name: float(f"{value:.2e}") for name, value in worst.items()}}


def _lookup(settings: Settings) -> dict[str, Any]:
    """Tables of tokens: the places of the reference, and the states of the scan of one-hot logits."""
    draw = torch.Generator().manual_seed(0)
    lengths = (2,) if settings.tiny else (1, 63, 65, 1000)
    V, H, B = (2, 1, 1) if settings.tiny else (6, 3, 4)
    for K, T in zip((2, 3, 4, 5), lengths, strict=False):
        tables = torch.randint(K, (V, H, K), generator=draw).to(torch.uint8)
        tokens = torch.randint(V, (B, T), generator=draw)
        found = lookup_scan(tables.to(settings.device), tokens.to(settings.device))
        assert all(torch.equal(a.cpu(), b) for a, b in zip(found, reference.lookup_scan(tables, tokens), strict=True))
        logits = one_hot(tables.long(), K).float().flatten(1)[tokens].to(settings.device)
        start = one_hot(torch.arange(K).repeat(H), K).flatten().float().expand(B, -1).to(settings.device)
        states = transition_scan(logits, start, num_states=K, num_tracers=K, backend="gpu")
        assert torch.equal(states.unflatten(-1, (-1, K)).argmax(-1).to(torch.uint8), found[0]), f"K {K}: places differ"
    return {}


def _long(settings: Settings) -> dict[str, Any]:
    """The bits of a loop of many steps, and in chunks, from the start state that is not given."""
    T, chunk = (9, 4) if settings.tiny else (10_000, 3333)
    sizes = HeadSizes(2, 2) if settings.tiny else HeadSizes(4, 4)
    dtypes = (torch.float32,) if settings.tiny else (torch.float32, torch.bfloat16)
    for dtype in dtypes:
        shape = Shape(1, T, 3 * sizes.states * sizes.tracers, reset=True)
        inputs = head_inputs(shape, sizes, dtype, settings.device) | {"h0": None, "reset_state": None}
        with torch.no_grad():
            found = transition_scan(**inputs, **_options(sizes), backend="gpu")  # type: ignore[arg-type]
            plain = transition_scan(**inputs, **_options(sizes), backend="portable")  # type: ignore[arg-type]
            loop = transition_scan(**inputs, **_options(sizes), backend="reference")  # type: ignore[arg-type]
        assert torch.equal(found, loop), "bits differ from the loop's"
        assert torch.equal(found, plain), "bits differ from portable"
        logits, reset, state, parts = there(inputs, "logits"), there(inputs, "reset"), None, []
        for start in range(0, T, chunk):
            part = slice(start, start + chunk)
            more = {"reset": reset[:, part], **_options(sizes)}
            parts.append(transition_scan(logits[:, part], state, **more, backend="gpu"))  # type: ignore[arg-type]
            state = parts[-1][:, -1]
        assert torch.equal(torch.cat(parts, dim=1), found), "bits of chunks differ"
    return {"steps": T}


def _repeated(settings: Settings) -> dict[str, Any]:
    """The same bits again and again, of states and gradients."""
    for dtype, epsilon in ((torch.float32, 0.0),) if settings.tiny else ((torch.float32, 0.3), (torch.bfloat16, 0.0)):
        sizes = HeadSizes(2, 2) if settings.tiny else HeadSizes(4, 4)
        B, T, D = (1, 3, 4) if settings.tiny else (16, 4096, 256)
        inputs = head_inputs(Shape(B, T, D, reset=True), sizes, dtype, settings.device)
        runs = [run_heads(inputs, sizes, epsilon) for _ in range(2 if settings.tiny else 4)]
        bits = [(states, *grads.values()) for states, grads in runs]
        assert all(same_bits(bits[0], other) for other in bits[1:]), f"other bits in {dtype}"
    return {}


def _many(settings: Settings) -> dict[str, Any]:
    """More rows than a grid's second axis may have; and more than 2^31 logits, whose last states equal those alone."""
    sizes = HeadSizes(2, 2)
    inputs = head_inputs(Shape(3 if settings.tiny else 70_000, 5, 4), sizes, torch.float32, settings.device)
    states = transition_scan(**inputs, **_options(sizes), backend="gpu")  # type: ignore[arg-type]
    wanted = transition_scan(**inputs, **_options(sizes), backend="portable")  # type: ignore[arg-type]
    assert torch.equal(states, wanted), "bits differ"
    sizes, H = HeadSizes(4, 1), 4
    T, last = (6, 3) if settings.tiny else (2**25 + 999, 2000)
    draw = torch.Generator(settings.device).manual_seed(0)
    width = (1 if settings.tiny else H) * 16
    logits = torch.randn(1, T, width, generator=draw, device=settings.device, dtype=torch.bfloat16).requires_grad_()
    states = transition_scan(logits, **_options(sizes), backend="gpu")
    (grad,) = torch.autograd.grad(states, logits, states.detach())
    part = logits.detach()[:, -last:].requires_grad_()
    alone = transition_scan(part, states.detach()[:, -last - 1], **_options(sizes), backend="portable")
    assert torch.equal(states.detach()[:, -last:], alone.detach()), "the last states differ"
    (other,) = torch.autograd.grad(alone, part, alone.detach())
    apart = distance(grad[:, -last:], other)
    assert apart <= LIMITS[torch.bfloat16], f"the last gradients are off by {apart}"
    assert not grad.isnan().any()
    return {"logits": logits.numel()}


def _not_numbers(settings: Settings) -> dict[str, Any]:
    """A NaN is never chosen, nor has it a weight or a gradient; infinities are."""
    sizes, T = (HeadSizes(2, 2), 3) if settings.tiny else (HeadSizes(3, 3), 70)
    inputs = head_inputs(Shape(1, T, sizes.states * sizes.tracers), sizes, torch.float32, "cpu")
    logits = there(inputs, "logits")
    for value, step in ((torch.nan, 3), (torch.inf, 7), (-torch.inf, 5)):
        logits.flatten()[::step] = value
    logits = logits.to(settings.device)
    found, wanted = (transition_scan(logits, **_options(sizes), backend=name) for name in ("gpu", "portable"))
    assert torch.equal(found, wanted), "bits differ"
    return {}


def _compiled(settings: Settings) -> dict[str, Any]:
    """The same bits in a compiled graph, and near gradients."""
    if settings.tiny:
        return {"skipped": "takes a compiler"}
    sizes = HeadSizes(4, 4)
    inputs = head_inputs(Shape(4, 500, 96), sizes, torch.float32, settings.device)
    logits = there(inputs, "logits").requires_grad_()

    def scan(logits: Tensor) -> Tensor:
        return transition_scan(logits * 1.0, **_options(sizes), epsilon=0.3, backend="gpu")

    found, wanted = torch.compile(scan, fullgraph=True)(logits), scan(logits)
    assert torch.equal(found, wanted), "bits differ"
    grads = [torch.autograd.grad(states.square().sum(), logits)[0] for states in (found, wanted)]
    assert distance(*grads) <= 1e-5
    return {}


_OTHERS = {
    "long": _long,
    "repeated bits": _repeated,
    "many rows, and more than 2^31 logits": _many,
    "NaN and infinity": _not_numbers,
    "compiled": _compiled,
}
