"""What was asked of the tables of now, and what they reached."""

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from remanent.records.record import Record
from remanent.report.group_figures import scores_by_length
from remanent.report.groups import Group, Row, Spread, spread, summarise
from remanent.report.tables import markdown_table
from remanent.tasks import METRICS
from results_compare import best_score, is_worse, pairs, written

POINT = 0.01
"""How far below its score at the trained length a score may lie that "holds"."""
REACHED, MISSED, NOT_YET = "reached", "**missed**", "not run yet"
NEW_TASKS = ("selective-copying", "induction-heads", "multi-query-recall", "adding", "cifar-10")
"""The tasks that came with these tables; the goal for each is a unit within 2 % of a perfect score."""
NO_DATA = {"cifar-10": "not run: the images were not at hand"}
"""Why a new task was not run."""
CHIP_LABEL = "(task.standardise=set)"
"""How the tables of models end that fit a chip: constants standardise their inputs."""
FOR_A_CHIP = ", 40 channels for a chip"
"""What the goals call them."""


class Goal(NamedTuple):
    """A goal: what was asked, what was reached, in words, and whether that is enough."""

    asked: str
    reached: str
    verdict: str


Firsts = Mapping[tuple[str, int], float]
"""The score at the trained length of the first examples alone, by the name of a run's folder and their number."""


