"""What the tables of now and the first tables say of the same unit and task: then and now, and what got worse."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from remanent.report.group_figures import scores_by_length
from remanent.report.groups import Group, Row, Spread, spread
from remanent.report.tables import DASH, NOT_FINITE, format_spread, markdown_table
from remanent.tasks import METRICS
from results_tables import options_then


class Score(NamedTuple):
    """The best row of a unit at one length, by its mean over seeds."""

    row: Row
    spread: Spread


class Pair(NamedTuple):
    """A unit's best scores at one length of a table, then and now."""

    unit: str
    length: int
    then: Score
    now: Score


def best_score(group: Group, length: int, unit: str | None = None) -> Score | None:
    """The best row at a length, of one unit or of all; None where there is none."""
    sign = 1 if METRICS[group.metric].more_is_better else -1
    found = [Score(row, spread(scores)) for row in group.rows if (scores := scores_by_length(group, row).get(length))]
    found = [score for score in found if unit in (None, score.row.unit)]
    rank = [sign * score.spread.mean if math.isfinite(score.spread.mean) else -math.inf for score in found]
    return found[rank.index(max(rank))] if found else None


def pairs(now: Group, then: Group) -> list[Pair]:
    """For each unit of both tables its best score at the trained length, and at the longest that both have."""
    units = dict.fromkeys(row.unit for row in now.rows)
    made = []
    for unit in units:
        lengths = [
            {length for row in group.rows if row.unit == unit for length in scores_by_length(group, row)}
            for group in (now, then)
        ]
        both = sorted(lengths[0] & lengths[1])
        for length in dict.fromkeys([*[length for length in both if length == now.length], *both[-1:]]):
            old, new = best_score(then, length, unit), best_score(now, length, unit)
            if old and new:
                made.append(Pair(unit, length, old, new))
    return made


def is_worse(pair: Pair, metric: str) -> bool:
    """Whether the mean is worse now by more than the larger standard deviation; with one seed each, by anything."""
    (now, std_now, _), (then, std_then, _) = pair.now.spread, pair.then.spread
    if not math.isfinite(now) or not math.isfinite(then):
        return math.isfinite(then)
    lost = then - now if METRICS[metric].more_is_better else now - then
    return lost > max(std_now or 0.0, std_then or 0.0)


def then_and_now(now: Group, then: Group | None) -> str:
    """A small table of a task's units, then and now; empty where no unit stands in both."""
    found = pairs(now, then) if then else []
    lengths = list(dict.fromkeys(pair.length for pair in found))
    lengths = [*lengths[:1], *sorted(lengths)[-1:]] if len(lengths) > 1 else lengths
    rows = []
    for unit in dict.fromkeys(pair.unit for pair in found):
        cells, options = [], []
        for length in lengths:
            pair = next((pair for pair in found if (pair.unit, pair.length) == (unit, length)), None)
            cells += [DASH, DASH] if pair is None else _cells(pair, now.metric)
            options += [] if pair is None else [", ".join(options_then(pair.then.row)) or "as the recipe"]
        rows.append([unit, " / ".join(dict.fromkeys(options)), *cells])
    if not rows:
        return ""
    header = [f"{when}, {length:,}" for length in lengths for when in ("then", "now")]
    name = f"Then and now{' in %' if METRICS[now.metric].is_share else ''}, the best row of each unit:"
    return f"{name}\n\n{markdown_table(['unit', 'options then', *header], rows, words=2)}"


def worse_section(now: Sequence[Group], then: Sequence[Group]) -> str:
    """The heading, and a table of every unit and task whose score got worse, or a sentence."""
    before = {group.label: group for group in then}
    rows, compared = [], 0
    for group in now:
        for pair in pairs(group, before[group.label]) if group.label in before else ():
            compared += 1
            if is_worse(pair, group.metric):
                unit = " %" if METRICS[group.metric].is_share else ""
                place = f"{pair.length:,} {group.length_name}"
                scores = [written(score.spread, group.metric) + unit for score in (pair.then, pair.now)]
                rows.append([group.label, pair.unit, place, *scores])
    lines = ["## What got worse", ""]
    if not compared:
        return "\n".join([*lines, "No task was run both then and now yet.", ""])
    said = (
        f"The first tables and those of now share {compared} scores: the best row of a unit, at the trained length and "
        f"at the longest. {len(rows) or 'None'} of them {'are' if len(rows) > 1 else 'is'} worse now by more than the "
        "larger of the two standard deviations, or by anything where both have one seed."
    )
    lines += [said, ""]
    lines += [markdown_table(["task", "unit", "at", "then", "now"], rows, words=3), ""] if rows else []
    return "\n".join(lines)


def written(found: Spread, metric: str) -> str:
    """A mean with its spread, as its metric writes it."""
    return format_spread(found.mean, found.std, metric) if math.isfinite(found.mean) else NOT_FINITE


def _cells(pair: Pair, metric: str) -> list[str]:
    """Then and now; what is worse says so."""
    now = written(pair.now.spread, metric) + " (worse)" * is_worse(pair, metric)
    return [written(pair.then.spread, metric), now]
