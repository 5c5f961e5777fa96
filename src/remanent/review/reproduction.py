"""Committed runs trained and tested again: which of a table are repeated, and how their numbers compare."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from remanent._options import check_at_least, check_range
from remanent.records.configuration import Experiment, reads_files
from remanent.records.identity import identity
from remanent.records.record import Record, read_records
from remanent.report.agreement import Number, Rule, compare
from remanent.report.groups import Group, Row
from remanent.sweep.combinations import GridRun
from remanent.sweep.grid import GridOptions, run_grid
from remanent.tasks import TASKS
from remanent.tasks.base import derive_seed
from remanent.training.outcome import LengthTest

RESULTS = "results.jsonl"
"""The results file of repeated runs, in the folder of a reproduction."""


class Member(NamedTuple):
    """A committed run, with the table and the row that it is a part of."""

    group: Group
    row: Row
    record: Record


@dataclass(frozen=True)
class Draw:
    """Which of the runs of tables are repeated.

    Args:
        fraction: the share of the runs, in (0, 1], rounded up; a larger one contains a smaller one.
        seed: of the draw, at least 0.

    Raises:
        ValueError: a value is out of its range.
    """

    fraction: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("--fraction", self.fraction, 0, 1, open_low=True)
        check_at_least("--seed", self.seed, 0)


def select(groups: Sequence[Group], tables: Sequence[str], rows: Sequence[str] = ()) -> list[Member]:
    """The runs of tables that did not fail.

    Args:
        groups: all tables.
        tables: their headings, or recipes, which name all tables of the recipe that has no table of that heading.
        rows: the labels of rows, or units, which name all rows of a unit that has no row of that label; empty for all.

    Raises:
        ValueError: there is no such table or row, or it has no runs.
    """
    found = [group for name in tables for group in _named(name, groups)]
    members = []
    for group in {group.label: group for group in found}.values():
        labels = {row.label for row in group.rows}
        names = {row.label: {row.label} | ({row.unit} - labels) for row in group.rows}
        asked = [row for row in group.rows if not rows or names[row.label] & set(rows)]
        members += [Member(group, row, record) for row in asked for record in row.done]
    known = {row.label for group in found for row in group.rows if row.done}
    for name in rows:
        if not any(name in (member.row.label, member.row.unit) for member in members):
            raise ValueError(f"`--row` must be one of {'; '.join(sorted(known))}, got {name!r}")
    if not members:
        raise ValueError(f"`TABLE` must have runs that did not fail, got {', '.join(tables)} without any")
    return members


def drawn(members: Sequence[Member], draw: Draw) -> list[Member]:
    """A part of the runs, spread over the rows: no row has a second one before each row has its first."""
    keys = {member.record.id: derive_seed("reproduce", draw.seed, member.record.id) for member in members}
    ranks: dict[str, int] = {}
    for row in {id(member.row): member.row for member in members}.values():
        ordered = sorted((run.id for run in row.done), key=lambda each: keys[each])
        ranks |= {each: rank for rank, each in enumerate(ordered)}
    count = math.ceil(round(draw.fraction * len(members), 9))
    first = sorted(members, key=lambda m: (ranks[m.record.id], keys[m.record.id]))[:count]
    kept = {member.record.id for member in first}
    return [member for member in members if member.record.id in kept]


def rerun(record: Record, data_dir: str | None = None) -> GridRun:
    """The run of a record, tested as the record was.

    Args:
        record: of any version.
        data_dir: the folder that holds the data, for a task that reads any; None for the place that the record names.

    Raises:
        ValueError: this version would train another run, or the record's configuration is none.
    """
    task = TASKS.get(record.config.get("task", {}).get("name", ""))
    place = data_dir if task is not None and reads_files(task) else None
    experiment = Experiment.from_dict(record.config, f"the record {record.id}", data_dir=place)
    if (found := identity(experiment.to_dict())) != record.id:
        raise ValueError(f"`TABLE` must hold runs that can be made again, got {record.id}, which is now {found}")
    tests = tuple(LengthTest(test.length, test.examples) for test in record.tests)
    return GridRun(record.recipe, record.set, experiment, record.chosen, tests)


def reproduce(
    members: Sequence[Member], options: GridOptions, rule: Rule, *, data_dir: str | None = None, progress: bool = True
) -> list[Number]:
    """Trains and tests committed runs again, and compares all of their numbers; the same call resumes it.

    Args:
        members: the runs.
        options: where and how they are done; the results file is another than the committed one.
        rule: when a number counts as reproduced.
        data_dir: the folder that holds the data, for tasks that read any; None for the places that the records name.
        progress: whether a bar is drawn, and a line for each run.

    Raises:
        ValueError: a run cannot be made again by this version, or the results file is broken.
        FileNotFoundError: data are missing.
        OSError: a file cannot be written.
        KeyboardInterrupt: it was interrupted; the same call resumes it.
    """
    runs = [rerun(member.record, data_dir) for member in members]
    run_grid(runs, options, progress=progress)
    found = {record.id: record for record in read_records(options.results, warn=True).records}
    return [n for each in members for n in compare(each.group, each.row, found[each.record.id], rule)]


def made_by(records: Sequence[Record]) -> list[str]:
    """Where, of which commits and with which versions records were made, each way once."""
    commits: dict[str, set[str]] = {}
    for record in records:
        if (made := record.versions) is not None:
            packages = ", ".join(f"{name} {version}" for name, version in made.packages.items())
            way = f"{packages}; Python {made.python}; {made.processor}, {made.cores} cores"
            commits.setdefault(way, set()).add((record.commit or "unknown")[:7])
    return [f"{way}; of commit {', '.join(sorted(of_commits))}" for way, of_commits in commits.items()]


def again_options(folder: Path, committed: Sequence[Path], workers: int | None, modules: Sequence[str]) -> GridOptions:
    """Where runs are repeated: in a folder of their own, which holds the weights and the results.

    Raises:
        ValueError: that results file is one of the committed ones.
    """
    results = folder / RESULTS
    if results.resolve() in {path.resolve() for path in committed}:
        raise ValueError(f"`--folder` must not hold the committed results, got {folder}")
    return GridOptions(results, folder / "runs", workers=workers, retry_failed=True, modules=tuple(modules))


def _named(name: str, groups: Sequence[Group]) -> list[Group]:
    """The tables of a heading, or else of a recipe."""
    found = [group for group in groups if group.label == name] or [group for group in groups if group.recipe == name]
    if not found:
        raise ValueError(f"`TABLE` must be a file or one of {'; '.join(group.label for group in groups)}, got {name!r}")
    return found
