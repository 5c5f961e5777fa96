"""Figures of what a model holds and learns: gradients against lag, learning curves, confusions, loops of any unit."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from remanent.report.curves import looks_of, scale_scores, spines_off


def gradient_against_lag(curves: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str) -> Figure:
    """The norm of the gradient that reaches back, over the lag, both on logarithmic axes, a line for each unit.

    Args:
        curves: name to lags (K,) and norms (K,); what is 0 is not drawn, and the name then says from which lag on.
        title: what was done.
    """
    figure, axes = spines_off(4.2)
    for name, (colour, marker, style) in looks_of(curves).items():
        lags, norms = (np.asarray(values) for values in curves[name])
        gone = lags[norms == 0]
        label = f"{name}, 0 from {gone[0]:,}" if len(gone) else name
        options = {"color": colour, "marker": marker, "linestyle": style, "markersize": 5}
        axes.plot(lags[norms > 0], norms[norms > 0], label=label, **options)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.set_yscale("log")
    axes.grid(axis="y", color="0.93", linewidth=0.8)
    axes.set(xlabel="lag, steps", ylabel="norm of the gradient", title=title)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure


def learning_curves(
    curves: Mapping[str, Mapping[int, Sequence[float]]], *, title: str, score_name: str, is_share: bool, chance: float
) -> Figure:
    """Mean scores over training, a line for each name, in a band from the lowest seed to the highest.

    Args:
        curves: name to step to a score for every seed.
        title: what was trained.
        score_name: what the score is.
        is_share: whether the scores are shares, drawn in percent, and not errors, drawn on a logarithmic axis.
        chance: the score of the best answer that ignores the input, drawn dashed.
    """
    figure, axes = spines_off(4.2)
    scale = 100 if is_share else 1
    axes.axhline(scale * chance, color="0.45", linestyle="--", linewidth=1, label="chance", zorder=1)
    for name, (colour, _, style) in looks_of(curves).items():
        steps = sorted(curves[name])
        values = [scale * np.asarray(curves[name][step]) for step in steps]
        axes.plot(steps, [v.mean() for v in values], color=colour, linestyle=style, label=name)
        low, high = [v.min() for v in values], [v.max() for v in values]
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    scale_scores(axes, is_share)
    axes.set(xlabel="training step", ylabel=score_name + (", %" if is_share else ""), title=title)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure


def confusion_matrix(counts: ArrayLike, *, title: str, names: Sequence[str] | None = None) -> Figure:
    """How often each class was taken for each, a row for what it is and a column for what was said.

    Args:
        counts: (C, C).
        title: what was classified.
        names: of the classes; their numbers if None.
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
    said = list(names) if names is not None else [str(i) for i in range(classes)]
    axes.set_xticks(range(classes), said)
    axes.set_yticks(range(classes), said)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="said", ylabel="is", title=title)
    return figure


def input_branches(sweep: ArrayLike, output: ArrayLike, *, title: str) -> Figure:
    """What a channel puts out while the input goes up and down: one branch where memory fades, two where it lasts.

    Args:
        sweep: (2 N,), up in its first half and down in its second.
        output: at each of its points, (2 N,).
        title: which channel.
    """
    figure, axes = spines_off(4.0)
    s, y = np.asarray(sweep), np.asarray(output)
    half = len(s) // 2
    axes.plot(s[:half], y[:half], color="#0b6e99", label="going up")
    axes.plot(s[half:], y[half:], color="#c4622d", linestyle="--", label="going down")
    axes.set(xlabel="input", ylabel="output", title=title)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
