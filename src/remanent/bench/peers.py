"""First-order scans by others, each as a run of both passes; a package that is missing raises ModuleNotFoundError."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from remanent.bench.runs import both_passes, leaves_of, linear_both
from remanent.bench.timing import Case, describe

TOLERANCE = 1e-4
"""How far values and gradients may be from those in float64, over the largest of them."""
PACKAGES = {"mambapy": "mambapy", "minGRU_pytorch": "minGRU-pytorch", "jax": "jax", "jaxlib": "jaxlib"}
"""Optional modules to the names of their packages."""


class Peer(NamedTuple):
    """A scan ready to run.

    Attributes:
        run: computes the states and the gradients of decay and value.
        read: turns what `run` returns into these three tensors.
        logarithms: whether the gradients are those of the logarithms of decay and value.
    """

    run: Callable[[], Any]
    read: Callable[[Any], tuple[Tensor, ...]]
    logarithms: bool = False


def checked_case(name: str, decay: Tensor, value: Tensor, grad: Tensor, expected: tuple[Tensor, ...]) -> Case:
    """A case of a scan, once it computed what is expected; otherwise one with the reason that it is not timed."""
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
    """Why a peer cannot be run: not installed, or its error."""
    missing = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return "not installed" if missing in PACKAGES else describe(error)


def exact(decay: Tensor, value: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """The states and both gradients, computed in float64."""
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
    """In the space of logarithms, which are inputs, as they are where the package uses it."""
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
    """Compiled for these shapes before it is run; the arrays share the tensors' memory."""
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
    """The package jax, on the CPU; its threads, set when it first runs, are as many as torch has then."""
    import jax

    before = os.environ.get("NPROC")
    os.environ["NPROC"] = str(torch.get_num_threads())  # what its pool of threads reads
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
    """One step after another, each (decay, value), as one step."""
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
"""Name to what makes the scan ready for a decay, a value and the gradient of the states."""
