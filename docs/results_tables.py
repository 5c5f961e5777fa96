"""The tables of the page of results: rows in few words, which units were not run, pictures, and commands."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from remanent.records.identity import beside_the_point, with_defaults
from remanent.records.record import Record
from remanent.report.figures import save_figure
from remanent.report.group_figures import draw_failing_lengths, draw_scores
from remanent.report.groups import Group, Row, summarise
from remanent.report.results import read_results
from remanent.report.score_tables import caption, grid_commands, markdown_scores, table_cells
from remanent.report.tables import counted, markdown_escape, markdown_table
from remanent.tasks import METRICS

UNITS = (
    *("bmru", "alpha_bmru", "cmru", "alpha_cmru", "mru", "lru", "min_gru", "gru"),
    *("bmru+lru", "alpha_bmru+lru", "attention"),
)
"""The units that every task is run with, in the order of tables; each has its own colour in all pictures."""
COMMON = {"model.gate_norm": "batch", "model.initial_state": "low", "training.anneal_ramp": 0.4}
"""What all rows have that do not say otherwise."""
TAPS, RATE = "model.conv_size", "training.learning_rate"
"""What is searched, and what every row says."""
STEPS = "training.steps"
"""What has a column of its own."""
FAILING_LIMIT = 65_536
"""The longest length at which a failure was looked for."""
MORE = ("--failing-limit", str(FAILING_LIMIT), "--results", "results/evidence.jsonl")
"""What the commands of the tables end with."""
NO_TIME = "no time was left"
WHY_NOT = {
    ("copy-first (task.steps=1000)", "attention"): "which takes too long on 1,000 steps",
    ("spoken-digits (task.standardise=set)", None): "models for a chip, of 40 channels",
    ("keyword (task.standardise=set)", None): "models for a chip, of 40 channels",
    ("pathfinder", None): "each run takes half an hour",
    ("pathfinder (task.size=12)", None): "each run takes half an hour",
    ("permuted-mnist", None): "each run takes ten minutes",
}
"""Why units were not run: by table and unit, or for all other units of a table."""


class Evidence(NamedTuple):
    """The records of the page.

    Attributes:
        now: the runs of the tables, tested once.
        trials: the runs that chose their options, on validation.
        ablation: a BMRU with every ingredient, and without each.
        then: the first runs, made before write rates, normalised gates and convolutions.
        small: the models of spoken digits and of a keyword that fit a chip.
    """

    now: list[Record]
    trials: list[Record]
    ablation: list[Record]
    then: list[Record]
    small: list[Record]


def read_evidence(folder: Path) -> tuple[Evidence, list[str]]:
    """The records in a folder of results, of which any file may not be there yet, and what was left out."""
    names = ("evidence", "trials/evidence", "ablation", "grid", "keyword")
    found, notes = [], []
    for path in [folder / f"{name}.jsonl" for name in names]:
        records, said = read_results([path] if path.exists() else [])
        found.append(records)
        notes += said
    return Evidence(*found), notes


def tables_of(records: Sequence[Record]) -> list[Group]:
    """A table for every task, whose rows are called in few words; units that were not run have no row."""
    return [_named(group) for group in summarise(records)] if records else []


def value_of(run: Record, key: str) -> Any:
    """The value of a dotted option in a run's configuration, as it is or as it was before the option was there."""
    table, _, name = key.partition(".")
    return with_defaults(run.config)[table].get(name)


def options_of(row: Row) -> list[str]:
    """What a row says of its options, in few words."""
    run = row.runs[0]
    taps = value_of(run, TAPS)
    words = [f"{taps} taps" if taps else "no taps", f"rate {value_of(run, RATE):g}"]
    if not beside_the_point(run.config):
        usual = {key: value for key, value in COMMON.items() if value_of(run, "training.anneal") or "anneal" not in key}
        words += [_said(key, found) for key, value in usual.items() if (found := value_of(run, key)) != value]
    skipped = {*COMMON, TAPS, RATE, STEPS}
    return words + [_said(key, value) for key, value in row.overrides.items() if key not in skipped]