def read_firsts(path: Path) -> Firsts:
    """The lines of `remanent evaluate RUN --length TRAINED --examples N --json` in a file that may not be there."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {(line["run"], line["examples"]): line["accuracy"] for line in lines}


def goals_section(
    now: Sequence[Group], then: Sequence[Group], small: Sequence[Record], firsts: Firsts | None = None
) -> str:
    """The heading, and a table of all goals."""
    firsts = firsts or {}
    by_label = {group.label: group for group in now}
    on_chips = {group.recipe: group for group in now if group.label.endswith(CHIP_LABEL)}
    on_chips_then = {group.recipe: group for group in (summarise(small) if small else [])}
    goals = [
        _holding(by_label.get("permuted-digits"), "permuted digits", 0.95, 13_600, firsts),
        _unit(_budgeted(by_label.get("permuted-mnist")), "permuted MNIST, 800 steps of 64, BMRU", 0.60, "bmru"),
        _holding(_budgeted(by_label.get("permuted-mnist")), "permuted MNIST, 800 steps of 64", 0.85, 216_000, firsts),
        _long([group for group in now if group.recipe.startswith("permuted-mnist")]),
        _unit(by_label.get("pathfinder (task.size=12)"), "Pathfinder, 12 x 12", 0.80, None),
        *(_new_task(name, by_label.get(name)) for name in NEW_TASKS),
        _no_worse("spoken-digits", by_label, {group.label: group for group in then}),
        *(_no_worse(name, on_chips, on_chips_then, FOR_A_CHIP) for name in ("spoken-digits", "keyword")),
    ]
    said = (
        "The goals were set before the trainings began. A score holds at a length if it is at most a point below that "
        "at the trained length. Longer sequences are tested on fewer examples: where "
        "`results/first_examples.jsonl` has the score of the same ones at the trained length, it is compared with that."
    )
    table = markdown_table(["asked", "reached", ""], [list(goal) for goal in goals], words=3)
    return "\n".join(["## What was asked, and what was reached", "", said, "", table, ""])


def _holding(group: Group | None, name: str, bar: float, length: int, firsts: Firsts) -> Goal:
    """The best unit reaches a score at the trained length, and holds it at another."""
    asked = f"{name}: {100 * bar:.0f} %, which holds at {length:,} {group.length_name if group else 'empty steps'}"
    rows = _scored(group, group.length) if group else []
    if group is None or not rows:
        return Goal(asked, NOT_YET, "")
    holding = [row for row in rows if _holds(group, row, length, firsts)]
    enough = [row for row in holding if _mean(group, row, group.length) >= bar]
    best = _best(group, enough or holding or rows)
    reached = _pair_of_scores(group, best, length)
    if not enough and (first := _best(group, rows)) is not best:
        reached += f"; at the trained length alone, {_pair_of_scores(group, first, length)}"
    return Goal(asked, reached, REACHED if enough else MISSED)


def _unit(group: Group | None, name: str, bar: float, unit: str | None) -> Goal:
    """A unit, or the best of all, reaches a score at the trained length."""
    asked = f"{name}: {100 * bar:.0f} %"
    best = best_score(group, group.length, unit) if group else None
    if group is None or best is None:
        return Goal(asked, NOT_YET, "")
    said = f"{best.row.label} {written(best.spread, group.metric)} %"
    return Goal(asked, said, REACHED if best.spread.mean >= bar else MISSED)


def _long(groups: Sequence[Group]) -> Goal:
    """The best unit reaches a score on permuted MNIST in a training of at most six hours."""
    asked = "permuted MNIST, at most six hours of training: 95 %"
    found = [
        (spread(scores).mean, group, row)
        for group in groups
        for row in group.rows
        if row.done and row.training_seconds <= 6 * 3600 and (scores := scores_by_length(group, row).get(group.length))
    ]
    if not found:
        return Goal(asked, NOT_YET, "")
    mean, group, row = max(found, key=lambda each: each[0])
    score = written(_spread(group, row, group.length), group.metric)
    said = f"{row.label} {score} % in {_time(row)}, {row.done[0].steps:,} steps"
    return Goal(asked, said, REACHED if mean >= 0.95 else MISSED)


def _new_task(name: str, group: Group | None) -> Goal:
    """A unit is within 2 % of a perfect score: a share of 98 %, or 2 % of the error of chance."""
    best = best_score(group, group.length) if group else None
    if group is None or best is None:
        return Goal(f"{name}: a unit within 2 % of perfect", NO_DATA.get(name, NOT_YET), "")
    share = METRICS[group.metric].is_share
    bar = 0.98 if share else 0.02 * group.chance
    asked = f"{name}: {'98 %' if share else f'an error of {bar:.4f}, 2 % of chance'}"
    near = best.spread.mean >= bar if share else best.spread.mean <= bar
    return Goal(
        asked, f"{best.row.label} {written(best.spread, group.metric)}{' %' * share}", REACHED if near else MISSED
    )


def _no_worse(name: str, now: dict[str, Group], then: dict[str, Group], what: str = "") -> Goal:
    """No unit is worse than it was."""
    asked = f"{name}{what}: no unit worse than before"
    found = pairs(now[name], then[name]) if name in now and name in then else []
    if not found:
        return Goal(asked, NOT_YET, "")
    metric = now[name].metric
    worse = [pair for pair in found if is_worse(pair, metric)]
    shown = worse or [pair for pair in found if pair.unit == "bmru"] or found[:1]
    said = [
        f"{pair.unit} {written(pair.then.spread, metric)} then, {written(pair.now.spread, metric)} % now"
        for pair in shown
    ]
    return Goal(asked, "; ".join(said), MISSED if worse else REACHED)


def _budgeted(group: Group | None) -> Group | None:
    """The group with the rows of 800 steps of 64 alone."""
    if group is None:
        return None
    rows = tuple(
        row
        for row in group.rows
        if row.done and row.done[0].steps == 800 and row.done[0].config["training"]["batch_size"] == 64
    )
    return dataclasses.replace(group, rows=rows)


def _scored(group: Group, length: int) -> list[Row]:
    return [row for row in group.rows if length in scores_by_length(group, row)]


def _spread(group: Group, row: Row, length: int) -> Spread:
    return spread(scores_by_length(group, row)[length])


def _mean(group: Group, row: Row, length: int) -> float:
    mean = _spread(group, row, length).mean
    return mean if math.isfinite(mean) else -math.inf


def _holds(group: Group, row: Row, length: int, firsts: Firsts) -> bool:
    """Whether a row's runs score what they do at the trained length, of the same examples where that is known."""
    if row not in _scored(group, length):
        return False
    before = [_trained_score(run, group.length, length, firsts) for run in row.done]
    if any(score is None for score in before):
        return _mean(group, row, length) >= _mean(group, row, group.length) - POINT
    return _mean(group, row, length) >= statistics.mean(score for score in before if score is not None) - POINT


def _trained_score(run: Record, trained: int, length: int, firsts: Firsts) -> float | None:
    """The score at the trained length of the examples that were tested at another."""
    counts = {test.length: test.examples for test in run.tests}
    if counts.get(length) == counts.get(trained):
        return next((test.score for test in run.tests if test.length == trained), None)
    folder = f"{run.recipe}-{run.unit}-{run.seed}-{run.id[:8]}"
    return firsts.get((folder, counts.get(length, 0)))


def _best(group: Group, rows: Sequence[Row]) -> Row:
    return max(rows, key=lambda row: _mean(group, row, group.length))


def _pair_of_scores(group: Group, row: Row, length: int) -> str:
    said = f"{row.label} {written(_spread(group, row, group.length), group.metric)} %"
    far = (
        f", {written(_spread(group, row, length), group.metric)} % at {length:,}"
        if row in _scored(group, length)
        else ""
    )
    return said + far


def _time(row: Row) -> str:
    minutes = row.training_seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
