"""A model in C around its units: encoder, clock, norms, maps and head, and how each unit's outputs are read."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from remanent.export._fold import packed_levels, step_data
from remanent.export._source import Source
from remanent.export._units import WRITERS, Read, States
from remanent.models import SequenceModel
from remanent.models.blocks import Block
from remanent.models.convolution import CausalConv1d
from remanent.models.letters import letter_tables, letters_read
from remanent.models.row_linear import Restored, Standardised


def write_model(source: Source, model: SequenceModel) -> None:
    """Fills a source with a model whose states are folded."""
    config = model.config
    H = config.hidden_size
    stream = source.buffer("stream", H)
    if isinstance(model.encoder, nn.Embedding):
        source.note("encoder")
        source.call("embed", stream, source.matrix("encoder", model.encoder.weight)[""], "x", H)
    elif isinstance(model.encoder, nn.Linear):
        source.note("encoder")
        x = _standardised(source, model.encoder)
        _linear(source, stream, "encoder", model.encoder, x)
    clock: Features | None = None
    if model.clock is not None:
        clock = Features(source.buffer("clock", config.clock_size), config.clock_size)
        table = source.vector("clock_table", model.clock.table[:-1])
        time = source.field("time", "uint32_t", 0, "steps since the start, at most as many as the clock distinguishes")
        source.init.append(f"{time} = 0;")
        source.call("clock_features", clock.place, table, time, model.clock.span, config.clock_size)
        source.step.append(f"{time} += {time} < {model.clock.span};")
    for i, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        letters = letters_read(model) if i == 0 else None
        _write_block(source, f"block_{i}", block, config.layers[i], clock, letters)
    source.note("head")
    _linear(source, "y", "head", model.head, _norm(source, "norm", model.norm, stream, "normed", H))
    if isinstance(model.head, Restored):
        deviation, mean = (source.vector(f"head_{name}", getattr(model.head, name)) for name in ("deviation", "mean"))
        source.call("restore", "y", deviation, mean, config.output_size)
    if config.head == "mean":
        total = source.field("total", "double", config.output_size, "sums of the head's values so far")
        steps = source.field("steps", "uint32_t", 0, "over how many steps")
        source.call_at_start("clear_sums", total, config.output_size)
        source.init.append(f"{steps} = 0;")
        source.step.append(f"{steps}++;")
        source.call("mean", "y", total, steps, config.output_size)


def _standardised(source: Source, encoder: nn.Linear) -> str:
    """The place of what the encoder's matrix reads: the input, or its features standardised."""
    if not isinstance(encoder, Standardised):
        return "x"
    place = source.buffer("features", encoder.in_features)
    mean, deviation = (source.vector(f"encoder_{name}", getattr(encoder, name)) for name in ("mean", "deviation"))
    source.call("standardise", place, "x", mean, deviation, encoder.in_features)
    return place


def unit_keys(units: tuple[str, ...]) -> list[str]:
    """The names of a block's units in C: those of their kinds, numbered where there are several of a kind."""
    return [kind if units.count(kind) == 1 else f"{kind}_{j}" for j, kind in enumerate(units)]


class Features(NamedTuple):
    """Values of a step: their place and how many they are."""

    place: str
    size: int


class Inputs(NamedTuple):
    """What the parts of a block read.

    Attributes:
        normed: the place of what its gate reads.
        seen: the place of what its units read; None where that is a letter alone.
    """

    normed: str
    seen: str | None


