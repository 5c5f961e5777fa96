"""C99: a model as one `.c` and one `.h`, a step at a time, compared with torch before anything is written."""

import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from remanent._files import write_whole
from remanent._options import check_choice
from remanent.export._blocks import write_model
from remanent.export._classify import check_class_names, named_inputs, write_classify
from remanent.export._compare import Check, difference, inputs, judge
from remanent.export._fold import fold_states, in_bytes, step_data
from remanent.export._native import StepTime, check_new, find_compiler, run_native, time_native
from remanent.export._source import WEIGHTS, Source
from remanent.export._units import WRITERS
from remanent.models import SequenceModel
from remanent.units import UNITS, Recurrence, recurrence_of

SEQUENCES = (8, 200)
"""B and T of the sequences that the module is compared on."""
TOLERANCE = 1e-4
"""How far an output may be from torch's, relative to the larger of 1 and the largest output."""
RESERVED = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
alignas alignof and and_eq asm bitand bitor bool catch char8_t char16_t char32_t class co_await co_return co_yield compl
concept const_cast consteval constexpr constinit decltype delete dynamic_cast explicit export false friend mutable
namespace new noexcept not not_eq nullptr operator or or_eq private protected public reinterpret_cast requires
static_assert static_cast template this thread_local throw true try typeid typename typeof using virtual wchar_t xor
xor_eq
main
"""
"""The words of C and C++, and the name of the program's start, that no name may be."""
FILES = """
assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbit
stdbool stdckdint stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
chip data empty harness
aux con nul prn
"""
"""The headers of C, the files beside which a module is compiled, and files that Windows has not, in small letters."""


class Module(NamedTuple):
    """A model in C.

    Attributes:
        name: what its files, functions and types begin with.
        sources: the text of `NAME.c` and `NAME.h`, by their names.
        model: what it computes, as a model of torch: with int8 weights, that of these weights.
        state_type: the layout of the state, by which bytes that C wrote can be read.
        weight_bytes: the size of all constants.
        check: the comparison with torch; None where there is no C compiler.
        class_names: what `NAME_classify` gives; none for a module without it.
    """

    name: str
    sources: dict[str, str]
    model: SequenceModel
    state_type: np.dtype
    weight_bytes: int
    check: Check | None
    class_names: tuple[str, ...] = ()

    @property
    def state_bytes(self) -> int:
        """The size of the state of one stream."""
        return self.state_type.itemsize

    def __repr__(self) -> str:
        """The name and the sizes, without the sources and the weights."""
        files, compared = " and ".join(self.sources), "not compared" if self.check is None else "compared with torch"
        sizes = f"{self.weight_bytes:,} bytes of weights, {self.state_bytes:,} bytes of state"
        return f"<Module {self.name}: {files}, {sizes}, {compared}>"


def export_c(
    model: SequenceModel,
    folder: str | Path,
    *,
    name: str = "model",
    weights: str = "float32",
    class_names: Sequence[str] | None = None,
) -> Module:
    """Writes `NAME.c` and `NAME.h`: see `write_c` for what they hold.

    Args:
        model: a trained model of float32, on the CPU.
        folder: where the files go; made if need be.
        name: a C identifier.
        weights: "float32" or "int8".
        class_names: a name for each output, for `NAME_classify`; None for those that the model keeps.

    Returns:
        What was written.

    Raises:
        FileExistsError: a file is there already.
        ValueError: an argument that `write_c` rejects.
        RuntimeError: the module differs from torch, or does not compile; nothing was written.
    """
    check_name(name)
    folder = Path(folder)
    for ending in (".c", ".h"):
        check_new(folder / f"{name}{ending}")
    module = write_c(model, name=name, weights=weights, class_names=class_names)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in module.sources.items():
        write_whole(folder / file, text.encode(), new=True)
    return module


def write_c(
    model: SequenceModel,
    *,
    name: str = "model",
    weights: str = "float32",
    class_names: Sequence[str] | None = None,
) -> Module:
    """A model in C99: `NAME_init` starts a stream, `NAME_step` takes a step; nothing is allocated.

    States of BMRU and FQ-BMRU are bits, and the map after them adds and subtracts weights, without a product. (Where
    a BMRU starts at zeros, or either as learned, another bit per channel records whether it has been written; with
    `initial_state` "low" one is enough.) The state of an MRU is a byte for each tracer; in the first block, where the
    input is a token alone, its tables are bytes as well, and no logit is computed. Matrices of "int8" have a scale for
    each row; all else is float32.

    The header names the inputs and the classes that the model has names for.

    If there is a C compiler, the module is compiled and compared with torch.

    Args:
        model: a trained model of float32, on the CPU, of BMRU, FQ-BMRU, CMRU, alpha BMRU, alpha CMRU, MRU, minGRU and
            LRU.
        name: a C identifier.
        weights: "float32" or "int8".
        class_names: a different name for each output, in their order; `NAME_classify` then takes a step and gives the
            name of the class with the largest output. None for those that the model keeps, of which there are none
            where outputs are values.

    Returns:
        The module.

    Raises:
        ValueError: a unit has no C, or the `epsilon` of an MRU is above 0; the model is bidirectional, not of float32
            on the CPU, or holds values that are not finite; `name` is no identifier; `weights` is unknown;
            `class_names` are not those of the outputs.
        RuntimeError: the module differs from torch, or does not compile.
    """
    check_name(name)
    check_choice("weights", weights, WEIGHTS)
    class_names = model.names.classes if class_names is None else tuple(class_names)
    check_class_names(class_names, model.config)
    check_model(model)
    model = fold_states(model)
    if weights == "int8":
        model = in_bytes(model)
    source = Source(weights)
    with torch.no_grad():
        write_model(source, model)
    config = model.config
    tokens = config.reads_tokens
    x = "uint32_t x" if tokens else f"const float x[{name.upper()}_INPUT_SIZE]"
    if class_names:
        write_classify(source, name, class_names, x)
    sizes = {
        "INPUT_SIZE": config.input_size,
        "OUTPUT_SIZE": config.output_size,
        "WEIGHT_BYTES": source.constant_bytes,
        "STATE_BYTES": source.state_type.itemsize,
    }
    if tokens:
        sizes["TOKENS"] = 1
    sources = {
        f"{name}.c": source.code(name, _about(model, name, weights), x),
        f"{name}.h": source.header(name, _usage(model, name, weights), sizes, x),
    }
    module = Module(name, sources, model, source.state_type, source.constant_bytes, None, class_names)
    return module if find_compiler() is None else module._replace(check=_compare(module))


