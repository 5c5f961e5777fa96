"""Names in figures: written as they are, in lines that fit, with a legend that is never cut."""

import textwrap

from matplotlib.artist import Artist
from matplotlib.axes import Axes

NAME, TITLE = 40, 50
"""The most characters in a line of a name and of a title."""
SHORTEST, LINE = 30, 0.2
"""The fewest characters in a line of a title that is too long, and the height of a line, in inches."""
PLOT, MARGIN = 5.2, 0.4
"""The width that is left for axes beside a legend, and the height around it, in inches."""


def written(text: str, width: int = NAME) -> str:
    r"""A text for matplotlib, which would read formulas between dollars and leave out a name that begins with _.

    >>> written("a $b$"), written("_private"), written("bmru (model.hidden_size=8)", 20)
    ('a \\$b\\$', ' _private', 'bmru\n(model.hidden_size=8\n)')
    """
    whole = textwrap.wrap(text, width, break_long_words=False)  # a word begins on a line of its own before it is broken
    lines = "\n".join(line for words in whole for line in textwrap.wrap(words, width)).replace("$", r"\$")
    return f" {lines}" if lines.startswith("_") else lines


def title(axes: Axes, text: str, pad: float = 6.0) -> None:
    """Writes a title above the axes, for which the figure grows where it has several lines."""
    figure = axes.figure
    width, height = figure.get_size_inches()  # type: ignore[union-attr]
    lines = written(text, max(SHORTEST, round(TITLE * width / 8)))
    figure.set_size_inches(width, height + LINE * lines.count("\n"))  # type: ignore[union-attr]
    axes.set_title(lines, pad=pad)


def legend(axes: Axes, handles: list[Artist] | None = None) -> None:
    """Draws a legend beside the axes, for which the figure grows where names are long or many.

    Args:
        axes: the only axes of a figure with a constrained layout.
        handles: what is shown, in this order; None for all that has a label.
    """
    figure = axes.figure
    handles = axes.get_legend_handles_labels()[0] if handles is None else handles
    names = [str(handle.get_label()) for handle in handles]
    options = {"frameon": False, "loc": "center left", "bbox_to_anchor": (1, 0.5), "fontsize": 9}
    box = axes.legend(handles, names, **options).get_window_extent()  # type: ignore[call-overload]
    width, height = figure.get_size_inches()  # type: ignore[union-attr]
    asked = (box.width / figure.dpi + PLOT, box.height / figure.dpi + MARGIN)
    figure.set_size_inches(max(width, asked[0]), max(height, asked[1]))  # type: ignore[union-attr]
