"""Scans of other packages, each as a run of both passes; a missing package raises ModuleNotFoundError."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from remanent.bench.passes import Run, both_passes, leaves_of, linear_both
from remanent.bench.timing import Case, describe
from remanent.ops import transition_scan

TOLERANCE = 1e-4
"""The largest error of values and gradients, relative to the largest of those in float64."""
PACKAGES = {
    **{"mambapy": "mambapy", "minGRU_pytorch": "minGRU-pytorch", "jax": "jax", "jaxlib": "jaxlib"},
    **{"torchrl": "torchrl", "tensordict": "tensordict"},
}
"""The optional modules, each to the name of its package."""


class Peer(NamedTuple):
    """A scan ready to run.

    Attributes:
        run: a function that computes the states and the gradients of decay and value.
        read: a function that turns the result of `run` into these three tensors.
        logarithms: whether the gradients are with respect to the logarithms of decay and value.
    """

    run: Callable[[], Any]
    read: Callable[[Any], tuple[Tensor, ...]]
    logarithms: bool = False


def checked_case(name: str, decay: Tensor, value: Tensor, grad: Tensor, expected: tuple[Tensor, ...]) -> Case:
    """The case of a scan whose results are as expected; otherwise a case with the reason why it is not timed."""
    try:
        run, read, logarithms = SCANS[name](decay, value, grad)
        if logarithms:
            expected = (expected[0], expected[1] * decay, expected[2] * value)
        difference = _difference(read(run()), expected)
    except Exception as error:
        return Case(name, None, reason(error))
    if difference is not None:
        return Case(name, None, f"error: {difference}")
    return Case(name, run)


def reason(error: Exception) -> str:
    """The reason why a peer cannot run: "not installed", or its error."""
    missing = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return "not installed" if missing in PACKAGES else describe(error)


def exact(decay: Tensor, value: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """The states and both gradients, computed in float64 for comparison."""
    return linear_both(decay.double(), value.double(), grad.double())()


def _difference(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> str | None:
    for name, one, other in zip(("states", "gradient of decay", "gradient of value"), found, expected, strict=True):
        if one.shape != other.shape:
            return f"{name} has shape {tuple(one.shape)}, not {tuple(other.shape)}"
        apart = float((one - other).abs().max() / other.abs().max())
        if not apart <= TOLERANCE:
            return f"{name} off by {apart:.1e} of the largest, where {TOLERANCE:.0e} is allowed"
    return None


def _ours(decay: Tensor, value: Tensor, grad: Tensor) -> Peer:
    return Peer(linear_both(decay, value, grad), tuple)


def _mambapy(decay: Tensor, value: Tensor, grad: Tensor) -> Peer:
    from mambapy.pscan import pscan

    leaves = leaves_of(decay, value)
    return Peer(both_passes(lambda: pscan(*(leaf[..., None] for leaf in leaves))[..., 0], leaves, grad), tuple)


def _heinsen(decay: Tensor, value: Tensor, grad: Tensor) -> Peer:
    """The scan in log space, whose inputs are logarithms, as the package itself uses it."""
    from minGRU_pytorch.minGRU import heinsen_associative_scan_log

    leaves = leaves_of(decay.log(), value.log())
    return Peer(both_passes(lambda: heinsen_associative_scan_log(*leaves), leaves, grad), tuple, logarithms=True)


def _torch_associative(decay: Tensor, value: Tensor, grad: Tensor) -> Peer:
    from torch._higher_order_ops import associative_scan

    leaves = leaves_of(decay, value)

    def forward() -> Tensor:
        return associative_scan(_combine, tuple(leaves), dim=1, combine_mode="generic")[1]

    return Peer(both_passes(forward, leaves, grad), tuple)


def _python_loop(decay: Tensor, value: Tensor, grad: Tensor) -> Peer:
    leaves = leaves_of(decay, value)

    def forward() -> Tensor:
        h, states = torch.zeros_like(value[:, 0]), []
        for a, v in zip(*(leaf.unbind(1) for leaf in leaves), strict=True):
            h = a * h + v
            states.append(h)
        return torch.stack(states, dim=1)

    return Peer(both_passes(forward, leaves, grad), tuple)


def _jax_associative(decay: Tensor, value: Tensor, grad: Tensor) -> Peer:
    jax = import_jax()
    return _jax_peer(lambda a, v: jax.lax.associative_scan(_combine, (a, v), axis=1)[1], decay, value, grad)


def _jax_scan(decay: Tensor, value: Tensor, grad: Tensor) -> Peer:
    jax = import_jax()

    def step(h: Any, gates: Any) -> Any:
        h = gates[0] * h + gates[1]
        return h, h

    def scan(a: Any, v: Any) -> Any:
        over_time = (a.swapaxes(0, 1), v.swapaxes(0, 1))
        return jax.lax.scan(step, jax.numpy.zeros_like(v[:, 0]), over_time)[1].swapaxes(0, 1)

    return _jax_peer(scan, decay, value, grad)


def _jax_peer(scan: Callable[[Any, Any], Any], decay: Tensor, value: Tensor, grad: Tensor) -> Peer:
    """A scan that is compiled for these shapes before it runs; its arrays share the memory of the tensors."""
    jax = import_jax()

    def both(a: Any, v: Any, g: Any) -> Any:
        states, pull = jax.vjp(scan, a, v)
        return (states, *pull(g))

    arrays = [jax.dlpack.from_dlpack(tensor) for tensor in (decay, value, grad)]
    compiled = jax.jit(both).lower(*arrays).compile()
    return Peer(
        lambda: jax.block_until_ready(compiled(*arrays)),
        lambda result: tuple(torch.utils.dlpack.from_dlpack(array) for array in result),
    )


def import_jax() -> Any:
    """The package jax, on the CPU; when it first runs, it gets as many threads as torch has."""
    import jax

    before = os.environ.get("NPROC")
    os.environ["NPROC"] = str(torch.get_num_threads())  # its thread pool reads this variable
    try:
        jax.config.update("jax_platforms", "cpu")  # type: ignore[no-untyped-call]
        jax.devices()
    finally:
        if before is None:
            del os.environ["NPROC"]
        else:
            os.environ["NPROC"] = before
    return jax


def _combine(first: Any, second: Any) -> Any:
    """Two successive steps, each (decay, value), as one step."""
    return first[0] * second[0], second[0] * first[1] + second[1]


SCANS: dict[str, Callable[[Tensor, Tensor, Tensor], Peer]] = {
    "linear_scan": _ours,
    "mambapy pscan": _mambapy,
    "minGRU-pytorch heinsen scan": _heinsen,
    "torch associative_scan": _torch_associative,
    "jax associative_scan": _jax_associative,
    "jax scan": _jax_scan,
    "Python loop": _python_loop,
}
"""Name to the function that prepares the scan for a decay, a value and the gradient of the states."""


def _heads(epsilon: float) -> Callable[[Tensor, Tensor, int], Run]:
    def prepare(logits: Tensor, grad: Tensor, K: int) -> Run:
        leaves = leaves_of(logits)

        def forward() -> Tensor:
            return transition_scan(leaves[0], num_states=K, num_tracers=K, epsilon=epsilon)

        return both_passes(forward, leaves, grad)

    return prepare


def _matrix_loop(logits: Tensor, grad: Tensor, K: int) -> Run:
    leaves = leaves_of(logits)

    def forward() -> Tensor:
        matrices = leaves[0].unflatten(-1, (-1, K, K)).softmax(-1)
        h, states = torch.eye(K).expand_as(matrices[:, 0]), []
        for matrix in matrices.unbind(1):
            h = h @ matrix
            states.append(h)
        return torch.stack(states, dim=1).flatten(2)

    return both_passes(forward, leaves, grad)


def _matrices_associative(logits: Tensor, grad: Tensor, K: int) -> Run:
    from torch._higher_order_ops import associative_scan

    leaves = leaves_of(logits)

    def forward() -> Tensor:
        matrices = leaves[0].unflatten(-1, (-1, K, K)).softmax(-1)
        return associative_scan(torch.matmul, matrices, dim=1, combine_mode="generic").flatten(2)

    return both_passes(forward, leaves, grad)


TRANSITIONS: dict[str, Callable[[Tensor, Tensor, int], Run]] = {
    "transition_scan both": _heads(0.0),
    "transition_scan both, epsilon 1": _heads(1.0),
    "torch loop, epsilon 1": _matrix_loop,
    "torch associative_scan, epsilon 1": _matrices_associative,
}
"""Name to the function that prepares both passes of heads for logits, the gradient of the states, and K, also of R."""
