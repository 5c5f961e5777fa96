"""The steps of units in C: for each kind, its constants, its state, the lines of a step, and its outputs."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from remanent.export._source import Source
from remanent.units import StepData


class Read(NamedTuple):
    """What a unit reads.

    Attributes:
        place: the values of its input; None where the input is a letter, which is one of them.
        tables: where each letter moves each state of heads, (V, H, K), where a letter is all that they read.
    """

    place: str | None
    tables: Tensor | None = None


class States(NamedTuple):
    """The place and the form of a unit's states or outputs.

    Attributes:
        kind: "signs" and "ones" are bits, set for a high state, else for a low one, which is its negative or 0;
            "places" are bytes, each the place of the one in so many values; "values" are floats.
        place: the bits, bytes or floats.
        written: of bits, which have been written, where they may not all have been.
        start: by how much a state that has not been written is above a low state.
        alpha: the size of packed states that are summed with those of other units, and are not folded.
        num_states: of places, K, the values of which one is 1.
    """

    kind: str
    place: str
    written: str | None = None
    start: str | None = None
    alpha: str | None = None
    num_states: int = 1


def _latch(source: Source, name: str, step: StepData, x: Read) -> States:
    """One bit per channel; where states start at zeros or as learned, another bit for whether it was written."""
    D = step.hidden_size
    gates = _gates(source, name, step, x)
    high = source.field(name, "uint8_t", (D + 7) // 8, f"{D} states, a bit each: set where positive")
    source.call_at_start("clear_bits", high, D)
    if step.starts_low:
        source.call("latch", high, gates, D)
        return States("signs", high)
    written = _written(source, name, D)
    source.call("latch_and_mark", high, written, gates, D)
    start = step.values["alpha"] if step.start is None else step.values["alpha"] + step.start
    return States("signs", high, written, source.vector(f"{name}_start", start))


def _latch_between(source: Source, name: str, step: StepData, x: Read) -> States:
    """One bit per channel, at first 0; where states start as learned, another bit for whether it was written."""
    D = step.hidden_size
    bounds = [source.vector(f"{name}_{bound}", step.values[bound]) for bound in ("lower", "upper")]
    gates = _gates(source, name, step, x)
    high = source.field(name, "uint8_t", (D + 7) // 8, f"{D} states, a bit each: set where high")
    source.call_at_start("clear_bits", high, D)
    if step.start is None:
        source.call("latch_between", high, gates, *bounds, D)
        return States("ones", high)
    start = source.vector(f"{name}_start", step.start)
    written = _written(source, name, D)
    source.call("latch_between_and_mark", high, written, gates, *bounds, D)
    return States("ones", high, written, start)


def _accumulate(source: Source, name: str, step: StepData, x: Read) -> States:
    """A float per channel, of which a write keeps a part, or all."""
    D = step.hidden_size
    gates = _gates(source, name, step, x)
    size = source.vector(f"{name}_alpha", step.values["alpha"]) if "alpha" in step.values else f"{gates} + {2 * D}"
    state = _float_state(source, name, step, D)
    epsilon = source.vector(f"{name}_epsilon", step.values["epsilon"])
    source.call("accumulate", state, gates, size, f"{epsilon}[0]", D)
    return States("values", state)


def _min_gru(source: Source, name: str, step: StepData, x: Read) -> States:
    """A float per channel."""
    D = step.hidden_size
    gates = _gates(source, name, step, x)
    state = _float_state(source, name, step, D)
    source.call("min_gru", state, gates, D)
    return States("values", state)


def _rotate(source: Source, name: str, step: StepData, x: Read) -> States:
    """Two floats per channel: the real parts, then the imaginary ones."""
    D = step.hidden_size
    value = _gates(source, f"{name}_input", step, x)
    state = _float_state(source, name, step, 2 * D)
    source.call("turn", state, source.vector(f"{name}_eigenvalues", step.values["eigenvalues"]), value, D)
    read = source.buffer(f"{name}_read", D)
    source.call("clear", read, D)
    parts = (("real", "real", Read(state)), ("imaginary", "imaginary", Read(f"{state} + {D}")), ("skip", "input", x))
    for part, value, vector in parts:
        _add_product(source, read, f"{name}_{part}", step.values[f"read_{value}"], vector)
    return States("values", read)


def _transition(source: Source, name: str, step: StepData, x: Read) -> States:
    """A byte per tracer; where the input is a letter alone, its tables are bytes as well."""
    assert step.start is not None
    K, rows = step.num_states, step.weight.shape[0]
    H, places = rows // K**2, step.start.view(-1, K).argmax(1)
    R = len(places) // H
    state = source.field(name, "uint8_t", H * R, f"heads of {K} states: {H} times the states of {R} tracers")
    source.call_at_start("copy_bytes", state, source.table(f"{name}_start", places), H * R)
    if x.tables is not None:
        table = source.table(f"{name}_table", x.tables)
        source.call("look_up", state, f"{table} + x * {H * K}u", H, R, K)
        return States("places", state, num_states=K)
    bias = source.vector(f"{name}_bias", torch.zeros(rows) if step.bias is None else step.bias)
    table, logits = source.buffer("table", K, "uint8_t"), source.buffer("logits", K)
    matrix, M = source.matrix(name, step.weight)[""], step.weight.shape[1]
    source.call("move", state, table, logits, matrix, bias, x.place, H, R, K, M)
    return States("places", state, num_states=K)


WRITERS: dict[str, Callable[[Source, str, StepData, Read], States]] = {
    "latch": _latch,
    "latch_between": _latch_between,
    "accumulate": _accumulate,
    "min_gru": _min_gru,
    "rotate": _rotate,
    "transition": _transition,
}
"""Kind of step to the function that writes it in C."""


def _gates(source: Source, name: str, step: StepData, x: Read) -> str:
    """What a unit computes from its input, one gate's values after the other's."""
    if step.gain is not None:
        return _normed_gates(source, name, step, x)
    N = step.weight.shape[0]
    gates = source.buffer("gates", N)
    if step.bias is None:
        source.call("clear", gates, N)
    else:
        source.call("copy", gates, source.vector(f"{name}_bias", step.bias), N)
    _add_product(source, gates, name, step.weight, x)
    return gates


def _normed_gates(source: Source, name: str, step: StepData, x: Read) -> str:
    """Gates of which the first are normalised over the channels of the step, and then get their gain and bias."""
    N = step.weight.shape[0]
    D, gain = step.hidden_size, step.gain
    assert gain is not None
    bias = torch.zeros(N) if step.bias is None else step.bias
    gates, first = source.buffer("gates", N), gain.shape[0]
    source.call("clear", gates, first)
    if first < N:
        source.call("copy", f"{gates} + {first}", source.vector(f"{name}_bias", bias[first:]), N - first)
    _add_product(source, gates, name, step.weight, x)
    scale, shift = source.vector(f"{name}_gain", gain), source.vector(f"{name}_shift", bias[:first])
    for place in range(0, first, D):
        where = f"{gates} + {place}" if place else gates
        source.call("layer_norm", where, where, f"{scale} + {place}", f"{shift} + {place}", D)
    return gates


def _add_product(source: Source, out: str, name: str, weight: Tensor, x: Read) -> None:
    """Adds a matrix times what is read, of a letter its column."""
    matrix = source.matrix(name, weight)[""]
    if x.place is None:
        source.call("add_column", out, matrix, "x", *weight.shape)
    else:
        source.call("add_product", out, matrix, x.place, *weight.shape)


def _written(source: Source, name: str, D: int) -> str:
    written = source.field(f"{name}_written", "uint8_t", (D + 7) // 8, "set where a state has been written")
    source.call_at_start("clear_bits", written, D)
    return written


def _float_state(source: Source, name: str, step: StepData, size: int) -> str:
    state = source.field(name, "float", size, "states" if size == step.hidden_size else "real parts, imaginary parts")
    if step.start is None:
        source.call_at_start("clear", state, size)
    else:
        source.call_at_start("copy", state, source.vector(f"{name}_start", step.start), size)
    return state
