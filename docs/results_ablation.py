"""What each ingredient of a BMRU is worth: a model with all of them, and with each left out, in one picture."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from remanent.records.record import Record
from remanent.report.curves import COLOURS
from remanent.report.figures import save_figure
from remanent.report.group_figures import scores_by_length
from remanent.report.groups import Group, Row, spread, summarise
from remanent.report.labels import title
from remanent.report.score_tables import grid_commands
from remanent.report.tables import DASH, markdown_table
from remanent.tasks import METRICS
from remanent.training.recipes import RECIPES
from results_compare import written
from results_tables import RATE, value_of

NAME = "results-ablation"
ALL = "all ingredients"
INGREDIENTS: dict[str, dict[str, Any]] = {
    "annealing": {"training.anneal": True},
    "write rates": {"training.write_rates": True},
    "normalised gates": {"model.gate_norm": "batch"},
    "convolution of 4 steps": {"model.conv_size": 4},
    "low start": {"model.initial_state": "low"},
    "early end of annealing": {"training.anneal_ramp": 0.4},
    "clock": {"model.clock": "sinusoid"},
}
"""What a model with all ingredients has, in the order of the picture."""
MORE = ("--results", "results/ablation.jsonl")


def ablation_section(records: Sequence[Record], pictures: Path) -> tuple[str, list[str]]:
    """The heading, the picture, a table for each task, and the commands; and the pictures' names."""
    lines = ["## What each ingredient is worth", ""]
    groups = ablation_groups(records)
    if not groups:
        return "\n".join([*lines, "Not run yet.", ""]), []
    rates = ", ".join(f"{group.label} {value_of(group.rows[0].runs[0], RATE):g}" for group in groups)
    lines += [
        "A BMRU with all ingredients, and with each of them left out; everything else is the same, the learning rate "
        f"too ({rates}). The line in the picture is the mean with all of them; a dot is a seed, at the trained length.",
        *("", f"![What each ingredient is worth, on {len(groups)} tasks](pictures/{NAME}.svg)", ""),
    ]
    pictures.mkdir(exist_ok=True)
    save_figure(draw_ablation(groups), pictures / f"{NAME}.svg")
    for group in groups:
        lines += [_table(group), ""]
    commands = [command for group in groups for command in grid_commands(group, MORE)]
    return "\n".join([*lines, "```console", *commands, "```", ""]), [NAME]


def ablation_groups(records: Sequence[Record]) -> list[Group]:
    """A group for every task, with a row for all ingredients and for each that is left out alone."""
    groups = []
    for group in summarise(records) if records else ():
        names = {_missing(row): row for row in group.rows if row.done}
        order = [name for name in (ALL, *(f"without {each}" for each in INGREDIENTS)) if name in names]
        rows = tuple(dataclasses.replace(names[name], shown=name) for name in order)
        if rows:
            groups.append(dataclasses.replace(group, rows=rows))
    return groups


def draw_ablation(groups: Sequence[Group]) -> Figure:
    """A panel for every task: a dot for each seed, a bar at the mean, and a line at the mean with all ingredients."""
    most = max(len(group.rows) for group in groups)
    figure = Figure(figsize=(4.6 * len(groups) + 1.2, 1.5 + 0.42 * most), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for group, axes in zip(groups, panels, strict=True):
        _draw_panel(group, axes)
    return figure


def _draw_panel(group: Group, axes: Axes) -> None:
    metric = METRICS[group.metric]
    for place, row in enumerate(group.rows):
        scores = _finite(group, row)
        axes.axhline(place, color="0.93", linewidth=0.8, zorder=0)
        spots = place + 0.16 * (np.arange(len(scores)) - (len(scores) - 1) / 2)  # equal scores stay apart
        colour = COLOURS[0] if row.label == ALL else COLOURS[1]
        axes.scatter(scores, spots, s=26, color=colour, zorder=3)
        if scores:
            axes.plot([float(np.mean(scores))] * 2, [place - 0.36, place + 0.36], color=colour, linewidth=1.6, zorder=2)
            if row.label == ALL:
                axes.axvline(float(np.mean(scores)), color=COLOURS[0], linestyle="--", linewidth=1, zorder=1)
    if not metric.more_is_better:
        axes.set_xscale("log")
        for written_by in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            written_by(lambda value, _: f"{value:g}")
    axes.set_yticks(range(len(group.rows)), [row.label for row in group.rows])
    axes.set_ylim(len(group.rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(metric.label + (", more is better" if metric.more_is_better else ", less is better"))
    title(axes, f"{group.label}, {group.length:,} {group.length_name}")


def _missing(row: Row) -> str | None:
    """Which ingredient a row lacks, if it lacks one at most."""
    run = row.runs[0]
    has_clock = run.recipe in RECIPES and RECIPES[run.recipe]().model.clock != "none"
    anneals = value_of(run, "training.anneal")
    asked = {
        name: options
        for name, options in INGREDIENTS.items()
        if (name != "clock" or has_clock) and (anneals or name != "early end of annealing")
    }
    lacking = [
        name for name, options in asked.items() if any(value_of(run, key) != value for key, value in options.items())
    ]
    return ALL if not lacking else f"without {lacking[0]}" if len(lacking) == 1 else None


def _table(group: Group) -> str:
    """The scores at the trained length and at the longest, and how far the mean lies from that with all ingredients."""
    metric = METRICS[group.metric]
    longest = max(column.length for column in group.columns)
    lengths = list(dict.fromkeys([group.length, longest]))
    whole = next((row for row in group.rows if row.label == ALL), None)
    mean = spread(scores_by_length(group, whole)[group.length]).mean if whole else None
    rows = []
    for row in group.rows:
        found = scores_by_length(group, row)
        cells = [written(spread(found[length]), group.metric) if length in found else DASH for length in lengths]
        change = DASH
        if mean is not None and row is not whole and group.length in found:
            here = spread(found[group.length]).mean
            change = f"{metric.scale * (here - mean):+.1f}" if metric.is_share else f"{here / mean:.2g} times"
        rows.append([row.label, *cells, change, str(len(row.done))])
    unit = " in %" if metric.is_share else ""
    header = [f"{group.label}, {metric.title}{unit}", *(f"{length:,} {group.length_name}" for length in lengths)]
    return markdown_table([*header, "change", "seeds"], rows)


def _finite(group: Group, row: Row) -> list[float]:
    scores = scores_by_length(group, row).get(group.length, [])
    return [METRICS[group.metric].scale * score for score in scores if np.isfinite(score)]