def _write_block(
    source: Source, name: str, block: Block, units: tuple[str, ...], clock: Features | None, letters: Tensor | None
) -> None:
    """A block; `letters` are what its units read for each letter, if they read nothing else."""
    H = block.project.out_features
    source.note(f"{name.replace('_', ' ')}: {' + '.join(units)}")
    tables = [letter_tables(unit, letters) for unit in block.layer.units]
    if block.is_residual:
        inputs = _write_inputs(source, name, block, clock, looks_up=all(table is not None for table in tables))
    else:
        inputs = _write_letter(source, block, clock)
    summed = block.layer.join == "sum" and len(units) > 1
    outputs: dict[str, tuple[States, int]] = {}
    for j, key in enumerate(unit_keys(units)):
        unit: Any = block.layer.units[j]
        step = step_data(unit)
        assert step is not None
        states = WRITERS[step.kind](source, f"{name}_{key}", step, Read(inputs.seen, tables[j]))
        if summed and packed_levels(step):
            states = states._replace(alpha=source.vector(f"{name}_{key}_alpha", step.values["alpha"]))
        outputs[key] = states, unit.hidden_size
    bias = source.vector(f"{name}_project_bias", _projected_bias(block, summed))
    if block.gate is None:
        source.call("add" if block.is_residual else "copy", "stream", bias, H)
        _project(source, f"{name}_project", block.project.weight, outputs, "stream", summed)
    else:
        gate, added = source.buffer("gate", H), source.buffer("added", H)
        _linear(source, gate, f"{name}_gate", block.gate, inputs.normed)
        source.call("sigmoids", gate, H)
        source.call("copy", added, bias, H)
        _project(source, f"{name}_project", block.project.weight, outputs, added, summed)
        source.call("multiply", added, gate, H)
        source.call("add", "stream", added, H)
    if block.mlp is not None:
        inner = block.mlp.fall.in_features
        values = source.buffer("gates", block.mlp.rise.out_features)
        normed = _norm(source, f"{name}_mlp_norm", block.mlp_norm, "stream", "normed", H)
        _linear(source, values, f"{name}_mlp_rise", block.mlp.rise, normed)
        source.call(block.mlp.kind, values, inner)
        source.call("add", "stream", source.vector(f"{name}_mlp_fall_bias", block.mlp.fall.bias), H)
        fall = source.matrix(f"{name}_mlp_fall", block.mlp.fall.weight)[""]
        source.call("add_product", "stream", fall, values, H, inner)


def _write_inputs(source: Source, name: str, block: Block, clock: Features | None, *, looks_up: bool) -> Inputs:
    """What comes before the units of a block: norm, convolution, and the clock beside them."""
    if looks_up and block.gate is None:
        return Inputs("stream", None)  # tables say what the norm would
    unit: Any = block.layer.units[0]
    H, M = block.project.out_features, unit.input_size
    normed = seen = _norm(source, f"{name}_norm", block.norm, "stream", "normed", M)
    if block.conv is not None:
        seen = _convolved(source, f"{name}_conv", block.conv, normed, M)
    if clock is not None:
        if seen == "stream":
            normed = seen = source.buffer("normed", M)
            source.call("copy", seen, "stream", H)
        source.call("copy", f"{seen} + {H}", clock.place, clock.size)
    return Inputs(normed, seen)


def _write_letter(source: Source, block: Block, clock: Features | None) -> Inputs:
    """The letter alone; or, where a clock is beside it, as a one-hot vector."""
    if clock is None:
        return Inputs("x", None)
    unit: Any = block.layer.units[0]
    seen, V = source.buffer("letter", unit.input_size), unit.input_size - clock.size
    source.call("one_hot", seen, "x", V)
    source.call("copy", f"{seen} + {V}", clock.place, clock.size)
    return Inputs(seen, seen)


