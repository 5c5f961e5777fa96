"""One self-contained HTML page of tables, figures and sentences, which works offline."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from remanent._files import figure_bytes, write_whole
from remanent.report.score_tables import Cell

PARTS = files("remanent.report") / "page_parts"


@dataclass(frozen=True)
class Table:
    """A table of text; a `Cell` may be marked as the best of its column."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]

    @property
    def cells(self) -> list[list[Cell]]:
        """The rows, with every text as a cell."""
        return [[Cell(cell) if isinstance(cell, str) else cell for cell in row] for row in self.rows]


@dataclass(frozen=True)
class Picture:
    """A figure, its caption, and a text that says what it shows to readers who cannot see it."""

    figure: Figure
    caption: str
    alt: str

    @property
    def width(self) -> int:
        """The width of the figure on the page, in pixels."""
        return round(96 * self.figure.get_figwidth())

    @property
    def svg(self) -> str:
        """The figure as SVG in base64; the same figure gives the same text."""
        return base64.b64encode(figure_bytes(self.figure, "svg")).decode()


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        paragraphs: its text.
        tables: its tables, below the text.
        figures: its figures, side by side where there is room.
        folded: texts that open on a click, each with its name.
    """

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Picture] = ()
    folded: Sequence[tuple[str, str]] = ()


def write_page(path: Path, *, title: str, summary: str, sections: Sequence[Section], footer: str) -> None:
    """Writes the page into a file that must not exist yet; it is there whole or not at all.

    Args:
        path: the file.
        title: the title of the page.
        summary: the most important sentence, which stands below the title.
        sections: the parts of the page, in order; an interactive latch follows them.
        footer: a text about how the page was made.

    Raises:
        FileExistsError: the file exists.
        OSError: it cannot be written.
    """
    if path.exists():
        raise FileExistsError(f"`path` must not exist yet, got {path}")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(_part("report.html"))
    page = template.render(
        title=title,
        summary=summary,
        sections=sections,
        footer=footer,
        style=_part("report.css") + _part("latch.css"),
        latch=_part("latch.html"),
        script=_part("latch.js"),
    )
    write_whole(path, page.encode(), new=True)


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")
