"""A C module being written: its constants, its state, the lines of its functions, and the helpers that they call."""

import re
import textwrap
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from torch import Tensor

from remanent.models.imprecise import quantize_rows

WEIGHTS = ("float32", "int8")
"""How matrices can be stored."""
TYPES = {"double": np.float64, "float": np.float32, "uint32_t": np.uint32, "uint8_t": np.uint8}
"""C type to NumPy's; wider ones first, so that a struct in this order has gaps at its end alone."""
WIDTH = 110
"""The most characters of a line of C."""


class Field(NamedTuple):
    """A member of the state: an array of so many values, or one value if `size` is 0."""

    name: str
    type: str
    size: int
    what: str


class Source:
    """A module as far as it has been written.

    Args:
        weights: how matrices are stored, one of `WEIGHTS`.

    Attributes:
        init: the lines of the function that starts a stream.
        step: those of the function that takes a step.
        declared: what the header says of the functions and names beside these two.
        defined: the text of these.
    """

    def __init__(self, weights: str) -> None:
        self.weights = weights
        self.helper_files: tuple[str, ...] = ("common", weights)
        self.fields: list[Field] = []
        self.constant_bytes = 0
        self.init: list[str] = []
        self.step: list[str] = []
        self.declared: list[str] = []
        self.defined: list[str] = []
        self.buffers: dict[tuple[str, str], int] = {}
        self._constants: list[str] = []

    def vector(self, name: str, values: Tensor) -> str:
        """A constant array of float, and its name."""
        self._constant("float", name, [_float(v) for v in values.detach().flatten().tolist()], 4)
        return name

    def table(self, name: str, values: Tensor) -> str:
        """A constant array of bytes, and its name."""
        self._constant("uint8_t", name, [str(v) for v in values.flatten().tolist()], 1)
        return name

    def matrix(self, name: str, weight: Tensor, parts: dict[str, slice] | None = None) -> dict[str, str]:
        """A matrix as constants, cut into parts by columns where they are given.

        Returns:
            For each part, the arguments by which C finds it: its weights, and its scales where they are int8.
        """
        weight = weight.detach()
        after = ""
        if self.weights == "int8":
            weight, scale = quantize_rows(weight, 8)
            after = f", {self.vector(f'{name}_scale', scale)}"
        places = {}
        for part, columns in (parts or {"": slice(None)}).items():
            place = f"{name}_{part}_weight" if part else f"{name}_weight"
            if self.weights == "int8":
                self._constant("int8_t", place, [str(v) for v in weight[:, columns].flatten().tolist()], 1)
            else:
                self.vector(place, weight[:, columns])
            places[part] = place + after
        return places

    def field(self, name: str, kind: str, size: int, what: str) -> str:
        """A member of the state, and how C reaches it."""
        self.fields.append(Field(name, kind, size, what))
        return f"state->{name}"

    def buffer(self, name: str, size: int, kind: str = "float") -> str:
        """A local array in the step that has room for `size`; one value if 0."""
        self.buffers[kind, name] = max(size, self.buffers.get((kind, name), 0))
        return name

    def note(self, text: str) -> None:
        """A comment in the step, after a blank line."""
        self.step += ["", f"/* {text} */"]

    def call(self, function: str, *arguments: object) -> None:
        """A line of the step that calls a helper."""
        self.step.append(_call(function, arguments))

    def call_at_start(self, function: str, *arguments: object) -> None:
        """A line of `init` that calls a helper."""
        self.init.append(_call(function, arguments))

    @property
    def state_type(self) -> np.dtype:
        """The state's layout in memory."""
        shapes = [(f.name, TYPES[f.type], (f.size,) if f.size else ()) for f in self.sorted_fields]
        return np.dtype(shapes, align=True)

    @property
    def sorted_fields(self) -> list[Field]:
        """The members of the state, wider types first."""
        return sorted(self.fields, key=lambda f: list(TYPES).index(f.type))

    def header(self, name: str, about: str, sizes: dict[str, int], x: str) -> str:
        """The text of `NAME.h`."""
        upper = name.upper()
        width = max(len(key) for key in sizes)
        lines = [f"/* {line}".rstrip() if i == 0 else f" * {line}".rstrip() for i, line in enumerate(about.split("\n"))]
        members = [member(f) for f in self.sorted_fields]
        return "\n".join(
            [
                *lines,
                " */",
                f"#ifndef {upper}_H",
                f"#define {upper}_H",
                "",
                "#include <stdint.h>",
                "",
                *(f"#define {upper}_{key:<{width}} {value}" for key, value in sizes.items()),
                "",
                "#ifdef __cplusplus",
                'extern "C" {',
                "#endif",
                "",
                "typedef struct {",
                *(f"    {line}" for line in members),
                f"}} {name}_state;",
                "",
                "/* Starts a new stream. */",
                f"void {name}_init({name}_state *state);",
                "",
                "/* Takes the next step of a stream, and gives the model's output after it. */",
                f"void {name}_step({name}_state *state, {x}, float y[{upper}_OUTPUT_SIZE]);",
                "",
                *(f"{text}\n" for text in self.declared),
                "#ifdef __cplusplus",
                "}",
                "#endif",
                "",
                "#endif",
                "",
            ]
        )

    def code(self, name: str, about: str, x: str) -> str:
        """The text of `NAME.c`."""
        upper = name.upper()
        body = [
            f"{kind} {buffer}{f'[{size}]' if size else ''};" for (kind, buffer), size in self.buffers.items()
        ] + self.step
        helpers = _helpers(self.helper_files, "\n".join([*self.init, *self.step]))
        math = ["#include <math.h>"] if re.search(r"\b(expf|sqrtf|fabsf|erff|INFINITY)\b", "\n".join(helpers)) else []
        parts = [
            f"/* {about} */",
            "\n".join([f'#include "{name}.h"', *math]),
            "\n\n".join(self._constants),
            "\n\n".join(helpers),
            "\n".join([f"void {name}_init({name}_state *state)", "{", *_indented(self.init), "}"]),
            "\n".join(
                [
                    f"void {name}_step({name}_state *state, {x}, float y[{upper}_OUTPUT_SIZE])",
                    "{",
                    *_indented(body),
                    "}",
                ]
            ),
            *self.defined,
        ]
        return "\n\n".join(parts) + "\n"

    def _constant(self, kind: str, name: str, values: list[str], size: int) -> None:
        self.constant_bytes += size * len(values)
        lines, line = [], ""
        for value in values:
            if len(line) + len(value) + 2 > WIDTH:
                lines.append(line.rstrip())
                line = ""
            line += f"{value}, "
        body = "\n".join(f"    {line}" for line in [*lines, line.rstrip(", ")])
        self._constants.append(f"static const {kind} {name}[{len(values)}] = {{\n{body}\n}};")