def check_name(name: str) -> None:
    """Raises a ValueError unless the files, functions and types of a module may begin with a name."""
    fits = isinstance(name, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)
    if not fits or name in RESERVED.split() or name.lower() in FILES.split():
        rule = "be a C identifier: a letter, then letters, digits and underscores, and no word of C or its library"
        raise ValueError(f"`name` must {rule}, got {name!r}")


def check_model(model: SequenceModel) -> None:
    """Raises a ValueError unless C can be written for a model."""
    if model.config.bidirectional:
        raise ValueError("`model` must have one direction to be written in C, got a bidirectional one")
    for names, block in zip(model.config.layers, model.blocks, strict=True):
        for name, unit in zip(names, block.layer.units, strict=True):  # type: ignore[union-attr, arg-type]
            step = step_data(unit)
            if step is None or step.kind not in WRITERS:
                found = name if step is None else f"{name}, whose step is of the kind {step.kind!r}"
                raise ValueError(f"`unit` must be made of {', '.join(units_with_c())} for C, got {found}")
            if step.kind == "transition" and step.values["epsilon"] > 0:
                raise ValueError(f"`epsilon` must be 0 for {name} in C, got {step.values['epsilon']:g}")
    weight = model.head.weight
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        raise ValueError(f"`model` must be of float32 on the CPU, got {weight.dtype} on {weight.device}")
    for key, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            raise ValueError(f"`model` must hold finite weights, got another in {key}")


def units_with_c() -> list[str]:
    """The units of `UNITS` that C can be written for."""
    return [name for name in UNITS if recurrence_of(name).step_data is not Recurrence.step_data]


def _about(model: SequenceModel, name: str, weights: str) -> str:
    config = model.config
    kinds = ", ".join(" + ".join(names) for names in config.layers)
    blocks = f"{config.num_layers} block{'s' if config.num_layers > 1 else ''} of width {config.hidden_size}"
    return f"{name}: {blocks} ({kinds}), {weights} weights"


def _usage(model: SequenceModel, name: str, weights: str) -> str:
    upper, tokens = name.upper(), model.config.reads_tokens
    step = f"x is a token below {upper}_INPUT_SIZE" if tokens else f"x holds {upper}_INPUT_SIZE values"
    made = version("remanent")
    return "\n".join(
        [
            f"{_about(model, name, weights)}. Written by remanent {made}.",
            "",
            f"Each stream has its own {name}_state, which {name}_init starts. {name}_step takes a step:",
            f"{step}; y is filled with {upper}_OUTPUT_SIZE values.",
            "Nothing is allocated, and every step costs the same.",
            *named_inputs(model),
        ]
    )


def _compare(module: Module) -> Check:
    B, T = SEQUENCES
    x = inputs(module.model, B, T)
    found = run_module(module, [sequence.numpy() for sequence in x])
    expected = step_outputs(module.model, x)
    y = np.stack([outputs for outputs, _ in found])
    largest = difference(f"{module.name}.c", y, expected, axis=0)
    return judge(module.model, f"{module.name}.c", largest, B * T, TOLERANCE)


def run_module(
    module: Module, sequences: list[np.ndarray], flags: tuple[str, ...] | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """A module's outputs and states after every step of sequences, with this machine's C compiler."""
    size = module.model.config.output_size
    options = {} if flags is None else {"flags": flags}
    return run_native(module.name, module.sources, module.state_type, size, sequences, **options)


def time_step(module: Module) -> StepTime | None:
    """What a step of one stream takes on this machine, compiled as for the comparison; None without a C compiler.

    Args:
        module: as `write_c` gives it.

    Raises:
        RuntimeError: it does not compile or run.
    """
    if find_compiler() is None:
        return None
    return time_native(module.name, module.sources, inputs(module.model, 1, SEQUENCES[1])[0].numpy())


@torch.no_grad()
def step_outputs(model: SequenceModel, x: torch.Tensor) -> torch.Tensor:
    """A model's outputs after every step, (B, T, output_size), whatever its head reads."""
    if model.config.head == "every":
        return model(x)[0]
    outputs, state = [], None
    for x_t in x.unbind(1):
        y, state = model.step(x_t, state)
        outputs.append(y)
    return torch.stack(outputs, dim=1)