def options_then(row: Row) -> list[str]:
    """What a first row has beside the options of its recipe and thresholds of 1, in few words."""
    words = [word for key, word in zip((TAPS, RATE), options_of(row), strict=False) if key in row.overrides]
    rates = not beside_the_point(row.runs[0].config) and value_of(row.runs[0], "training.write_rates")
    skipped = {TAPS, RATE, STEPS, "model.write_span", "training.write_rates"}
    said = [_said(key, value) for key, value in row.overrides.items() if key not in skipped]
    return words + said + ["write rates"] * bool(rates)


def how_chosen(row: Row) -> str:
    """How the options of a row came about where it was not as the page says: the best of four on validation."""
    chosen = row.runs[0].chosen
    return "given" if chosen is None else "" if chosen.trials == 4 else f"best of {chosen.trials}"


def section(group: Group, then_and_now: str, pictures: Path) -> tuple[str, list[str]]:
    """A table of now: heading, caption, table, pictures, what it was before, commands; and the pictures' names."""
    lines = [f"## {group.label}", "", caption(group)]
    if group.has_failing_lengths:
        lines[-1] += f" It was looked for up to {FAILING_LIMIT:,}."
    trials = sorted({run.chosen.steps for run in group.runs if run.chosen})
    lines[-1] += f" Trials had {' or '.join(f'{steps:,}' for steps in trials)} steps." if trials else ""
    lines += ["", _table(group), "", *_absent(group, UNITS)]
    drawn = _draw(group, f"results-{slug(group.label)}", pictures, FAILING_LIMIT)
    lines += [part for text in drawn.values() for part in (text, "")]
    lines += [then_and_now, ""] if then_and_now else []
    return "\n".join([*lines, "```console", *grid_commands(group, MORE), "```", ""]), list(drawn)


def section_then(group: Group, pictures: Path) -> tuple[str, list[str]]:
    """A table of the first runs, whose rows have their whole labels, and the pictures' names."""
    absent = [row.unit for row in group.rows if not row.runs]
    group = dataclasses.replace(group, rows=tuple(row for row in group.rows if row.runs))
    lines = [f"### {group.label}", "", caption(group), "", markdown_scores(group), "", *_absent(group, absent)]
    words = [(row, options_then(row)) for row in group.rows]
    names = [f"{row.unit} ({', '.join(options)})" if options else row.unit for row, options in words]
    rows = tuple(dataclasses.replace(row, shown=name) for row, name in zip(group.rows, names, strict=True))
    short = dataclasses.replace(group, rows=rows) if len(set(names)) == len(names) else group
    drawn = _draw(short, f"results-first-{slug(group.label)}", pictures)
    lines += [part for text in drawn.values() for part in (text, "")]
    return "\n".join([*lines, "```console", *grid_commands(group), "```", ""]), list(drawn)


def slug(label: str) -> str:
    """A label as a part of a file's name."""
    return re.sub(r"[^0-9a-z]+", "-", label.lower()).strip("-")


def core_hours(records: Iterable[Record]) -> float:
    """The time that runs took to be trained and tested, each on one thread."""
    return sum(run.seconds.train + run.seconds.test for run in records if run.seconds) / 3600


def budget(evidence: Evidence) -> str:
    """A sentence that says what everything but the first runs took."""
    parts = {
        "of the tables": evidence.now,
        "that chose their options on validation": evidence.trials,
        "of the ablation": evidence.ablation,
    }
    said = [f"{counted(len(runs), 'run')} {name} {core_hours(runs):.1f}" for name, runs in parts.items() if runs]
    total = core_hours(run for runs in parts.values() for run in runs)
    whole = f"{total:.1f} core-hours in all, of 24 that were allowed"
    return f"Trainings and tests took {whole}: {', '.join(said)}." if said else "No runs yet."


