"""Random inputs of the scans, what the float64 reference makes of them, and what a kernel does."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from remanent.ops import reference
from remanent.ops.arguments import SPAN, Gates, InitialStates, LatchGradients, LinearGradients
from remanent.ops.latch import BACKENDS as LATCH_BACKENDS
from remanent.ops.linear import BACKENDS as LINEAR_BACKENDS

LIMITS = {torch.float32: 2e-5, torch.float64: 1e-11, torch.bfloat16: 2e-2, torch.float16: 3e-3}
LIMITS |= {torch.complex64: 2e-5, torch.complex128: 1e-11}
"""How far values may be from those in float64, over the largest of them."""
LAYOUTS = ("plain", "joint", "time-first", "channels-first")


class Shape(NamedTuple):
    """Sizes, and how inputs are given.

    Attributes:
        B: rows.
        T: steps.
        D: channels.
        moves: whether gates move with time.
        reset: whether there are resets.
        h0: whether there is a state before the first step.
        layout: of `LAYOUTS`.
        each: whether each step has a state of its own for a reset.
    """

    B: int
    T: int
    D: int
    moves: bool = True
    reset: bool = False
    h0: bool = True
    layout: str = "plain"
    each: bool = False


Inputs = dict[str, Tensor | None]


def latch_inputs(shape: Shape, dtype: torch.dtype, device: str, seed: int = 0) -> Inputs:
    """Gates of which about every third writes; one channel never does."""
    draw = Draws(shape, dtype, device, seed)
    gate = (shape.B, shape.T, shape.D) if shape.moves else (shape.D,)
    threshold = draw(*gate)
    threshold[..., -1] += 100
    return {
        "candidate": draw(shape.B, shape.T, shape.D),
        "threshold": draw.laid(threshold),
        "alpha": draw(*gate),
        **_starts(shape, draw),
    }


def linear_inputs(shape: Shape, dtype: torch.dtype, device: str, seed: int = 0) -> Inputs:
    """Decays of a size below 1."""
    draw = Draws(shape, dtype, device, seed)
    decay = draw(*((shape.B, shape.T, shape.D) if shape.moves else (shape.D,)))
    return {
        "decay": draw.laid(decay / (decay.abs() + 0.1)),
        "value": draw(shape.B, shape.T, shape.D),
        **_starts(shape, draw),
    }


def weights(inputs: Inputs) -> Tensor:
    """A gradient of the states."""
    like = inputs.get("candidate", inputs.get("value"))
    assert like is not None
    draw = torch.Generator(like.device).manual_seed(99)
    wide = torch.complex128 if like.is_complex() else torch.float64
    return torch.randn(like.shape, generator=draw, dtype=wide, device=like.device).to(like.dtype)


def run_latch(
    backend: str, inputs: Inputs, grad: Tensor, epsilon: float, width: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """States and gradients by one backend, in memory that was full of NaN."""
    gates = Gates(*(there(inputs, name) for name in Gates._fields))
    initial, functions = initial_of(inputs), LATCH_BACKENDS[backend]
    assert functions is not None
    B, T, D = gates.candidate.shape
    states = nan_like(gates.candidate)
    functions.forward(gates, initial, epsilon, states)
    starts = nan_like(states.new_empty(B, T // SPAN + 2, D))
    starts[:, 0] = 0 if initial.h0 is None else initial.h0
    ends = states[:, SPAN - 1 :: SPAN]
    starts[:, 1 : 1 + ends.shape[1]] = ends
    grads = LatchGradients(Gates(*map(nan_like, gates)), *_nan_rows(states, initial))
    functions.backward(grad, starts, gates, initial, epsilon, width, grads)
    return states, grads.gates._asdict() | {"h0": grads.h0, "reset_state": grads.reset_state}


def run_linear(backend: str, inputs: Inputs, grad: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """States and gradients by one backend, in memory that was full of NaN."""
    decay, value = there(inputs, "decay"), there(inputs, "value")
    initial, functions = initial_of(inputs), LINEAR_BACKENDS[backend]
    assert functions is not None
    states = nan_like(value)
    functions.forward(decay, value, initial, states)
    grads = LinearGradients(nan_like(decay), nan_like(value), *_nan_rows(value, initial))
    functions.backward(grad, states, decay, initial, grads)
    return states, dict(zip(("decay", "value", "h0", "reset_state"), grads, strict=True))


def there(inputs: Inputs, name: str) -> Tensor:
    """An input that is given."""
    value = inputs[name]
    assert value is not None
    return value


def initial_of(inputs: Inputs) -> InitialStates:
    """The states that a scan starts from."""
    return InitialStates(*(inputs[name] for name in InitialStates._fields))


def exact(scan: str, inputs: Inputs, grad: Tensor, *options: float) -> tuple[Tensor, Inputs]:
    """States and gradients by the reference in float64 and autograd, on the CPU."""
    leaves = {name: leaf(value) for name, value in inputs.items()}
    if scan == "latch_scan":
        states = reference.latch_scan(**leaves, epsilon=options[0], width=options[1])  # type: ignore[arg-type]
    else:
        states = reference.linear_scan(**leaves)  # type: ignore[arg-type]
    states.backward(wide(grad))
    grads = {k: v.grad for k, v in leaves.items() if v is not None and v.dtype != torch.bool}
    return states.detach(), grads


def compare(
    worst: dict[str, float],
    prefix: str,
    found: tuple[Tensor, dict[str, Tensor]],
    wanted: tuple[Tensor, Inputs],
    inputs: Inputs,
) -> None:
    """Notes the largest distances so far, of states and of each gradient."""
    pairs = {"states": (found[0], wanted[0])}
    for name, value in found[1].items():
        if inputs[name] is None:
            assert name == "h0" or not value.any(), f"a gradient of {name}, which is not there"
            continue
        other = wanted[1][name]
        pairs[name] = (value, torch.zeros_like(value) if other is None else other)
    for name, (one, other) in pairs.items():
        apart = distance(one, other)
        old = worst.get(prefix + name, 0.0)
        worst[prefix + name] = apart if not apart <= old else old


def same_bits(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Whether two results have the same bits."""
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8)) for a, b in pairs)


