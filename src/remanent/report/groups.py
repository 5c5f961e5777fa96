"""Records gathered into groups, one for every task, with a row for every unit and its mean and spread over seeds."""

import dataclasses
import json
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from remanent._identity import OWN_COLUMN, UNCOUNTED
from remanent._options import check_choice
from remanent.records.identity import options_that, with_defaults
from remanent.records.record import Record
from remanent.report.task_tables import Table, key_of, split_changes, tables_of
from remanent.tasks.base import SPLITS
from remanent.tasks.metrics import METRICS

LABELS: tuple[tuple[Mapping[str, Any], str], ...] = (
    ({"training.anneal": False}, "without annealing"),
    ({"model.write_span": None, "training.write_rates": False}, "without write rates"),
    ({"training.write_rates": False}, "write rates without data"),
)
"""Options that are written in words in a label, those of several options first."""
ORDER = (
    *("bmru", "alpha_bmru", "cmru", "alpha_cmru", "fq_bmru", "mru", "lru", "min_gru", "min_lstm"),
    *("brc", "nbrc", "gru", "lstm", "bmru+lru", "attention"),
)
"""The order of units in a table; other units follow in the order in which the records name them."""


class Column(NamedTuple):
    """What a score was measured on: the length of the sequences, and their number."""

    length: int
    examples: int


@dataclass(frozen=True)
class Row:
    """The runs of one unit with the same options on one task, ordered by seed; none where they are missing.

    A page whose rows have much in common may say with `shown` what a row is called there.
    """

    unit: str
    overrides: Mapping[str, Any]
    runs: tuple[Record, ...]
    shown: str | None = None

    @property
    def label(self) -> str:
        """The unit, and in brackets the options that were changed, and among how many settings they were chosen."""
        if self.shown is not None:
            return self.shown
        ways = {run.chosen and f"best of {run.chosen.trials} on {run.chosen.by}" for run in self.runs}
        return _label(self.unit, self.overrides, *(way for way in ways if way and len(ways) == 1))

    @property
    def done(self) -> tuple[Record, ...]:
        """The runs that did not fail."""
        return tuple(run for run in self.runs if run.status == "done")

    @property
    def state(self) -> str:
        """The state: "done" where a run did not fail, "failed" where all did, "missing" where there are none."""
        return "done" if self.done else "failed" if self.runs else "missing"

    @property
    def failing_lengths(self) -> list[int]:
        """The failing lengths of all seeds that have one."""
        return [run.failing_length for run in self.done if run.failing_length is not None]

    @property
    def training_seconds(self) -> float:
        """The median over the runs that did not fail, of which there is at least one."""
        return statistics.median(run.seconds.train for run in self.done if run.seconds)

    def scores(self, column: Column) -> list[float]:
        """The score of every seed that was tested on a column; NaN where it was not finite."""
        tests = [test for run in self.done for test in run.tests if Column(test.length, test.examples) == column]
        return [math.nan if test.score is None else test.score for test in tests]


@dataclass(frozen=True)
class Group:
    """One table: a recipe with the same options of its task, and a row for every unit with its other options.

    Its scores are of one split, and where that is "validation", they stand in the place of the tests.
    """

    recipe: str
    overrides: Mapping[str, Any]
    metric: str
    chance: float
    length_name: str
    length: int
    rows: tuple[Row, ...]
    split: str = "test"

    @property
    def label(self) -> str:
        """The recipe, and in brackets the options of its task that were changed."""
        return _label(self.recipe, self.overrides)

    @property
    def score_name(self) -> str:
        """What the scores are of, in words: of the test split, where no other is named."""
        title = METRICS[self.metric].title
        return title if self.split == "test" else f"{self.split} {title}"

    @property
    def runs(self) -> list[Record]:
        """The runs of all rows."""
        return [run for row in self.rows for run in row.runs]

    @property
    def columns(self) -> list[Column]:
        """Everything that any row was scored on, from the shortest length."""
        return sorted({Column(test.length, test.examples) for run in self.runs for test in run.tests})

    @property
    def seeds(self) -> list[int]:
        """The seeds of all rows."""
        return sorted({run.seed for run in self.runs})

    @property
    def has_failing_lengths(self) -> bool:
        """Whether any row has a failing length."""
        return any(row.failing_lengths for row in self.rows)

    def best(self, column: Column) -> Row | None:
        """The row that leads every other by more than the larger of the two standard deviations; None if no row does.

        A row that is no better than chance is never the best. A row of one seed has no spread: where it leads, no row
        is the best, and elsewhere it is not compared.
        """
        sign = 1 if METRICS[self.metric].more_is_better else -1
        spreads = {i: spread(row.scores(column)) for i, row in enumerate(self.rows) if row.scores(column)}
        if not spreads:
            return None
        ranks = {i: sign * s.mean if math.isfinite(s.mean) else -math.inf for i, s in spreads.items()}
        first = max(ranks, key=lambda i: ranks[i])
        others = [s for i, s in spreads.items() if i != first and s.seeds > 1]
        mean, std, _ = spreads[first]
        beyond_chance = sign * mean > sign * self.chance
        if std is None or not others or not beyond_chance:
            return None
        clear = all(not math.isfinite(s.mean) or abs(mean - s.mean) > max(std, s.std or 0.0) for s in others)
        return self.rows[first] if clear else None


