"""Pictures of automata: states as discs with their answers, and arrows for letters between them."""

import colorsys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from remanent.analysis.automata.picture.arrows import points_of
from remanent.analysis.automata.picture.placement import Points, sinks
from remanent.analysis.automata.picture.planning import CHARACTER, INK, KEY, LINE, Plan, Shown, plan_of, shown_of
from remanent.tasks import IGNORED, Automaton

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_STATES = 128
"""The most states that are drawn."""
NARROWEST, MARGIN = 3.2, 0.1
"""The least width of a picture with a text below, and what is left free around it, in inches."""
SMALL = 0.068
"""The width of a character of 8 points, in inches."""
PALE = "#b9c0c8"
"""The colour of states that are never left, and of arrows to them."""
ANSWER_COLOURS = ("#ffffff", "#cfe5ee", "#f6dcc8", "#d5e8d0", "#e3d6ee", "#f3e7b8", "#f2cfd6", "#d9dde2")
"""The colour of each answer; where there are more answers, they share a circle of colours."""


class Key(NamedTuple):
    """A text below a picture, with the arrow whose colour it explains."""

    text: str
    colour: str | None = None

    @property
    def width(self) -> float:
        """How much room it takes, in inches."""
        return KEY + CHARACTER * (len(self.text) + 3)


def draw_automaton(automaton: Automaton, *, letters: Sequence[str] | None = None) -> "Figure":
    """Draws an automaton: each state that words reach is a disc with its answer, each letter an arrow.

    An arrow from nowhere marks the start state; a dash stands for an answer that is not asked for; a state that no
    letter leaves is pale. Letters between the same states share an arrow, which names up to four of them. Where there
    are more arrows than can be read, a few letters that reach all states are drawn, each in a colour, without loops
    and pale states; a line below says so. The same automaton gives the same picture.

    Args:
        automaton: what is drawn: at most 128 states that words reach.
        letters: the name of each letter, such as the characters of "ab"; their numbers if None.

    Returns:
        The figure, which `save_automaton` writes into a file.

    Raises:
        ValueError: there is not a name for each letter, or there are too many states.
        TypeError: a name is not a str.
        ModuleNotFoundError: matplotlib or scipy is not installed.

    >>> figure = draw_automaton(Automaton([[0, 1], [1, 0]], answers=[0, 1]), letters="ab")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['b', 'b', 'a', 'a', '0', '1']
    """
    names = names_of(automaton, letters)
    automaton = automaton.reachable()
    if automaton.num_states > MOST_STATES:
        rule = f"at most {MOST_STATES} states to be drawn"
        raise ValueError(f"`automaton` must have {rule}, got {automaton.num_states}; .graphml and .dot take any number")
    shown = shown_of(automaton)
    return _figure(shown, plan_of(shown, names), names)


def names_of(automaton: Automaton, letters: Sequence[str] | None) -> list[str]:
    """The names of all letters, which are their numbers unless others are given.

    Raises:
        ValueError: there is not a name for each letter.
        TypeError: a name is not a str.
    """
    count = automaton.num_letters
    if letters is None:
        return [str(letter) for letter in range(count)]
    if len(letters) != count:
        raise ValueError(f"`letters` must have a name for each of the {count} letters, got {len(letters)}")
    for name in letters:
        if not isinstance(name, str):
            raise TypeError(f"`letters` must be str, got {name!r}")
    return list(letters)


def _figure(shown: Shown, plan: Plan, names: Sequence[str]) -> "Figure":
    from matplotlib.figure import Figure

    corners = [box.middle + side * box.half for box in plan.boxes.values() for side in (1, -1)]
    edges = [*(points_of(way, 33) for way in plan.ways.values()), plan.begin]
    around = np.concatenate(
        [plan.places - plan.radius, plan.places + plan.radius, *edges, *map(np.atleast_2d, corners)]
    )
    low, high = around.min(axis=0) - MARGIN, around.max(axis=0) + MARGIN
    keys = [] if shown.named else _keys(shown, names, high[0] - low[0])
    if keys:
        wider = max(0.0, NARROWEST - (high[0] - low[0])) / 2
        low[0], high[0] = low[0] - wider, high[0] + wider
    bottom = low[1] - LINE * len(keys)
    figure = Figure(figsize=(high[0] - low[0], high[1] - bottom))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(low[0], high[0]), ylim=(bottom, high[1]))
    axes.axis("off")
    pale = sinks(shown.automaton)
    _draw_arrow(axes, plan.begin, INK)
    for arrow, way in plan.ways.items():
        colour = shown.colours[shown.letters.index(arrow.letters[0])]
        _draw_arrow(axes, way, PALE if arrow.target in pale else colour, both=arrow.both)
    for arrow, box in plan.boxes.items():
        _write(axes, box.middle, plan.texts[arrow], "0.55" if arrow.target in pale else "0.15")
    _draw_states(axes, shown.automaton, plan, pale)
    for i, line in enumerate(keys):
        _draw_keys(axes, line, low[0] + MARGIN, low[1] - LINE * (i + 0.2))
    return figure