def _project(
    source: Source, name: str, weight: Tensor, outputs: dict[str, tuple[States, int]], added: str, summed: bool
) -> None:
    """Adds the projection of a layer's outputs.

    Where packed states have columns of their own, those of set bits and of ones are added up, without a product: a set
    bit is the width of a state's range, and the low end of it is in the bias.
    """
    H, joined_size = weight.shape
    if summed:
        joined = source.buffer("joined", joined_size)
        source.call("clear", joined, joined_size)
        for states, size in outputs.values():
            _add_values(source, joined, states, size)
        source.call("add_product", added, source.matrix(name, weight)[""], joined, H, joined_size)
        return
    parts, start = {}, 0
    for key, (_, size) in outputs.items():
        parts[key if len(outputs) > 1 else ""] = slice(start, start + size)
        start += size
    for place, (states, size) in zip(source.matrix(name, weight, parts).values(), outputs.values(), strict=True):
        if states.kind == "values":
            source.call("add_product", added, place, states.place, H, size)
            continue
        indices = source.buffer("indices", size // states.num_states, "uint16_t")
        source.step.append(f"count = {_listed(indices, states, size)};")
        source.call("add_columns", added, place, indices, source.buffer("count", 0, "int"), H, size)
        if states.start is not None:
            values = source.buffer("joined", size)
            source.step += [
                f"if (!all_set({states.written}, {size})) {{",
                f"    clear({values}, {size});",
                f"    add_start({values}, {states.written}, {states.start}, {size});",
                f"    add_product({added}, {place}, {values}, {H}, {size});",
                "}",
            ]


def _listed(indices: str, states: States, size: int) -> str:
    """The call that lists which columns are added."""
    if states.kind == "places":
        return f"list_ones({indices}, {states.place}, {size // states.num_states}, {states.num_states})"
    return f"list_set({indices}, {states.place}, {size})"


def _projected_bias(block: Block, summed: bool) -> Tensor:
    """The bias of the projection, plus what the low states of packed units add."""
    bias = block.project.bias.double()
    start = 0
    unit: Any
    for unit in block.layer.units:
        columns = slice(start, start + unit.hidden_size)
        start = columns.stop
        step = step_data(unit)
        levels = packed_levels(step)
        if not summed and step is not None and levels is not None and levels.low != 0:
            low = levels.low * step.values["alpha"].double()
            bias = bias + block.project.weight[:, columns].double() @ low
    return bias.float()


def _add_values(source: Source, out: str, states: States, size: int) -> None:
    """Adds a unit's outputs."""
    if states.kind == "values":
        source.call("add", out, states.place, size)
        return
    if states.kind == "places":
        source.call("add_one_hot", out, states.place, size // states.num_states, states.num_states)
        return
    source.call("add_signs" if states.kind == "signs" else "add_ones", out, states.place, states.alpha, size)
    if states.start is not None:
        source.call("add_start", out, states.written, states.start, size)


def _norm(source: Source, name: str, norm: Any, x: str, out: str, room: int) -> str:
    """The place of the normed values: a buffer, or that of `x` if there is no norm."""
    if isinstance(norm, nn.Identity):
        return x
    out = source.buffer(out, room)
    scale = source.vector(f"{name}_scale", norm.weight)
    if isinstance(norm, nn.LayerNorm):
        source.call("layer_norm", out, x, scale, source.vector(f"{name}_shift", norm.bias), norm.weight.shape[0])
    else:
        source.call("rms_norm", out, x, scale, norm.weight.shape[0])
    return out


def _convolved(source: Source, name: str, conv: CausalConv1d, x: str, room: int) -> str:
    """The place of the outputs of a convolution, whose window is a part of the state."""
    size, taps = conv.hidden_size, conv.recurrence.taps
    out = source.buffer("convolved", room)
    window = source.field(f"{name}_window", "float", (taps - 1) * size, f"the last {taps - 1} inputs, the oldest first")
    source.call_at_start("clear", window, (taps - 1) * size)
    source.call("convolve", out, window, x, source.vector(f"{name}_weight", conv._params("_l0")["weight"]), size, taps)
    return out


def _linear(source: Source, out: str, name: str, layer: nn.Linear, x: str) -> None:
    source.call("copy", out, source.vector(f"{name}_bias", layer.bias), layer.out_features)
    source.call("add_product", out, source.matrix(name, layer.weight)[""], x, layer.out_features, layer.in_features)