class Spread(NamedTuple):
    """Mean and sample standard deviation over seeds; the latter is None for one seed or a mean that is not finite."""

    mean: float
    std: float | None
    seeds: int


def spread(values: Sequence[float]) -> Spread:
    """The mean and the standard deviation over seeds.

    >>> spread([1.0, 3.0])
    Spread(mean=2.0, std=1.4142135623730951, seeds=2)
    """
    if not all(map(math.isfinite, values)):
        return Spread(sum(values) / len(values), None, len(values))
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def summarise(records: Sequence[Record], recipes: Sequence[str] | None = None, *, split: str = "test") -> list[Group]:
    """Gathers records into a group for every recipe and every setting of its task, whether changed or the recipe's own.

    Units stand in `ORDER`; groups and other units stand in the order in which the records first name them, and those
    without changed options come first. A unit that some record has as a recipe has it, and none of a group, is missing
    there, and has a row that says so.

    Args:
        records: the records, as `read_results` gives them.
        recipes: the recipes to keep; None for all.
        split: whose scores are gathered: "test", or "validation" at the length trained at.

    Raises:
        ValueError: a recipe is in no record, there are no records, none has a score of the split, or records of one
            group or row differ in metric, length, task or configuration.
    """
    check_choice("--split", split, SPLITS)
    known = list(dict.fromkeys(record.recipe for record in records))
    if not known:
        raise ValueError("`FILE` must hold at least one record, got none")
    for name in recipes or ():
        if name not in known:
            raise ValueError(f"`--task` must be one of {', '.join(known)}, got {name!r}")
    if split == "validation":
        records = [_validated(record) for record in records]
        if not any(record.tests for record in records):
            rule = "must be test where no run has a score on validation, as those of earlier versions"
            raise ValueError(f"`--split` {rule}, got {split}")
    named = dict.fromkeys(record.unit for record in records)
    units = [*(unit for unit in ORDER if unit in named), *(unit for unit in named if unit not in ORDER)]
    expected = {record.unit for record in records if not split_changes(record.set)[1]}
    groups = []
    for recipe in (name for name in known if not recipes or name in recipes):
        tables = tables_of([record for record in records if record.recipe == recipe])
        groups += [_group(table, units, expected) for table in sorted(tables, key=lambda table: bool(table.overrides))]
    return [dataclasses.replace(group, split=split) for group in groups]


def _validated(record: Record) -> Record:
    """The record with its score on validation in the place of its tests."""
    tests = () if record.validation is None else (record.validation,)
    return dataclasses.replace(record, tests=tests, failing_length=None)


def _group(table: Table, units: Sequence[str], expected: Collection[str]) -> Group:
    overrides, records = table
    first = records[0]
    name = _label(first.recipe, overrides)
    for field in ("metric", "chance", "length_name", "length"):
        values = list(dict.fromkeys(getattr(record, field) for record in records))
        if len(values) > 1:
            raise ValueError(f"the records of {name} must share one `{field}`, got {', '.join(map(str, values))}")
    _check_same(records, name, ("task",))
    rows: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        rows.setdefault((record.unit, key_of(split_changes(record.changed)[1])), []).append(record)
    made = []
    for runs in rows.values():
        row = Row(runs[0].unit, split_changes(runs[0].changed)[1], tuple(sorted(runs, key=lambda run: run.seed)))
        _check_same(runs, f"{name}, {row.label}", ("task", "model", "training"))
        made.append(row)
    there = {row.unit for row in made}
    made += [Row(unit, {}, ()) for unit in units if unit in expected and unit not in there]
    made.sort(key=lambda row: (units.index(row.unit), bool(row.overrides)))
    return Group(
        first.recipe,
        overrides,
        first.metric,
        first.chance,
        first.length_name,
        first.length,
        tuple(made),
    )


def _check_same(records: Sequence[Record], name: str, tables: Sequence[str]) -> None:
    """Raises where runs of one row or table have other configurations, as where a recipe changed between versions."""
    hidden = options_that(UNCOUNTED, OWN_COLUMN)
    for table in tables:
        configs = [with_defaults(record.config)[table] for record in records]
        for key in dict.fromkeys(key for config in configs for key in config):
            values = list(dict.fromkeys(json.dumps(config.get(key)) for config in configs))
            if f"{table}.{key}" not in hidden and len(values) > 1:
                raise ValueError(
                    f"the records of {name} must share one configuration, got `{table}.{key}` of {' and '.join(values)}"
                )


def _label(name: str, overrides: Mapping[str, Any], *more: str) -> str:
    left, said = dict(overrides), []
    for options, words in LABELS:
        if all(key in left and left[key] is value for key, value in options.items()):
            left = {key: value for key, value in left.items() if key not in options}
            said.append(words)
    plain = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in left.items()]
    said = [*plain, *said, *more]
    return f"{name} ({', '.join(said)})" if said else name
