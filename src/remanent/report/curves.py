"""Figures of many units over several seeds: lines with a band, and dots."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from remanent.report import labels
from remanent.report.labels import written

COLOURS = (
    *("#0b6e99", "#c4622d", "#2a9d6f", "#7a3b9e", "#d9a400"),
    *("#d1588f", "#5fb3e6", "#6b4226", "#7d8a1f", "#555555", "#a01515"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 4)), (0, (8, 4)), (0, (4, 1, 1, 3)))
"""Line styles: the first for a unit by itself, the others for its rows with changed options."""
FEW = 100
"""A score of fewer examples than this is marked in a curve, since chance moves it by more than its band may show."""


def score_against_length_with_spread(
    scores: Mapping[str, Mapping[int, Sequence[float]]],
    *,
    title: str,
    length_name: str,
    score_name: str,
    chance: float,
    trained_at: int,
    is_share: bool,
    order: Sequence[str] = (),
    examples: Mapping[str, Mapping[int, int]] | None = None,
) -> Figure:
    """Draws mean scores over the length, a line for each name, in a band from the lowest seed to the highest.

    Names that differ only in what stands in brackets after a space share a colour and a marker.

    Args:
        scores: for each name and each length, above 0, the score of every seed; where a score is not finite, the length
            is left out.
        title: the title of the figure.
        length_name: what the lengths count; the axis is logarithmic.
        score_name: the name of the score.
        chance: the score of the best answer that ignores the input, drawn dashed.
        trained_at: the length trained at, drawn dotted.
        is_share: True where the scores are shares, drawn in percent; else the axis is logarithmic.
        order: names that have the first colours, drawn or not, so that a unit has the same colour in all figures.
        examples: for each name and each length, of how many examples each score is; a point of fewer than `FEW` has a
            ring around it, and the legend says so. None where they are not known.
    """
    figure, axes = spines_off(4.2)
    scale = 100 if is_share else 1
    means = {
        name: {t: scale * float(np.mean(line[t])) for t in sorted(line) if np.isfinite(line[t]).all()}
        for name, line in scores.items()
    }
    looks = looks_of(scores, order)
    axes.axhline(scale * chance, color="0.45", linestyle="--", linewidth=1, label="chance", zorder=1)
    axes.axvline(trained_at, color="0.45", linestyle=":", linewidth=1, label="trained at", zorder=1)
    for name in sorted((name for name in means if means[name]), key=lambda name: -list(means[name].values())[-1]):
        places, (colour, marker, style) = list(means[name]), looks[name]
        face = colour if style == "-" else "white"
        values = list(means[name].values())
        options = {"color": colour, "linestyle": style, "marker": marker, "markersize": 5.5, "markerfacecolor": face}
        axes.plot(places, values, label=written(name), **options)
        low, high = ([scale * pick(scores[name][length]) for length in places] for pick in (min, max))
        axes.fill_between(places, low, high, color=colour, alpha=0.13, linewidth=0)
    rings = _ring_few(axes, means, examples or {})
    axes.set_xscale("log")
    lengths = sorted({length for line in means.values() for length in line})
    axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
    axes.xaxis.set_minor_locator(NullLocator())
    scale_scores(axes, is_share)
    axes.set(xlabel=written(length_name), ylabel=written(score_name + (", %" if is_share else "")))
    labels.title(axes, title)
    chance_line, trained, *lines = axes.get_legend_handles_labels()[0]
    lines = [line for line in lines if line not in rings]
    labels.legend(axes, [*lines, *rings, chance_line, trained])
    return figure


def _ring_few(
    axes: Axes, means: Mapping[str, Mapping[int, float]], examples: Mapping[str, Mapping[int, int]]
) -> list[Any]:
    """Draws a ring around each point of few examples; gives what stands for them in the legend, if there are any."""
    points = [
        (length, mean, examples[name][length])
        for name, line in means.items()
        for length, mean in line.items()
        if examples.get(name, {}).get(length, FEW) < FEW
    ]
    if not points:
        return []
    lengths, scores, counts = zip(*points, strict=True)
    said = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    look: dict[str, Any] = {"marker": "o", "markersize": 11, "markerfacecolor": "none", "markeredgecolor": "0.35"}
    return axes.plot(lengths, scores, linestyle="none", label=f"only {said} examples", **look)


def dots_by_name(
    values: Mapping[str, Sequence[float]],
    *,
    title: str,
    value_name: str,
    marks: Mapping[str, float],
    logarithmic: bool,
    order: Sequence[str] = (),
) -> Figure:
    """Draws a dot for every seed, in a row for each name, with a bar at the median.

    Args:
        values: for each name, the value of every seed, at least 0; a name without values keeps an empty row.
        title: the title of the figure.
        value_name: the name of the values.
        marks: values to mark with a dashed line, each by its name.
        logarithmic: whether the axis is logarithmic (base 2, with 0 left of 1).
        order: names that have the first colours, drawn or not, so that a unit has the same colour in all figures.
    """
    names = [written(name) for name in values]
    lines = max((name.count("\n") for name in names), default=0)
    figure, axes = spines_off(1.4 + (0.38 + 0.15 * lines) * len(values))
    looks = looks_of(values, order)
    for row, (name, points) in enumerate(values.items()):
        colour, marker, style = looks[name]
        axes.axhline(row, color="0.92", linewidth=0.8, zorder=0)
        gap = min(0.18, 0.6 / max(1, len(points) - 1))  # equal values stay apart
        spots = row + gap * (np.arange(len(points)) - (len(points) - 1) / 2)
        face = colour if style == "-" else "white"
        axes.scatter(
            points, spots, s=30, marker=marker, facecolors=face, edgecolors=colour, label=written(name), zorder=3
        )
        if len(points) > 1:
            axes.plot([float(np.median(points))] * 2, [row - 0.38, row + 0.38], color=colour, linewidth=1.5, zorder=2)
    if logarithmic:
        axes.set_xscale("symlog", base=2, linthresh=1)
    top = len(values) - 0.5
    axes.set_ylim(top, -0.5)  # the first name on top
    for said, value in marks.items():
        axes.axvline(value, color="0.45", linestyle="--", linewidth=1, zorder=1)
        axes.annotate(
            written(said), (value, -0.5), (0, 4), textcoords="offset points", ha="center", fontsize=8, color="0.35"
        )
    axes.set_yticks(range(len(values)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(written(value_name))
    labels.title(axes, title, pad=20)
    return figure


def spines_off(height: float) -> tuple[Figure, Axes]:
    """A figure of a height in inches, without spines at the top and on the right."""
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


class Look(NamedTuple):
    """How a name is drawn: its colour, its marker and the style of its line."""

    colour: str
    marker: str
    style: Any


def looks_of(names: Iterable[str], order: Sequence[str] = ()) -> dict[str, Look]:
    """The look of each name; what stands in brackets after a name changes only the style of the line.

    Args:
        names: the names that are drawn.
        order: names that have the first colours, whether they are drawn or not.
    """
    variants: dict[str, list[str]] = {name: [] for name in order}
    for name in names:
        variants.setdefault(name.partition(" (")[0], []).append(name)
    looks = {}
    for i, (base, members) in enumerate(variants.items()):
        for j, name in enumerate(members, start=base not in members):
            again, colour = divmod(i, len(COLOURS))
            marker = MARKERS[(colour + again) % len(MARKERS)]  # a colour that comes again has another marker
            looks[name] = Look(COLOURS[colour], marker, STYLES[j % len(STYLES)])
    return looks


def scale_scores(axes: Axes, is_share: bool) -> None:
    """Makes the axis of scores linear for shares, in percent, and logarithmic for all else unless it is below 0."""
    if is_share:
        axes.set_ylim(-2, 102)
    elif has_positive(axes) and axes.dataLim.y0 >= 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", color="0.93", linewidth=0.8)
    axes.set_axisbelow(True)


def has_positive(axes: Axes) -> bool:
    """Whether a value above 0 is drawn, without which matplotlib has no logarithmic axis."""
    return bool(np.isfinite(axes.dataLim.minposy))
