"""Writes the tables of speed.md, and the pictures beside it, from the results files of the bench.

python docs/draw_speed.py [--results FOLDER] [--page PAGE]    # results/, docs/speed.md, docs/pictures/speed/
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from remanent._files import replace_between, write_whole
from remanent.bench.sections import draw_section
from remanent.bench.timing import Row

ROOT = Path(__file__).parents[1]
SCANS = {"latch_scan": "`latch_scan`", "linear_scan": "`linear_scan`"} | {
    "mambapy pscan": "mambapy, pscan",
    "minGRU-pytorch heinsen scan": "minGRU-pytorch, scan in log space",
    "torch associative_scan": "torch, associative_scan",
    "jax associative_scan": "jax.lax.associative_scan, jitted",
    "jax scan": "jax.lax.scan, jitted",
    "Python loop": "a Python loop",
}
"""Cases of the section "scans" to what the table calls them."""
FLOORS = {
    "latch forward": "latch, forward",
    "latch both": "latch, forward and backward",
    "linear forward": "linear scan, forward",
    "linear both": "linear scan, forward and backward",
}
"""The same of the section "floor"."""
LAYERS = {
    "nn.Linear(M, 2 D)": "`nn.Linear(256, 512)` alone",
    **{name: f"`{name}`" for name in ("BMRU", "FQBMRU", "MinGRU", "LRU")},
    "minGRU-pytorch minGRU": "minGRU-pytorch, minGRU",
    "nn.LSTM": "`nn.LSTM`",
    "nn.GRU": "`nn.GRU`",
}
"""The same of the section "layers"."""
CELLS = ("nn.GRUCell", "BMRUCell", "CMRUCell", "MRUCell", "MinGRUCell", "FQBMRUCell", "LRUCell")
"""The cells of the section "step" that the table has."""
STEPS = {
    "model.step": "`model.step`",
    "session": "`session.push`",
    "native session": '`session.push`, `engine="native"`',
    "onnxruntime": "onnxruntime",
}
"""The forms of a model there, to what the table calls them."""
STEP_UNITS = ("bmru", "lru", "bmru+lru")
"""The units of the models there."""
PRODUCTS, COMPILED = " products", " compiled"
"""How the section "model" names the cases of a model beside the model itself."""
DECIMALS = {"over linear_scan": 1}
"""The decimals of a ratio that is not written with two."""


FIGURES = (("bench", "length"), ("bench", "streaming"), ("bench-model", "model"))
"""The folders of results and the sections in them that are drawn."""


class Results:
    """The rows of one section of a results file, by case and shape.

    Args:
        path: the file.
        section: the section.
    """

    def __init__(self, path: Path, section: str) -> None:
        self.found = json.loads(path.read_text())
        self.rows = [row for row in self.found["rows"] if row["section"] == section]
        self.cases = list(dict.fromkeys(row["case"] for row in self.rows))

    def shapes(self, case: str) -> list[dict[str, int]]:
        """The shapes of a case, in their order."""
        return [row["shape"] for row in self.rows if row["case"] == case]

    def row(self, case: str, shape: dict[str, int]) -> dict[str, Any]:
        """The row of a case at a shape."""
        return next(row for row in self.rows if row["case"] == case and row["shape"] == shape)


def main() -> None:
    """Writes what stands between the page's marks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "speed.md")
    options = parser.parse_args()
    text = options.page.read_text()
    for name, (folder, section, draw) in TABLES.items():
        table = draw(Results(options.results / folder / "bench.json", section))
        text = replace_between(text, f"<!-- begin {name} -->", f"<!-- end {name} -->", table, options.page)
    write_whole(options.page, text.encode())
    pictures = options.page.parent / "pictures" / "speed"
    pictures.mkdir(parents=True, exist_ok=True)
    for folder, section in FIGURES:
        rows = Results(options.results / folder / "bench.json", section).rows
        draw_section(pictures, section, [Row(**row) for row in rows])


def floor_table(results: Results) -> str:
    """The share of a copy's speed that each scan reaches, in %."""
    shapes = results.shapes("copy_")
    lines = []
    for case, said in FLOORS.items():
        lines.append([said, *(f"{100 * results.row(case, shape)['floor_ratio']:.0f}" for shape in shapes)])
    return _table(["(B, T, D)", *(_sizes(shape, "BTD") for shape in shapes)], lines)


def scans_table(results: Results) -> str:
    """Both passes of every scan in ms, with how many times ours each takes."""
    shapes = results.shapes("linear_scan")
    lines = []
    for case, said in SCANS.items():
        ratio = "" if case.startswith(("latch", "linear")) else "over linear_scan"
        lines.append([said, *(_milliseconds(results.row(case, shape), ratio) for shape in shapes)])
    return _table(["(B, T, D)", *(_sizes(shape, "BTD") for shape in shapes)], lines)


def layers_table(results: Results) -> str:
    """Both passes of every layer in ms, as the first of a model and as a later one."""
    shapes = results.shapes("nn.GRU")
    heads = [f"{'first' if shape['first'] else 'later'}, T = {shape['T']:,}" for shape in shapes]
    lines = [[said, *(_milliseconds(results.row(case, shape)) for shape in shapes)] for case, said in LAYERS.items()]
    return _table(["", *heads], lines)