def distance(found: Tensor, wanted: Tensor) -> float:
    """The largest difference over the largest value wanted, NaN where one is found."""
    found, wanted = wide(found), wide(wanted)
    if found.numel() == 0:
        return 0.0
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30))


def wide(value: Tensor) -> Tensor:
    """In double precision, on the CPU."""
    return value.detach().cpu().to(torch.complex128 if value.is_complex() else torch.float64)


def nan_like(value: Tensor) -> Tensor:
    """Memory full of NaN, laid out as a tensor is."""
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device).fill_(torch.nan)


def _nan_rows(like: Tensor, initial: InitialStates) -> tuple[Tensor, Tensor]:
    B, _, D = like.shape
    start = like.new_empty(D) if initial.reset_state is None else initial.reset_state
    return nan_like(like.new_empty(B, D)), nan_like(start)


def leaf(value: Tensor | None) -> Tensor | None:
    """An input for the reference: in double precision on the CPU, with a gradient."""
    if value is None:
        return None
    return value.cpu() if value.dtype == torch.bool else wide(value).clone().requires_grad_()


class Draws:
    """Draws normal numbers; those of rank 3 in the shape's layout."""

    def __init__(self, shape: Shape, dtype: torch.dtype, device: str, seed: int) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device
        self.generator = torch.Generator(device).manual_seed(seed)

    def __call__(self, *size: int) -> Tensor:
        """Normal numbers of the dtype; half types are rounded from float32."""
        kind = torch.complex64 if self.dtype.is_complex else torch.float32
        if self.dtype in (torch.float64, torch.complex128):
            kind = self.dtype
        return self.laid(torch.randn(size, generator=self.generator, dtype=kind, device=self.device).to(self.dtype))

    def resets(self) -> Tensor:
        """A reset at every fiftieth step or so, (B, T)."""
        return torch.rand(self.shape.B, self.shape.T, generator=self.generator, device=self.device) < 0.02

    def laid(self, values: Tensor) -> Tensor:
        """The same values in the shape's layout."""
        if values.dim() < 3 or self.shape.layout == "plain":
            return values
        if self.shape.layout == "joint":
            return torch.cat([values, torch.full_like(values, torch.nan)], dim=2)[..., : values.shape[2]]
        if self.shape.layout == "time-first":
            return values.transpose(0, 1).contiguous().transpose(0, 1)
        return values.mT.contiguous().mT


def _starts(shape: Shape, draw: "Draws") -> dict[str, Any]:
    after = (shape.B, shape.T, shape.D) if shape.each else (shape.D,)
    return {
        "h0": draw(shape.B, shape.D) if shape.h0 else None,
        "reset": draw.resets() if shape.reset else None,
        "reset_state": draw(*after) if shape.reset else None,
    }
