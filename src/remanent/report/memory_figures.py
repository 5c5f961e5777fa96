"""Figures of how a model learns and remembers: gradients, write rates, health, curves, confusions, input branches."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from remanent.report import labels
from remanent.report.curves import Look, has_positive, looks_of, scale_scores, spines_off
from remanent.report.labels import written

Curves = Mapping[str, Mapping[int, Sequence[float]]]
"""For each name and each step, the value of every seed."""


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


def write_rates(rates: Mapping[str, ArrayLike], *, title: str, wanted: ArrayLike | None = None) -> Figure:
    """Draws the share of steps that write each channel, the channels ordered by it, a line for each layer of latches.

    Args:
        rates: for each layer, the rates of its channels, (D,), each in [0, 1]; 0 is drawn at the bottom.
        title: the title of the figure.
        wanted: the rates that were asked for, (D,), drawn dashed; None for none.
    """
    figure, axes = spines_off(4.2)
    drawn = {name: np.sort(np.asarray(values)) for name, values in rates.items()}
    least = min(float(values[values > 0].min(initial=1.0)) for values in drawn.values()) / 3
    if wanted is not None:
        line = np.sort(np.asarray(wanted))
        axes.plot(_places(line), line, color="0.45", linestyle="--", label="asked for", zorder=1)
    for name, (colour, marker, style) in looks_of(drawn).items():
        values = drawn[name]
        never = int((values == 0).sum())
        label = f"{name}, {never} of {len(values)} never" if never else name
        options = {"color": colour, "linestyle": style, "marker": marker, "markersize": 3}
        axes.plot(_places(values), np.maximum(values, least), label=label, **options)
    axes.set_yscale("log")
    axes.set_ylim(least, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.10g} %")
    axes.grid(axis="y", color="0.93", linewidth=0.8)
    axes.set(xlabel="channels, % of the layer", ylabel="steps that write", title=title)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure


def _places(values: np.ndarray) -> np.ndarray:
    return 100 * (np.arange(len(values)) + 0.5) / len(values)


def layer_health(
    values: Mapping[str, Mapping[str, float]],
    healthy: Mapping[str, tuple[float, float]],
    *,
    title: str,
    remedies: Sequence[str] = (),
) -> Figure:
    """Draws the measures of each layer as a table, in which those out of their healthy range are coloured.

    Args:
        values: for each layer, what was measured by the name of the measure; NaN for nothing.
        healthy: the least and the largest healthy value of each measure, in the order of the columns.
        title: the title of the figure.
        remedies: what to do, lines of text that are written below.
    """
    said = [textwrap.fill(text, 110) for text in remedies]
    lines = sum(text.count("\n") + 1 for text in said)
    figure = Figure(figsize=(2.5 + 1.3 * len(healthy), 1.9 + 0.4 * len(values) + 0.22 * lines), layout="constrained")
    axes = figure.subplots()
    out = [
        [bool(layer[name] < low or layer[name] > high) for name, (low, high) in healthy.items()]
        for layer in values.values()
    ]
    axes.imshow(np.array(out), cmap=ListedColormap(["#e3f1ea", "#f6c9a8"]), vmin=0, vmax=1, aspect="auto")
    for row, layer in enumerate(values.values()):
        for column, name in enumerate(healthy):
            text = "-" if np.isnan(layer[name]) else f"{layer[name]:.2g}"
            axes.text(
                column, row, text, ha="center", va="center", fontsize=9, fontweight="bold" if out[row][column] else None
            )
    heads = [f"{textwrap.fill(name, 16)}\nhealthy {low:g} to {high:g}" for name, (low, high) in healthy.items()]
    axes.set_xticks(range(len(healthy)), heads, fontsize=8)
    axes.set_yticks(range(len(values)), [written(name) for name in values], fontsize=9)
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    labels.title(axes, title, pad=12)
    axes.set_xlabel("\n".join(said), loc="left", fontsize=8, labelpad=8)
    return figure


def learning_curves(
    curves: Curves,
    *,
    title: str,
    score_name: str,
    is_share: bool,
    chance: float,
    epsilon: Curves | None = None,
    write_rate: Curves | None = None,
    step_name: str = "training step",
) -> Figure:
    """Draws mean scores over training, a line for each name, in a band from the lowest seed to the highest.

    Args:
        curves: for each name and each step, the score of every seed; where one is not finite, the line has a gap.
        title: the title of the figure.
        score_name: the name of the score.
        is_share: True where the scores are shares, drawn in percent; else the axis is logarithmic.
        chance: the score of the best answer that ignores the input, drawn dashed.
        epsilon: the same of the epsilon of latches, drawn below the scores; None or empty for none.
        write_rate: the same of the share of steps that write, drawn in percent below; None or empty for none.
        step_name: what a step is called.
    """
    below = [(name, part) for name, part in (("epsilon", epsilon), ("writes, %", write_rate)) if part]
    figure = Figure(figsize=(8, 4.2 + 1.1 * len(below)), layout="constrained")
    panels = figure.subplots(1 + len(below), sharex=True, squeeze=False, height_ratios=[3.5] + [1] * len(below))[:, 0]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    scores, looks = panels[0], looks_of(curves)
    scale = 100 if is_share else 1
    scores.axhline(scale * chance, color="0.45", linestyle="--", linewidth=1, label="chance", zorder=1)
    _draw_bands(scores, curves, looks, scale)
    scale_scores(scores, is_share)
    scores.set(ylabel=written(score_name + (", %" if is_share else "")))
    for axes, (name, part) in zip(panels[1:], below, strict=True):
        if part is epsilon:
            _draw_bands(axes, part, looks, 1)
            axes.set_ylim(-0.05, 1.05)
        else:
            _draw_bands(axes, part, looks, 100, marker=".")  # a short training has a single look
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_locator(MaxNLocator(3))  # a panel has room for no more
        axes.grid(axis="y", color="0.93", linewidth=0.8)
        axes.set(ylabel=name)
    panels[-1].set(xlabel=step_name)
    labels.title(scores, title)
    labels.legend(scores)
    return figure


def _draw_bands(axes: Axes, curves: Curves, looks: Mapping[str, Look], scale: float, marker: str = "") -> None:
    """Draws the mean over seeds of each curve, in a band from the lowest seed to the highest."""
    for name, points in curves.items():
        steps = sorted(points)
        values = [scale * np.asarray(points[step]) for step in steps]
        colour, _, style = looks[name]
        means = [v.mean() for v in values]
        axes.plot(steps, means, color=colour, linestyle=style, marker=marker, label=written(name))
        low, high = [v.min() for v in values], [v.max() for v in values]
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


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
