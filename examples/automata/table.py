"""Makes the table of automata: on how many seeds each unit is proved right at every length, and how far the others get.

It reads the records of `remanent grid` and of `remanent verify --results`, which name the run that they are about.

python table.py --results ../../results/automata.jsonl --proofs ../../results/proofs.jsonl
python table.py --results ../../results/automata.jsonl --proofs ../../results/proofs.jsonl --page ../../docs/automata.md
"""

import argparse
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from remanent._files import replace_between, write_whole
from remanent.records.identity import with_defaults
from remanent.records.lines import read_lines
from remanent.records.record import Record, read_records
from remanent.report.tables import DASH, NOT_FINITE, format_score, markdown_table

BEGIN, END = "<!-- begin automata -->", "<!-- end automata -->"
"""The marks in the page that the tables stand between."""
RIGHT = "right"
"""The outcome of a walk that met no wrong answer."""

LIMITS = (2048, 4096, 2**20)
"""Where searches for a failing length end; one that is found there says only that it is at least so long."""


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        name: what it is called.
        task: the name of the task.
        options: the options of the task that make it this row; others may have any value.
    """

    name: str
    task: str
    options: dict[str, Any]


ROWS = (
    Row("parity", "parity", {}),
    *(Row(group, "group-word", {"group": group}) for group in ("Z2", "Z60", "S3", "S4", "A5", "S5")),
    Row("flip-flop, 1 bit", "flip-flop", {"values": 2, "cells": 1}),
    Row("flip-flop, 4 bits", "flip-flop", {"values": 2, "cells": 4}),
    *(Row(f"Tomita {language}", "tomita", {"language": language}) for language in range(1, 8)),
    Row("Dyck, 2 brackets to depth 5", "dyck", {"kinds": 2, "depth": 5}),
)
"""The tasks that declare their automaton."""
UNITS = {
    "mru": "MRU",
    "bmru": "BMRU",
    "lru": "LRU",
    "min_gru": "minGRU",
    "negative_linear": "negative linear",
    "gru": "GRU",
    "attention": "attention",
}
"""Unit to the head of its column; a unit that no run has gets none, and other units follow by name."""


class Published(NamedTuple):
    """A failing length that others have published: of which model, as words, and where."""

    model: str
    length: str
    source: str


BRANDOIT = 'Brandoit et al. (2026), "Length-independent state tracking under a parallel scan"'
PUBLISHED = (
    Published("Mamba", "85 to 4,352", BRANDOIT),
    Published("K-state unit, anchored: its states were supervised", "at least 1,000,000", BRANDOIT),
)
"""What the table is shown beside."""


class Proof(NamedTuple):
    """A line of `remanent verify`: whose model was walked, how that ended, and after how many states."""

    task: dict[str, Any]
    unit: str
    identity: str
    outcome: str
    states: int


class Run(NamedTuple):
    """What is known of one run: its record, where the results have it, and the proof that it is right, if there is one.

    Attributes:
        record: the record of its training and its tests.
        walked: whether its states were walked.
        proof: the walk that met no wrong answer.
    """

    record: Record | None
    walked: bool
    proof: Proof | None


def read_proofs(path: Path) -> list[Proof]:
    """The lines of `remanent verify`; none where there is no file yet.

    Raises:
        ValueError: a line lacks a key.
    """
    proofs = []
    for line in read_lines(path).whole:
        missing = [key for key in Proof._fields if key not in line.value]
        if missing:
            rule = "must be a line of `remanent verify --results`"
            raise ValueError(f"{path}, line {line.number} {rule}, got one without {', '.join(missing)}")
        proofs.append(Proof(**{key: line.value[key] for key in Proof._fields}))
    return proofs


def is_of(row: Row, task: dict[str, Any]) -> bool:
    """Whether a task, its name and options, is that of a row."""
    meant = with_defaults({"task": task})["task"]
    return task["name"] == row.task and all(meant.get(name) == value for name, value in row.options.items())


def runs_of(row: Row, unit: str, records: Iterable[Record], proofs: Iterable[Proof]) -> list[Run]:
    """The runs of a unit on the task of a row, each once, those without a record last."""
    trained = {record.id: record for record in records if record.unit == unit and is_of(row, record.config["task"])}
    walks: dict[str, list[Proof]] = {}
    for proof in proofs:
        if proof.unit == unit and is_of(row, proof.task):
            walks.setdefault(proof.identity, []).append(proof)
    found = []
    for identity in trained | walks:
        own = walks.get(identity, [])
        right = [proof for proof in own if proof.outcome == RIGHT]
        found.append(Run(trained.get(identity), bool(own), right[-1] if right else None))
    return found


def cell(runs: list[Run]) -> str:
    """The text for the runs of a unit: how many are proved, after how many states, and how far the others get."""
    if not any(run.walked for run in runs):
        return reached(runs) or DASH
    proved = [run.proof for run in runs if run.proof]
    said = [f"{len(proved)} of {len(runs)} proved"]
    if proved:
        states = span(proof.states for proof in proved)
        said = [f"{said[0]}, {states} {'state' if states == '1' else 'states'}"]
    return "; ".join(filter(None, [*said, reached([run for run in runs if not run.proof])]))


def reached(runs: list[Run]) -> str:
    """The failing lengths of runs, their median and range; where none was looked for, the scores as trained."""
    records = [run.record for run in runs if run.record]
    done = [record for record in records if record.status == "done"]
    lengths = [record.failing_length for record in done if record.failing_length is not None]
    failed = f"{len(records) - len(done)} failed" if len(done) < len(records) else ""
    if lengths:
        middle = at_least(statistics.median(lengths))
        return ", ".join(filter(None, [middle + (f" [{span(lengths)}]" if len(set(lengths)) > 1 else ""), failed]))
    return ", ".join(filter(None, [*map(score, done), failed]))


def at_least(length: float) -> str:
    """A failing length, or the median of several; with a sign where the search ended there."""
    return ("≥ " if length in LIMITS else "") + f"{length:,.1f}".removesuffix(".0")


def score(record: Record) -> str:
    """The score at the length that a run was trained at, or else at the shortest that it was tested at."""
    if not record.tests:
        return DASH
    test = min(record.tests, key=lambda test: (test.length != record.length, test.length))
    value = NOT_FINITE if test.score is None else format_score(test.score, record.metric)
    return f"{value} at {test.length:,}"


def span(numbers: Iterable[int]) -> str:
    """The smallest and the largest of some numbers, or the one that all are."""
    found = sorted(set(numbers))
    return DASH.join(f"{number:,}" for number in dict.fromkeys([found[0], found[-1]]))


def markdown(records: list[Record], proofs: list[Proof]) -> str:
    """The table of what was measured, and that of what was published."""
    seen = {run.unit for run in (*records, *proofs)}
    units = [unit for unit in UNITS if unit in seen] + sorted(seen - set(UNITS))
    rows = []
    for row in ROWS:
        runs = {unit: runs_of(row, unit, records, proofs) for unit in units}
        lengths = [run.record.length for own in runs.values() for run in own if run.record]
        rows.append([row.name, span(lengths) if lengths else DASH, *map(cell, runs.values())])
    measured = markdown_table(["task", "trained at", *(UNITS.get(unit, unit) for unit in units)], rows)
    published = markdown_table(["published", "failing length", "source"], [list(each) for each in PUBLISHED])
    return f"{measured}\n\n{published}"


def write_page(page: Path, records: list[Record], proofs: list[Proof]) -> None:
    """Writes the tables between the marks of a page.

    Raises:
        ValueError: the page does not hold both marks.
    """
    write_whole(page, replace_between(page.read_text(), BEGIN, END, markdown(records, proofs), page).encode())


def main(arguments: list[str] | None = None) -> None:
    """Prints the tables, or writes them into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="the file that `remanent grid` appends to")
    parser.add_argument("--proofs", type=Path, required=True, help="the file that `remanent verify` appends to")
    parser.add_argument("--page", type=Path, help="the page that gets the tables; they are printed without it")
    options = parser.parse_args(arguments)
    records, proofs = read_records(options.results).records, read_proofs(options.proofs)
    if options.page is None:
        print(markdown(records, proofs))
    else:
        write_page(options.page, records, proofs)


if __name__ == "__main__":
    main()
