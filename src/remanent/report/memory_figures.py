"""Figures of how a model learns and remembers: gradients over lags, learning curves, confusions, input branches."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from remanent.report import labels
from remanent.report.curves import has_positive, looks_of, scale_scores, spines_off
from remanent.report.labels import written


def gradient_against_lag(curves: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str) -> Figure:
    """Draws the norm of the gradient over the lag, on logarithmic axes, a line for each unit.

    Args:
        curves: for each name, lags (K,) and norms (K,); a norm of 0 is not drawn, and the legend says from which lag on
            it is 0.
        title: the title of the figure.
    """
    figure, axes = spines_off(4.2)
    for name, (colour, marker, style) in looks_of(curves).items():
        lags, norms = (np.asarray(values) for values in curves[name])
        gone = lags[norms == 0]
        label = f"{name}, 0 from {gone[0]:,}" if len(gone) else name
        label += "" if np.isfinite(norms).all() else ", not finite"
        options = {"color": colour, "marker": marker, "linestyle": style, "markersize": 5}
        axes.plot(lags[norms > 0], norms[norms > 0], label=written(label), **options)
    if has_positive(axes):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axes.set_yscale("log")
    axes.grid(axis="y", color="0.93", linewidth=0.8)
    axes.set(xlabel="lag, steps", ylabel="norm of the gradient")
    labels.title(axes, title)
    labels.legend(axes)
    return figure


def learning_curves(
    curves: Mapping[str, Mapping[int, Sequence[float]]], *, title: str, score_name: str, is_share: bool, chance: float
) -> Figure:
    """Draws mean scores over training, a line for each name, in a band from the lowest seed to the highest.

    Args:
        curves: for each name and each step, the score of every seed; where one is not finite, the line has a gap.
        title: the title of the figure.
        score_name: the name of the score.
        is_share: True where the scores are shares, drawn in percent; else the axis is logarithmic.
        chance: the score of the best answer that ignores the input, drawn dashed.
    """
    figure, axes = spines_off(4.2)
    scale = 100 if is_share else 1
    axes.axhline(scale * chance, color="0.45", linestyle="--", linewidth=1, label="chance", zorder=1)
    for name, (colour, _, style) in looks_of(curves).items():
        steps = sorted(curves[name])
        values = [scale * np.asarray(curves[name][step]) for step in steps]
        axes.plot(steps, [v.mean() for v in values], color=colour, linestyle=style, label=written(name))
        low, high = [v.min() for v in values], [v.max() for v in values]
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    scale_scores(axes, is_share)
    axes.set(xlabel="training step", ylabel=written(score_name + (", %" if is_share else "")))
    labels.title(axes, title)
    labels.legend(axes)
    return figure


def confusion_matrix(counts: ArrayLike, *, title: str, names: Sequence[str] | None = None) -> Figure:
    """Draws how often each class was answered for each: a row for the true class, a column for the answer.

    Args:
        counts: the counts, (C, C).
        title: the title of the figure.
        names: the names of the classes; their numbers if None.
    """
    table = np.asarray(counts)
    classes = len(table)
    figure = Figure(figsize=(1.8 + 0.42 * classes, 1.4 + 0.42 * classes), layout="constrained")
    axes = figure.subplots()
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(table > 0):
        colour = "white" if shares[row, column] > 0.5 else "0.2"
        axes.text(column, row, f"{table[row, column]:,}", ha="center", va="center", color=colour, fontsize=8)
    said = [written(name) for name in names] if names is not None else [str(i) for i in range(classes)]
    axes.set_xticks(range(classes), said)
    axes.set_yticks(range(classes), said)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="said", ylabel="is")
    labels.title(axes, title)
    return figure


def input_branches(sweep: ArrayLike, output: ArrayLike, *, title: str) -> Figure:
    """Draws the output of a channel while its input goes up and down: two branches where memory lasts, else one.

    Args:
        sweep: the input, (2 N,), up in its first half and down in its second.
        output: the output at each point of the sweep, (2 N,).
        title: the title of the figure.
    """
    figure, axes = spines_off(4.0)
    s, y = np.asarray(sweep), np.asarray(output)
    half = len(s) // 2
    axes.plot(s[:half], y[:half], color="#0b6e99", label="going up")
    axes.plot(s[half:], y[half:], color="#c4622d", linestyle="--", label="going down")
    axes.set(xlabel="input", ylabel="output")
    labels.title(axes, title)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
