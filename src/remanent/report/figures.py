"""Figures from plain arrays, one function each, without any knowledge of models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import ArrayLike

from remanent._files import figure_bytes, write_whole
from remanent.report import labels
from remanent.report.labels import written

MARKERS = ("o", "s", "^", "D", "v")
SERIES_COLOURS = ("#0b6e99", "#c4622d", "#3f7d3f", "#7a4c9e", "#b08a00", "#555555")


def growth(series: Mapping[str, Mapping[int, float]], *, title: str, x_name: str, y_name: str) -> Figure:
    """Draws how a cost grows with a size, on logarithmic axes; the legend lists the series by their last value.

    Args:
        series: for each name, the cost at each size.
        title: the title of the figure.
        x_name: the name of the size; the axis suits powers of two, and says other sizes in full.
        y_name: the name of the cost, with its unit.
    """
    figure, axes = _figure()
    styles = {name: (MARKERS[i % 5], SERIES_COLOURS[i % 6]) for i, name in enumerate(series)}
    for name in sorted(series, key=lambda name: -list(series[name].values())[-1]):
        marker, colour = styles[name]
        points = series[name]
        axes.plot(list(points), list(points.values()), marker=marker, markersize=5, label=written(name), color=colour)
    axes.set_xscale("log", base=2)
    sizes = sorted({size for points in series.values() for size in points})
    powers = all(size & (size - 1) == 0 for size in sizes)  # others would be written as multiples of powers
    axes.set_xticks(sizes, None if powers else [f"{size:,}" for size in sizes])
    costs = [cost for points in series.values() for cost in points.values()]
    axes.set_yscale("log")
    axes.set_ylim(min(costs) / 2, max(costs) * 2)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set(xlabel=written(x_name), ylabel=written(y_name))
    labels.title(axes, title)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def hysteresis_loop(candidate: ArrayLike, state: ArrayLike, *, threshold: float, title: str) -> Figure:
    """Draws the state of one channel while its candidate goes up and down, with both thresholds.

    Args:
        candidate: the sweep, (N,), up in its first half and down in its second.
        state: the state at each point of the sweep, (N,).
        threshold: the size of the candidate at which the state flips.
        title: the title of the figure.
    """
    figure, axes = _figure()
    c, h = np.asarray(candidate), np.asarray(state)
    half = len(c) // 2
    axes.plot(c[:half], h[:half], color="#0b6e99", label="going up")
    axes.plot(c[half:], h[half:], color="#c4622d", linestyle="--", label="going down")
    for side in (-threshold, threshold):
        axes.axvline(side, color="0.6", linestyle=":", linewidth=1)
    axes.set_xticks([-threshold, 0, threshold], [r"$-\beta$", "0", r"$+\beta$"])
    axes.set(xlabel="candidate", ylabel="state")
    labels.title(axes, title)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def trajectory(inputs: ArrayLike, states: ArrayLike, *, title: str) -> Figure:
    """Draws states over time, and the input that drives them above.

    Args:
        inputs: the input, (T, M); one feature is drawn as a line, several as an image.
        states: the states, (T, D), drawn as an image, with the channels in the order of their last change.
        title: the title of the figure.
    """
    x, h = np.asarray(inputs), np.asarray(states)
    figure = Figure(figsize=(8, 5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2.5))
    steps = np.arange(1, len(x) + 1)
    if x.shape[1] == 1:
        top.plot(steps, x[:, 0], color="0.3", linewidth=0.7)
        top.set_ylabel("input")
    else:
        top.imshow(x.T, aspect="auto", cmap="gray", extent=(0.5, len(x) + 0.5, x.shape[1] + 0.5, 0.5))
        top.set_ylabel("feature")
    changed = np.vstack([np.zeros_like(h[:1], dtype=bool), h[1:] != h[:-1]])
    last_write = np.where(changed.any(0), len(changed) - changed[::-1].argmax(0), 0)
    bound = np.abs(h[np.isfinite(h)]).max(initial=0.0) or 1.0
    image = bottom.imshow(
        h.T[np.argsort(last_write, kind="stable")],
        aspect="auto",
        cmap="RdBu_r",
        vmin=-bound,
        vmax=bound,
        interpolation="nearest",
        extent=(0.5, len(h) + 0.5, h.shape[1] + 0.5, 0.5),
    )
    bottom.set(xlabel="step", ylabel="channel, by last change")
    figure.colorbar(image, ax=bottom, label="state")
    labels.title(top, title)
    return figure


def response(inputs: ArrayLike, outputs: ArrayLike) -> Figure:
    """Draws the output of one channel, and the input that drives it above.

    Args:
        inputs: the input, (T,).
        outputs: the output, (T,).
    """
    x, y = np.asarray(inputs), np.asarray(outputs)
    figure = Figure(figsize=(4.6, 2.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    steps = np.arange(1, len(x) + 1)
    for axes, values, colour, label in ((top, x, "0.35", "input"), (bottom, y, "#0b6e99", "output")):
        axes.axhline(0, color="0.8", linewidth=0.7)
        axes.step(steps, values, where="post", color=colour, linewidth=1.4)
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        low, high = min(values.min(), 0), max(values.max(), 0)
        axes.set_ylim(low - 0.12 * (high - low), high + 0.12 * (high - low))
    bottom.set_xlabel("step")
    figure.align_ylabels()
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG or SVG, as the name ends; the same figure gives the same bytes."""
    kind = path.suffix.removeprefix(".")
    if kind not in ("png", "svg"):
        raise ValueError(f"`path` must end in .png or .svg, got {path}")
    write_whole(path, figure_bytes(figure, kind))


def _figure() -> tuple[Figure, Any]:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