def made_by(records: Iterable[Record]) -> str:
    """On what machines, with what versions, and of what commits the records were made."""
    commits: dict[tuple[str, str], list[str]] = {}
    for record in records:
        by = record.versions
        if by is None:
            continue
        packages = ", ".join(f"{name} {version}" for name, version in by.packages.items())
        machine = f"{by.processor} ({by.cores} cores), {by.platform}"
        commits.setdefault((machine, f"Python {by.python}, {packages}"), []).append(record.commit or "unknown")
    lines = ["## How it was made", ""]
    for (machine, made_with), of_runs in commits.items():
        said = ", ".join(f"`{commit}` ({of_runs.count(commit)})" for commit in dict.fromkeys(of_runs))
        lines.append(f"- {machine}: {made_with}; {len(of_runs)} runs, of commits (runs) {said}.")
    return "\n".join([*lines, ""])


def _named(group: Group) -> Group:
    """The group with the rows that were run, those with chosen options first of their unit, each with its own name."""
    order = {unit: place for place, unit in enumerate(UNITS)}
    rows = [row for row in group.rows if row.runs]
    rows.sort(key=lambda row: (order.get(row.unit, len(order)), row.runs[0].chosen is None))  # a stable sort
    first: dict[str, list[str]] = {}
    names: dict[str, Row] = {}
    for row in rows:
        words, name = options_of(row), row.unit
        if row.unit in first:
            others = [word for word in words if word not in first[row.unit]]
            name = f"{row.unit} ({', '.join(others) or f'{row.runs[0].steps:,} steps'})"
        first.setdefault(row.unit, words)
        while name in names:
            name += "'"
        names[name] = row
    return dataclasses.replace(group, rows=tuple(dataclasses.replace(row, shown=name) for name, row in names.items()))


def _table(group: Group) -> str:
    """The table with a column that says the options of each row."""
    header, rows = table_cells(group)
    lines = []
    for row, (_, *cells, _) in zip(group.rows, rows, strict=True):
        options = ", ".join([*options_of(row), how_chosen(row)]).removesuffix(", ")
        failed = len(row.runs) - len(row.done)
        seeds = f"{len(row.done)}" + f", {failed} failed" * bool(failed)
        shown = [f"**{cell.text}**" if cell.is_best else cell.text for cell in cells]
        lines.append([row.unit, options, *shown, seeds])
    return markdown_table([header[0], "options", *header[1:]], lines, words=2)


def _absent(group: Group, expected: Sequence[str]) -> list[str]:
    """A sentence that says which of the expected units were not run, and why."""
    there = {row.unit for row in group.rows}
    reasons: dict[str, list[str]] = {}
    for unit in expected:
        if unit not in there:
            why = WHY_NOT.get((group.label, unit)) or WHY_NOT.get((group.label, None)) or NO_TIME
            reasons.setdefault(why, []).append(unit)
    said = [f"{', '.join(units)} ({why})" for why, units in reasons.items()]
    return [f"Not run on this task: {', '.join(said)}.", ""] if said else []


def _draw(group: Group, name: str, pictures: Path, limit: int | None = None) -> dict[str, str]:
    """Draws a group, and gives for the name of each picture what the page says to show it."""
    pictures.mkdir(exist_ok=True)
    figures = {name: (draw_scores(group, UNITS), f"{METRICS[group.metric].title} of every unit")}
    if group.has_failing_lengths:
        figure = draw_failing_lengths(group, UNITS, *([] if limit is None else [limit]))
        figures[f"{name}-failing"] = (figure, "failing length of every unit and seed")
    for stem, (figure, _) in figures.items():
        save_figure(figure, pictures / f"{stem}.svg")
    label = markdown_escape(group.label)
    return {stem: f"![{label}: {said}](pictures/{stem}.svg)" for stem, (_, said) in figures.items()}


def _said(key: str, value: Any) -> str:
    """An option in words: its name without the table, and its value."""
    name = WORDS.get(key, key.partition(".")[2].replace("_", " "))
    if value is None or isinstance(value, bool):
        return name if value else f"no {name}"
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


WORDS: Mapping[str, str] = {
    "training.anneal": "annealing",
    "training.anneal_ramp": "ramp",
    "training.length_jitter": "jitter",
    "model.gate_norm": "gate norm",
    "model.initial_state": "start",
    "model.hidden_size": "width",
    "model.num_layers": "blocks",
}
"""What options are called where their names would be long or unclear."""