def cells_table(results: Results) -> str:
    """A step of every cell in microseconds."""
    shapes = results.shapes("nn.GRUCell")
    lines = []
    for cell in CELLS:
        ratio = "" if cell == "nn.GRUCell" else "over nn.GRUCell"
        lines.append([f"`{cell}`", *(_microseconds(results.row(cell, shape), ratio) for shape in shapes)])
    return _table(["cell", *(f"B = {shape['B']}" for shape in shapes)], lines)


def steps_table(results: Results) -> str:
    """A step of models in all their forms in microseconds, at a batch of 1."""
    shape = results.shapes(f"{STEP_UNITS[0]} model.step")[0]
    lines = []
    for form, said in STEPS.items():
        ratio = "" if form == "onnxruntime" else "over onnxruntime"
        lines.append([said, *(_microseconds(results.row(f"{unit} {form}", shape), ratio) for unit in STEP_UNITS)])
    return _table([f"two blocks, B = {shape['B']}", *(f"`{unit}`" for unit in STEP_UNITS)], lines)


def models_table(results: Results) -> str:
    """The training steps of our models, with the ratios to their products; what made them below."""
    ours = [case for case in results.cases if case + PRODUCTS in results.cases]
    shapes = results.shapes(ours[0])
    lines = []
    for name in ours:
        both = [results.row(case, shape) for shape in shapes for case in (name, name + COMPILED)]
        lines.append(
            [f"`{name}`", _parameters(results, name), *(_milliseconds(row, "over its products") for row in both)]
        )
    heads = [head for shape in shapes for head in (_sizes(shape, "BT"), "compiled")]
    found = results.found
    seconds = [row["compile_seconds"] for row in results.rows if row["compile_seconds"] is not None]
    return _table(["(B, T)", "parameters", *heads], lines) + (
        f"\nBy `{found['command']}`: {found['cpu']}, {found['cores']} cores, torch {found['versions']['torch']}. "
        f"The first step of a compiled model took {min(seconds):.0f} to {max(seconds):.0f} s.\n"
    )


def others_table(results: Results) -> str:
    """The training steps of models of other packages, with the ratios to ours."""
    ours = [case for case in results.cases if case + PRODUCTS in results.cases]
    own = {unit + form for unit in ours for form in ("", PRODUCTS, COMPILED)}
    shapes = results.shapes(ours[0])
    lines = []
    for name in results.cases:
        if name not in own:
            known = [results.row(name, shape) if shape in results.shapes(name) else None for shape in shapes]
            cells = ["" if row is None else _milliseconds(row, f"over {ours[0]}") for row in known]
            lines.append([name.replace(COMPILED, ", compiled"), _parameters(results, name), *cells])
    return _table(["(B, T)", "parameters", *(_sizes(shape, "BT") for shape in shapes)], lines)


def replay_table(results: Results) -> str:
    """How many times as long as each case the recurrent modules of TorchRL take."""
    (shape,) = results.shapes("GRUModule")
    heads = {name: f"`{name}` over it" for name in ("GRUModule", "LSTMModule")}
    lines = []
    for case in results.cases:
        ratios = results.row(case, shape)["ratios"]
        name, _, scan = case.partition(" ")
        cells = (f"{ratios[f'{peer} over it']:.1f}" for peer in heads)
        lines.append([f"`{name}`" + (", its scan" if scan else ""), *cells])
    return _table(["", *heads.values()], lines)


TABLES = {
    "floor": ("bench", "floor", floor_table),
    "scans": ("bench", "scans", scans_table),
    "layers": ("bench", "layers", layers_table),
    "cells": ("bench-step", "step", cells_table),
    "steps": ("bench-step", "step", steps_table),
    "models": ("bench-model", "model", models_table),
    "others": ("bench-model", "model", others_table),
    "replay": ("bench-replay", "replay", replay_table),
}
"""For each mark of the page: the folder of results, the section, and the function that writes the table."""


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, whose numbers are on the right."""
    rows = [heads, *lines]
    written = [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows]
    return "\n".join([written[0], "|---|" + "--:|" * (len(heads) - 1), *written[1:], ""])


def _sizes(shape: dict[str, int], axes: str) -> str:
    return ", ".join(f"{shape[axis]:,}" for axis in axes)


def _parameters(results: Results, case: str) -> str:
    count = next((row["parameters"] for row in results.rows if row["case"] == case and row["parameters"]), None)
    return "" if count is None else f"{count:,}"


def _milliseconds(row: dict[str, Any], ratio: str = "") -> str:
    """The median in ms, with a ratio of the row if one is named; or a word that says why there is none."""
    if row["median"] is None:
        return "inexact" if " off by " in row["status"] else row["status"].partition(":")[0]
    time = 1e3 * row["median"]
    return (f"{time:,.0f}" if time >= 99.95 else f"{time:.1f}") + _in_brackets(row, ratio)


def _microseconds(row: dict[str, Any], ratio: str) -> str:
    if row["median"] is None:
        return str(row["status"].partition(":")[0])
    return f"{1e6 * row['median']:,.0f}" + _in_brackets(row, ratio)


def _in_brackets(row: dict[str, Any], ratio: str) -> str:
    if ratio not in row["ratios"]:
        return ""
    return f" ({row['ratios'][ratio]:.{DECIMALS.get(ratio, 2)}f})"


if __name__ == "__main__":
    main()
