"""The units in C: for each, its constants, its state, the lines that bring it a step on, and where its outputs lie."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from remanent.export._fold import is_packed
from remanent.export._source import Source
from remanent.units import BMRU
from remanent.units.lru import LRURecurrence


class States(NamedTuple):
    """Where the states or outputs of a unit lie.

    Attributes:
        kind: "signs" and "ones" are bits, set for a high state, else for a low one, which is its negative or 0;
            "values" are floats.
        place: the bits or floats.
        written: of bits, which have been written, where they may not all have been.
        start: by how much what stands where none has been written is above a low state.
        alpha: the size of packed states that are summed with others', and so keep theirs.
    """

    kind: str
    place: str
    written: str | None = None
    start: str | None = None
    alpha: str | None = None


def _latch(source: Source, name: str, unit: Any, x: str) -> States:
    """BMRU: a bit a unit; where states start at zeros or as learned, another that says whether one was written."""
    if not is_packed(unit):
        return _accumulator(source, name, unit, x)
    assert isinstance(unit, BMRU)
    D = unit.hidden_size
    gates = _gates(source, name, unit, x)
    high = source.field(name, "uint8_t", (D + 7) // 8, f"{D} states, a bit each: set where positive")
    source.call_at_start("clear_bits", high, D)
    if unit.recurrence.initial_state == "low":
        source.call("latch", high, gates, D)
        return States("signs", high)
    written = _written(source, name, D)
    source.call("latch_and_mark", high, written, gates, D)
    start = unit.alpha_l0 + getattr(unit, "h0_l0", 0)
    return States("signs", high, written, source.vector(f"{name}_start", start))


def _first_quadrant(source: Source, name: str, unit: Any, x: str) -> States:
    """FQ-BMRU: a bit a unit, at first 0; where states start as learned, another that says whether one was written."""
    D = unit.hidden_size
    lower = unit.threshold_low_l0.abs()
    bounds = (
        source.vector(f"{name}_lower", lower),
        source.vector(f"{name}_upper", lower + unit.threshold_width_l0.abs()),
    )
    gates = _gates(source, name, unit, x)
    high = source.field(name, "uint8_t", (D + 7) // 8, f"{D} states, a bit each: set where high")
    source.call_at_start("clear_bits", high, D)
    start = _start(source, name, unit)
    if start is None:
        source.call("latch_between", high, gates, *bounds, D)
        return States("ones", high)
    written = _written(source, name, D)
    source.call("latch_between_and_mark", high, written, gates, *bounds, D)
    return States("ones", high, written, start)


def _accumulator(source: Source, name: str, unit: Any, x: str) -> States:
    """CMRU, the relaxed CMRU, and a BMRU that keeps something of what it writes over."""
    D = unit.hidden_size
    gates = _gates(source, name, unit, x)
    alpha = unit.recurrence.alpha({"alpha": getattr(unit, "alpha_l0", None)})
    step = f"{gates} + {2 * D}" if alpha is None else source.vector(f"{name}_alpha", alpha)
    state = _float_state(source, name, unit, D)
    if unit.recurrence.initial_state == "low":
        source.call_at_start("copy", state, source.vector(f"{name}_start", -alpha), D)
    epsilon = source.vector(f"{name}_epsilon", torch.tensor([unit.epsilon]))
    source.call("accumulate", state, gates, step, f"{epsilon}[0]", D)
    return States("values", state)


def _min_gru(source: Source, name: str, unit: Any, x: str) -> States:
    D = unit.hidden_size
    gates = _gates(source, name, unit, x)
    state = _float_state(source, name, unit, D)
    source.call("min_gru", state, gates, D)
    return States("values", state)


def _lru(source: Source, name: str, unit: Any, x: str) -> States:
    """LRU: real parts, then imaginary ones; what the input is multiplied by is a factor of its weights."""
    D = unit.hidden_size
    recurrence = unit.recurrence
    assert isinstance(recurrence, LRURecurrence)
    names = ("weight_ih", "nu_log", "theta_log", "gamma_log")
    eigenvalues = torch.view_as_real(recurrence.eigenvalues({key: getattr(unit, f"{key}_l0") for key in names})).T
    rows = unit.weight_ih_l0 * unit.gamma_log_l0.exp().repeat(2)[:, None]
    value = source.buffer("gates", 2 * D)
    source.call("clear", value, 2 * D)
    source.call("add_product", value, source.matrix(f"{name}_input", rows)[""], x, 2 * D, unit.input_size)
    state = _float_state(source, name, unit, 2 * D)
    source.call("turn", state, source.vector(f"{name}_eigenvalues", eigenvalues), value, D)
    read = source.buffer(f"{name}_read", D)
    source.call("clear", read, D)
    real, imaginary = unit.weight_ho_l0.chunk(2)
    source.call("add_product", read, source.matrix(f"{name}_real", real)[""], state, D, D)
    source.call("add_product", read, source.matrix(f"{name}_imaginary", -imaginary)[""], f"{state} + {D}", D, D)
    source.call("add_product", read, source.matrix(f"{name}_skip", unit.weight_skip_l0)[""], x, D, unit.input_size)
    return States("values", read)


WRITERS: dict[str, Callable[[Source, str, Any, str], States]] = {
    "bmru": _latch,
    "fq_bmru": _first_quadrant,
    "cmru": _accumulator,
    "alpha_cmru": _accumulator,
    "min_gru": _min_gru,
    "lru": _lru,
}
"""The units that C is written for."""


def _gates(source: Source, name: str, unit: Any, x: str) -> str:
    """What a unit computes from its input, one gate's values after the other's."""
    weight = unit.weight_ih_l0
    gates = source.buffer("gates", weight.shape[0])
    source.call("copy", gates, source.vector(f"{name}_bias", unit.bias_ih_l0), weight.shape[0])
    source.call("add_product", gates, source.matrix(name, weight)[""], x, *weight.shape)
    return gates


def _written(source: Source, name: str, D: int) -> str:
    written = source.field(f"{name}_written", "uint8_t", (D + 7) // 8, "set where a state has been written")
    source.call_at_start("clear_bits", written, D)
    return written


def _start(source: Source, name: str, unit: Any) -> str | None:
    return source.vector(f"{name}_start", unit.h0_l0) if hasattr(unit, "h0_l0") else None


def _float_state(source: Source, name: str, unit: Any, size: int) -> str:
    state = source.field(name, "float", size, "states" if size == unit.hidden_size else "real parts, imaginary parts")
    start = _start(source, name, unit)
    if start is None:
        source.call_at_start("clear", state, size)
    else:
        source.call_at_start("copy", state, start, size)
    return state
