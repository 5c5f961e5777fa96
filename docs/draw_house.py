"""Draws the architecture for CONTRIBUTING.md: the parts of the package, and which of them use which.

python docs/draw_house.py    # docs/pictures/house.svg
"""

from html import escape
from pathlib import Path
from typing import NamedTuple

PICTURE = Path(__file__).parent / "pictures" / "house.svg"
WIDTH, HEIGHT = 760, 616
BOX_WIDTH, BOX_HEIGHT = 172, 54
COLUMN, ROW = 186, 84
LEFT, TOP = 15, 44


class Part(NamedTuple):
    """A part of the package.

    Args:
        column: its place from the left; a half lies between two.
        row: its place from above.
        holds: what is in it, in two lines.
    """

    column: float
    row: float
    holds: tuple[str, str]


PARTS = {
    "ops": Part(1, 0, ("scans and their kernels,", "tensors in and out")),
    "units": Part(1, 1, ("recurrent units, one family", "per file, and their cells")),
    "latches": Part(0, 2, ("epsilon, write rates and", "folding, in any module")),
    "models": Part(1, 2, ("blocks, hybrid, sequence", "model, sessions")),
    "tasks": Part(2, 2, ("data and metrics,", "without any model")),
    "analysis": Part(1, 3, ("measures of a unit", "or a trained model")),
    "records": Part(2, 3, ("configuration, identity", "and scores of a run")),
    "report": Part(3, 3, ("tables, figures, pages,", "from records alone")),
    "distributed": Part(3, 4, ("ranks, launcher,", "heartbeat")),
    "training": Part(2, 4, ("one training: recipes,", "run, checkpoints")),
    "sweep": Part(1, 5, ("grids, jobs, workers,", "storage")),
    "review": Part(2, 5, ("scores and pages of", "finished runs")),
    "export": Part(0, 4, ("ONNX, C99,", "the emulated chip")),
    "hub": Part(3, 5, ("cards of runs, and", "models uploaded")),
    "rl": Part(2, 6, ("agents: modules, worlds", "and their training")),
    "bench": Part(0, 5, ("speed and memory", "beside other packages")),
    "demo": Part(1, 6, ("two small grids", "with a page each")),
    "cli": Part(0, 6, ("parses and calls;", "one command per file")),
}
"""Every folder and public module of the package."""
ARROWS = (
    ("ops", "units"),
    ("units", "latches"),
    ("units", "models"),
    ("latches", "export"),
    ("latches", "analysis"),
    ("models", "analysis"),
    ("models", "records"),
    ("models", "export"),
    ("tasks", "records"),
    ("records", "report"),
    ("records", "training"),
    ("analysis", "training"),
    ("report", "training"),
    ("distributed", "training"),
    ("training", "sweep"),
    ("training", "review"),
    ("training", "hub"),
    ("export", "bench"),
    ("sweep", "demo"),
    ("review", "demo"),
    ("bench", "cli"),
    ("demo", "cli"),
)
"""The main ways of use, from the used to the user; a part may use any part above it."""
STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #333; }
.name { font: bold 15px ui-monospace, Menlo, Consolas, monospace; fill: #111; }
.box { fill: #fff; stroke: #8a8f98; stroke-width: 1.2; }
.arrow { fill: none; stroke: #4b6a9b; stroke-width: 1.6; marker-end: url(#head); }
"""


def main() -> None:
    """Writes the picture."""
    PICTURE.write_text(picture())


def picture() -> str:
    """The picture as SVG."""
    title = "Parts of the package: data flows downwards, and a part imports only from parts above it."
    head = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
        f'<defs>{head}<path d="M0 0 L8 4 L0 8 Z" fill="#4b6a9b"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#f6f7f9"/>',
        f'<text x="{LEFT}" y="26">An arrow leads from a part to one that uses it. No arrow leads upwards.</text>',
        *(_arrow(*pair) for pair in ARROWS),
        *(_box(name, part) for name, part in PARTS.items()),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _corner(part: Part) -> tuple[float, float]:
    return LEFT + part.column * COLUMN, TOP + part.row * ROW


def _box(name: str, part: Part) -> str:
    x, y = _corner(part)
    texts = [("name", name, 18), *(("", words, 34 + 14 * i) for i, words in enumerate(part.holds))]
    lines = [f'<text class="{kind}" x="{x + 10}" y="{y + down}">{escape(said)}</text>' for kind, said, down in texts]
    return f'<rect class="box" x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>{"".join(lines)}'


def _arrow(used: str, user: str) -> str:
    """From the edge of one box to that of another: along a row, or downwards."""
    (x, y), (to_x, to_y) = (_corner(PARTS[name]) for name in (used, user))
    if y == to_y:
        side = y + BOX_HEIGHT / 2
        begin, end = (x, to_x + BOX_WIDTH) if x > to_x else (x + BOX_WIDTH, to_x)
        return f'<path class="arrow" d="M{begin} {side} L{end} {side}"/>'
    middle = BOX_WIDTH / 2
    aside = max(-1, min(1, (x - to_x) / COLUMN))  # arrows that come from different sides end apart
    if to_y - y > ROW:  # past a row: from the side, around the box below
        begin = f"{x if x > to_x else x + BOX_WIDTH} {y + BOX_HEIGHT / 2}"
    else:
        begin = f"{x + middle - aside * 40} {y + BOX_HEIGHT}"
    return f'<path class="arrow" d="M{begin} L{to_x + middle + aside * 40} {to_y}"/>'


if __name__ == "__main__":
    main()
