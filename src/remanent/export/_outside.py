"""A C module whose constants lie outside of it, so that one compiled library runs all models of an architecture."""

import re

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from remanent.export._native import program_for
from remanent.export._source import Source, member

TILE = 16
"""The rows of a tile in which a matrix lies, column by column: their sums are added up side by side."""
NAME = "model"
"""What the module's functions and types begin with."""
IN_TILES = {"add_product": "add_tiles", "add_columns": "add_tile_columns"}
"""The helpers that read a whole matrix to those that read it in tiles, with the same bits."""


class OutsideSource(Source):
    """A module with float32 weights that is given its constants, one block of memory, at each call.

    Its sums are those of `Source`, term by term, so that its results have the bits of the exported C.
    """

    def __init__(self) -> None:
        super().__init__("float32")
        self.helper_files = ("common", "float32", "native")
        self._blocks: list[np.ndarray] = []
        self._places: dict[str, tuple[str, int]] = {}
        self._matrices: dict[str, Tensor] = {}
        self._room = 0

    @property
    def constants(self) -> np.ndarray:
        """The block of memory, float32."""
        return np.concatenate([np.zeros(0, np.float32), *self._blocks])

    def vector(self, name: str, values: Tensor) -> str:
        """Numbers of float32, and the name under which C finds them."""
        self._keep("float", name, values.detach().float().flatten().numpy())
        return name

    def table(self, name: str, values: Tensor) -> str:
        """Bytes, and the name under which C finds them."""
        data = values.flatten().to(torch.uint8).numpy().tobytes()
        self._keep("uint8_t", name, np.frombuffer(data + bytes(-len(data) % 4), np.float32))
        return name

    def matrix(self, name: str, weight: Tensor, parts: dict[str, slice] | None = None) -> dict[str, str]:
        """See `Source`; where it lies is decided when all is written."""
        places = {}
        for part, columns in (parts or {"": slice(None)}).items():
            place = f"{name}_{part}_weight" if part else f"{name}_weight"
            self._matrices[place], places[part] = weight.detach()[:, columns], place
        return places

    def module(self, tokens: bool, sizes: dict[str, int]) -> str:
        """The text of the module, in one file; `sizes` are `INPUT_SIZE` and `OUTPUT_SIZE`."""
        self.step = [self._in_tiles(line) for line in self.step]
        for place, weight in self._matrices.items():
            if any(re.search(rf"\b{place}\b", line) for line in (*self.init, *self.step)):
                self.vector(place, weight)
        self.init = [*self._declared(self.init), *self.init]
        self.step = [*self._declared(self.step), *self.step]
        x = "uint32_t x" if tokens else "const float *x"
        text = self.code(NAME, "a model whose constants are given", x)
        head = [
            "#include <stdint.h>",
            *(f"#define {NAME.upper()}_{key} {value}" for key, value in sizes.items()),
            "",
            "typedef struct {",
            *(f"    {member(field)}" for field in self.sorted_fields),
            f"}} {NAME}_state;",
        ]
        changes = {
            f'#include "{NAME}.h"': "\n".join(head),
            f"void {NAME}_init({NAME}_state *state)": (
                f"static void {NAME}_init({NAME}_state *state, const float *given)"
            ),
            f"void {NAME}_step({NAME}_state *state, {x}, float y[{NAME.upper()}_OUTPUT_SIZE])": (
                f"static void {NAME}_step({NAME}_state *state, {x}, float *y, const float *given)"
            ),
        }
        for before, after in changes.items():
            assert text.count(before) == 1
            text = text.replace(before, after)
        run = program_for(NAME, "streams.c")
        inputs = {"INPUT_TYPE": "int64_t", "GIVEN_INPUT": "(uint32_t)*x", "INPUT_STEP": "1"}
        if not tokens:
            inputs = {"INPUT_TYPE": "float", "GIVEN_INPUT": "x", "INPUT_STEP": str(sizes["INPUT_SIZE"])}
        for word, value in inputs.items():
            run = run.replace(word, value)
        return text + run

    def _in_tiles(self, line: str) -> str:
        """A line of C in which products of whole matrices read these in tiles."""

        def tiled(found: re.Match[str]) -> str:
            function, out, space, place = found.groups()
            if place not in self._matrices:
                return found[0]
            name = f"{place}_tiles"
            if name not in self._places:
                self._keep("float", name, _tiles(self._matrices[place]))
            return f"{IN_TILES[function]}({out},{space}{name},"

        return re.sub(rf"\b({'|'.join(IN_TILES)})\(([^,]+),(\s+)(\w+),", tiled, line)

    def _keep(self, kind: str, name: str, values: np.ndarray) -> None:
        self._places[name] = kind, self._room
        self._blocks.append(values)
        self._room += len(values)

    def _declared(self, lines: list[str]) -> list[str]:
        """The declarations of the constants that some lines of C read."""
        words = set(re.findall(r"\w+", "\n".join(lines)))
        return [
            f"const {kind} *const {name} = (const {kind} *)(given + {place});"
            for name, (kind, place) in self._places.items()
            if name in words
        ]


def _tiles(weight: Tensor) -> np.ndarray:
    """A matrix in tiles of 16 rows, the last one filled up with zeros, each column by column."""
    rows, columns = weight.shape
    filled = F.pad(weight.float(), (0, 0, 0, -rows % TILE))
    tiles: np.ndarray = filled.view(-1, TILE, columns).transpose(1, 2).contiguous().flatten().numpy()
    return tiles