def _draw_states(axes: "Axes", automaton: Automaton, plan: Plan, pale: Sequence[int]) -> None:
    from matplotlib.patches import Circle

    size = 10 if plan.radius > 0.2 else 7.5
    for state, (middle, answer) in enumerate(zip(plan.places, automaton.answers, strict=True)):
        ink, edge = ("0.55", PALE) if state in pale else ("0.1", INK)
        fill = _answer_colour(answer, automaton.num_answers)
        axes.add_artist(Circle(tuple(middle), plan.radius, facecolor=fill, edgecolor=edge, linewidth=1.2, zorder=3))
        text = "\N{EN DASH}" if answer == IGNORED else str(answer)
        x, y = middle
        axes.text(x, y, text, fontsize=size, ha="center", va="center_baseline", color=ink, zorder=4)


def _answer_colour(answer: int, count: int) -> str | tuple[float, float, float]:
    """White for answer 0 and where nothing is asked; light colours for the others."""
    if answer in (0, IGNORED):
        return ANSWER_COLOURS[0]
    if count <= len(ANSWER_COLOURS):
        return ANSWER_COLOURS[answer]
    return colorsys.hls_to_rgb(answer / count, 0.88, 0.6)


def _draw_arrow(axes: "Axes", curve: Points, colour: str, *, both: bool = False) -> None:
    """Draws a line or a Bézier curve from its control points, with a head at the end, or at both."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    codes = [Path.MOVETO, *[(Path.LINETO, Path.CURVE3, Path.CURVE4)[len(curve) - 2]] * (len(curve) - 1)]
    head = f"{'<|' if both else ''}-|>,head_length=0.45,head_width=0.2"
    options: dict[str, Any] = {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 13, "linewidth": 1.1}
    axes.add_artist(FancyArrowPatch(path=Path(curve, codes), arrowstyle=head, color=colour, zorder=2, **options))


def _write(axes: "Axes", middle: Points, text: str, colour: str) -> None:
    """Writes letters with a white rim, so that they can be read across arrows."""
    from matplotlib.patheffects import withStroke

    rim = [withStroke(linewidth=2.5, foreground="white")]
    x, y = middle
    axes.text(x, y, _plain(text), fontsize=9, ha="center", va="center", color=colour, path_effects=rim, zorder=4)


def _plain(text: str) -> str:
    """A text for matplotlib, which would read formulas between dollars."""
    return text.replace("$", r"\$")


def _keys(shown: Shown, names: Sequence[str], width: float) -> list[list[Key]]:
    """The lines below a picture without names beside its arrows: the colours of letters, then what is left out."""
    lines: list[list[Key]] = [[]]
    left = max(width, NARROWEST) - 2 * MARGIN
    for letter, colour in () if INK in shown.colours else zip(shown.letters, shown.colours, strict=True):
        key = Key(names[letter], colour)
        if lines[-1] and sum(each.width for each in lines[-1]) + key.width > left:
            lines.append([])
        lines[-1].append(key)
    return [line for line in lines if line] + [[Key(text)] for text in textwrap.wrap(shown.note, int(left / SMALL))]


def _draw_keys(axes: "Axes", keys: Sequence[Key], left: float, middle: float) -> None:
    for key in keys:
        begin, size = left, 8
        if key.colour:
            _draw_arrow(axes, np.array([[left, middle], [left + KEY, middle]]), key.colour)
            begin, size = left + KEY + 0.06, 9
        axes.text(begin, middle, _plain(key.text), fontsize=size, color="0.3", va="center_baseline")
        left += key.width