def _float(value: float) -> str:
    """A float32 in the fewest digits that give it back, as C writes it."""
    text = str(np.float32(value))
    return f"{text}f" if any(sign in text for sign in ".e") else f"{text}.0f"


def _call(function: str, arguments: tuple[object, ...]) -> str:
    start = f"{function}("
    return textwrap.fill(f"{start}{', '.join(str(a) for a in arguments)});", WIDTH, subsequent_indent=" " * len(start))


def member(field: Field) -> str:
    """A member of the state as C declares it."""
    size = f"[{field.size}]" if field.size else ""
    return f"{field.type} {field.name}{size}; /* {field.what} */"


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}".rstrip() for line in "\n".join(lines).split("\n")]


def _helpers(places: tuple[str, ...], code: str) -> list[str]:
    """The text of the helpers that code calls, and of those that they call, in an order in which C knows them."""
    known = {name: text for file in places for name, text in _parts(file).items()}
    used: set[str] = set()
    waiting = [name for name in known if re.search(rf"\b{name}\(", code)]
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting += [other for other in known if other != name and re.search(rf"\b{other}\(", known[name])]
    return [text for name, text in known.items() if name in used]


@cache
def _parts(file: str) -> dict[str, str]:
    """The functions of a file of helpers by name, each with the comment before it."""
    text = files("remanent.export").joinpath("c_parts", f"{file}.c").read_text(encoding="utf-8")
    parts = re.split(r"\n\n(?=/\*|static )", text.strip())
    return {re.search(r"^static \w+ (\w+)\(", part, re.MULTILINE)[1]: part for part in parts}  # type: ignore[index]
