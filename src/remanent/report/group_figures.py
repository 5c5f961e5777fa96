"""Figures of a group of records: the scores of all units over the length, and their failing lengths."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from remanent.report.curves import dots_by_name, score_against_length_with_spread
from remanent.report.groups import Group, Row
from remanent.tasks.metrics import METRICS

LIMIT = 2**20
"""The longest length at which a grid searches for a failure."""


def draw_scores(group: Group, order: Sequence[str] = ()) -> Figure:
    """Draws scores over the length, or side by side where there is only one length.

    Args:
        group: the group.
        order: units that have the first colours, in every figure that is drawn with them.
    """
    lengths = sorted({column.length for column in group.columns})
    metric = METRICS[group.metric]
    if len(lengths) > 1 and lengths[0] > 0:
        return score_against_length_with_spread(
            {row.label: scores_by_length(group, row) for row in group.rows},
            title=f"{group.label}, trained at {group.length:,}",
            length_name=group.length_name,
            score_name=group.score_name,
            chance=group.chance,
            trained_at=group.length,
            is_share=metric.is_share,
            order=order,
            examples={row.label: _examples_by_length(group, row) for row in group.rows},
        )
    points = {
        row.label: [metric.scale * value for values in scores_by_length(group, row).values() for value in values]
        for row in group.rows
    }
    return dots_by_name(
        points,
        title=group.label,
        value_name=group.score_name + metric.label.removeprefix(metric.title),
        marks={"chance": metric.scale * group.chance},
        logarithmic=False,
        order=order,
    )


def draw_failing_lengths(group: Group, order: Sequence[str] = (), limit: int = LIMIT) -> Figure:
    """Draws a dot for the failing length of every seed of every unit.

    Args:
        group: the group.
        order: units that have the first colours, in every figure that is drawn with them.
        limit: the longest length at which a failure was looked for.
    """
    return dots_by_name(
        {row.label: row.failing_lengths for row in group.rows},
        title=f"{group.label}, trained at {group.length:,}",
        value_name=f"failing length, {group.length_name}",
        marks={f"looked for up to {limit:,}": limit},
        logarithmic=True,
        order=order,
    )


def scores_by_length(group: Group, row: Row) -> dict[int, list[float]]:
    """The scores of a row at every length; of several tests at one length, that with the most examples."""
    return {c.length: row.scores(c) for c in group.columns if row.scores(c)}


def _examples_by_length(group: Group, row: Row) -> dict[int, int]:
    """Of how many examples the scores of `scores_by_length` are."""
    return {c.length: c.examples for c in group.columns if row.scores(c)}
