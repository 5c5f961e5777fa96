"""Numbers that were made again beside those of committed records: the same, within the spread of seeds, or outside."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from remanent._options import check_range
from remanent.records.record import LengthScore, Record
from remanent.report.groups import Group, Row, spread
from remanent.report.tables import DASH, NOT_FINITE, counted, format_spread
from remanent.tasks.metrics import METRICS

SAME, WITHIN, OUTSIDE = "same", "within", "outside"
FAILING = "failing length"
HEADER = ("row", "seed", "number", "committed", "again", "over seeds", "verdict")


@dataclass(frozen=True)
class Rule:
    """When a number that is not the same still counts as reproduced.

    Args:
        within: how many standard deviations over seeds a score may lie from their mean, at least 0. One seed has none.
        tolerance: how far a score may lie from the committed one of the same seed, at least 0: a share by so much, any
            other score by this share of the committed one.

    Raises:
        ValueError: a value is out of its range.
    """

    within: float = 2.0
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        for name in ("within", "tolerance"):
            check_range(f"--{name}", getattr(self, name), 0, math.inf)


@dataclass(frozen=True)
class Number:
    """A committed number, and what it is when it is made again.

    Attributes:
        table: the label of its table.
        row: the label of its row.
        seed: of the run.
        id: of the run.
        name: its column: a length with the number of examples, that on validation, or the failing length.
        metric: of the score, or of the words of a failing length.
        committed: what the record says; None where it was not finite.
        again: what it is now; None where it is not finite, or the run failed.
        over_seeds: what the records of all committed seeds say.
        verdict: "same" bit for bit, "within" the spread or the tolerance, or "outside".
        error: why the run failed now; None where it did not.
    """

    table: str
    row: str
    seed: int
    id: str
    name: str
    metric: str
    committed: float | None
    again: float | None
    over_seeds: tuple[float | None, ...]
    verdict: str
    error: str | None


class _Pair(NamedTuple):
    """A number of a record, the same one of the repeated run, and those of all committed seeds."""

    name: str
    committed: float | None
    again: float | None
    over_seeds: tuple[float | None, ...]


def compare(group: Group, row: Row, again: Record, rule: Rule) -> list[Number]:
    """The numbers of a run of a table beside those that it gave when it was repeated.

    Args:
        group: the table.
        row: the row of the table that has the run.
        again: the record of the repeated run.
        rule: when a number counts as reproduced.
    """
    (committed,) = (run for run in row.runs if run.id == again.id)
    numbers = []
    for pair in _pairs(row, committed, again):
        verdict = OUTSIDE if again.status == "failed" else _verdict(pair, group.metric, rule)
        place = (group.label, row.label, again.seed, again.id)
        numbers.append(Number(*place, pair.name, group.metric, *pair[1:], verdict, again.error))
    return numbers


def agreement_rows(numbers: Sequence[Number]) -> list[list[str]]:
    """Cells for every number, under `HEADER`."""
    rows = []
    for number in numbers:
        again = "failed" if number.error is not None else _written(number, number.again)
        cells = [number.row, str(number.seed), number.name, _written(number, number.committed), again]
        rows.append([*cells, _spread(number), number.verdict])
    return rows


def agreement_line(numbers: Sequence[Number]) -> str:
    """How many numbers were reproduced, in a sentence."""
    counts = [sum(number.verdict == verdict for number in numbers) for verdict in (SAME, WITHIN, OUTSIDE)]
    runs = counted(len({number.id for number in numbers}), "run")
    return f"{len(numbers)} numbers of {runs}: {counts[0]} the same, {counts[1]} within, {counts[2]} outside."


def _pairs(row: Row, committed: Record, again: Record) -> Iterator[_Pair]:
    """Every number of the committed record."""
    now = {(test.length, test.examples): test.score for test in again.tests}
    for test in committed.tests:
        key = (test.length, test.examples)
        seeds = tuple(found.score for run in row.done for found in run.tests if (found.length, found.examples) == key)
        yield _Pair(f"{test.length:,} ({test.examples:,})", test.score, now.get(key), seeds)
    if committed.validation is not None:
        seeds = tuple(run.validation.score for run in row.done if run.validation is not None)
        name = f"validation ({committed.validation.examples:,})"
        yield _Pair(name, committed.validation.score, _score(again.validation), seeds)
    if committed.failing_length is not None:
        yield _Pair(FAILING, committed.failing_length, again.failing_length, tuple(row.failing_lengths))


def _score(score: LengthScore | None) -> float | None:
    return None if score is None else score.score


def _verdict(pair: _Pair, metric: str, rule: Rule) -> str:
    if pair.again == pair.committed:
        return SAME
    values = [value for value in pair.over_seeds if value is not None]
    if pair.again is None or pair.committed is None:
        return OUTSIDE
    if pair.name == FAILING:  # which differs by factors between seeds, and is given with its lowest and highest
        return WITHIN if min(values) <= pair.again <= max(values) else OUTSIDE
    scale = 1.0 if METRICS[metric].is_share else abs(pair.committed)
    near = abs(pair.again - pair.committed) <= rule.tolerance * scale
    mean, std, _ = spread(values)
    inside = std is not None and len(values) == len(pair.over_seeds) and abs(pair.again - mean) <= rule.within * std
    return WITHIN if near or inside else OUTSIDE


def _written(number: Number, value: float | None) -> str:
    if value is None:
        return NOT_FINITE
    return f"{value:,.0f}" if number.name == FAILING else format_spread(value, None, number.metric)


def _spread(number: Number) -> str:
    """What the seeds of the committed row span: mean and standard deviation, or the lowest and highest length."""
    values = [value for value in number.over_seeds if value is not None]
    if len(values) < 2 or len(values) < len(number.over_seeds):
        return DASH
    if number.name == FAILING:
        return f"{min(values):,.0f}{DASH}{max(values):,.0f}"
    mean, std, _ = spread(values)
    return format_spread(mean, std, number.metric)
