"""Groups of records as tables in Markdown, CSV or LaTeX, and the commands that make their runs."""

import csv
import io
import json
import math
import shlex
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from remanent._identity import UNCOUNTED
from remanent.records.identity import options_that
from remanent.records.record import Record
from remanent.report.groups import Column, Group, Row, spread
from remanent.report.tables import (
    DASH,
    NOT_FINITE,
    format_score,
    format_spread,
    latex_escape,
    latex_table,
    markdown_escape,
    markdown_table,
    one_line,
    spreadsheet_escape,
)
from remanent.tasks.metrics import METRICS

DEFAULT_THREADS = 1
"""The threads of a run in `remanent grid`, which a command does not write out."""
CSV_COLUMNS = (
    *("task", "task_set", "unit", "set", "status", "metric", "chance", "trained_length", "length", "examples"),
    *("mean", "std", "n", "best", "seeds", "failed", "failing_median", "failing_min", "failing_max"),
    *("parameters", "steps", "seconds_train", "split"),
)


class Cell(NamedTuple):
    """The text of a cell, and whether its score is the best of its column."""

    text: str
    is_best: bool = False


def render(groups: Sequence[Group], kind: str) -> str:
    """Writes groups as text.

    Args:
        groups: the groups, as `summarise` gives them.
        kind: one of `FORMATS`.
    """
    return FORMATS[kind](groups)


def caption(group: Group) -> str:
    """A caption that says what the table holds, in one or two sentences."""
    metric = METRICS[group.metric]
    name = group.score_name
    title = name[0].upper() + name[1:] + (" in %" if metric.is_share else "")
    chance = format_score(group.chance, group.metric)
    said = f"{title} by {group.length_name} (and number of {group.split} examples); "
    said += f"trained at {group.length:,}, chance {chance}."
    if group.has_failing_lengths:
        said += " The failing length is the longest at which 512 fresh words are all right at every step: the median"
        said += f" and, where seeds differ, [lowest{DASH}highest]."
    return said


def table_cells(group: Group) -> tuple[list[str], list[list[Cell]]]:
    """The header of a table, and its cells for every row of a group."""
    columns = group.columns
    header = ["unit", *(f"{column.length:,} ({column.examples:,})" for column in columns)]
    header += ["failing length"] * group.has_failing_lengths
    header += ["parameters", "training steps", "training, s", "seeds"]
    best = {column: group.best(column) for column in columns}
    rows = []
    for row in group.rows:
        cells = [Cell(row.label), *(Cell(_score(row, column, group.metric), best[column] is row) for column in columns)]
        cells += [Cell(_failing(row))] * group.has_failing_lengths
        if row.done:
            one = row.done[0]
            cells += [Cell(f"{one.parameters:,}"), Cell(f"{one.steps:,}"), Cell(f"{row.training_seconds:,.0f}")]
        else:
            cells += [Cell(DASH)] * 3
        rows.append([*cells, Cell(_seeds(row, group))])
    return header, rows


def grid_commands(group: Group, more: Sequence[str] = ()) -> list[str]:
    """The commands that make the runs of a group, one for all units that share options and seeds.

    Options that were chosen among several are searched again.

    Args:
        group: the group.
        more: words that every command ends with.

    Returns:
        Lines for a shell, in the order of the rows.
    """
    agents = any(run.of_agent for run in group.runs)
    seeds: dict[tuple[tuple[str, ...], int | None], dict[str, set[int]]] = {}
    for run in group.runs:
        own = _agent_words(run) if agents else _option_words(run)
        key = (own, None if run.chosen is None else run.chosen.seed)
        seeds.setdefault(key, {}).setdefault(run.unit, set()).add(run.seed)
    commands = []
    for (options, searched), of_units in seeds.items():
        units: dict[tuple[int, ...], list[str]] = {}
        for unit, numbers in of_units.items():
            units.setdefault(tuple(sorted(numbers)), []).append(unit)
        for shared, names in units.items():
            begun = ["rl", group.recipe] if agents else ["grid", "--task", group.recipe]
            listed = [str(seed) for seed in shared] if agents else _seed_words(shared)
            words = ["remanent", *begun, "--unit", *names, "--seed", *listed]
            words += ["--search-seed", str(searched)] if searched not in (None, shared[0]) else []
            commands.append(shlex.join([*words, *options, *more]))
    return commands


def _option_words(run: Record) -> tuple[str, ...]:
    """The options of the command that makes a run: how they were searched, where they were, and what was set."""
    uncounted, chosen = options_that(UNCOUNTED), run.chosen
    given = {key: value for key, value in sorted(run.changed.items()) if key not in uncounted}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}
    words: list[str] = []
    if chosen is not None:
        texts = chosen.options | {key: text for key, text in texts.items() if key not in chosen.options}
        words += ["--choose", chosen.by]
        words += ["--search-steps", str(chosen.steps)] if chosen.steps != run.steps else []
        settings = math.prod(len(text.split(",")) for text in chosen.options.values())
        words += ["--sample", str(chosen.trials)] if settings != chosen.trials else []  # drawn, or from a range
    for key, text in texts.items():
        words += ["--set", f"{key}={text}"]
    threads = run.config.get("training", {}).get("threads", DEFAULT_THREADS)
    return (*words, *(("--threads", str(threads)) if threads != DEFAULT_THREADS else ()))


def _agent_words(run: Record) -> tuple[str, ...]:
    """The same of an agent's run: what was set, and the multiples of its length that it was tested at."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in sorted(run.changed.items())}
    words = [word for key, text in texts.items() for word in (f"--{key}", text)]
    if len(run.tests) > 1:
        words += ["--tests", *(str(test.length // run.length) for test in run.tests)]
    return tuple(words)


def _score(row: Row, column: Column, metric: str) -> str:
    if row.state != "done":
        return row.state
    scores = row.scores(column)
    if not scores:
        return DASH
    mean, std, count = spread(scores)
    if not math.isfinite(mean):
        return NOT_FINITE
    return format_spread(mean, std, metric) + (f" (of {count})" if count < len(row.done) else "")


def _failing(row: Row) -> str:
    if row.state != "done":
        return row.state
    lengths = row.failing_lengths
    if not lengths:
        return DASH
    middle = f"{statistics.median(lengths):,.1f}".removesuffix(".0")
    return f"{middle} [{min(lengths):,}{DASH}{max(lengths):,}]" if min(lengths) < max(lengths) else middle


def _seeds(row: Row, group: Group) -> str:
    if not row.runs:
        return "missing"
    done, failed = len(row.done), len(row.runs) - len(row.done)
    said = [str(done) if done == len(group.seeds) else f"{done} of {len(group.seeds)}"]
    return ", ".join(said + [f"{failed} failed"] * bool(failed))


def _seed_words(numbers: Sequence[int]) -> list[str]:
    first, last = numbers[0], numbers[-1]
    if len(numbers) > 1 and list(numbers) == list(range(first, last + 1)):
        return [f"{first}:{last + 1}"]
    return [str(number) for number in numbers]


def markdown_scores(group: Group) -> str:
    """The table of one group in Markdown, without its caption."""
    header, rows = table_cells(group)
    return markdown_table(header, [[_markdown_cell(cell) for cell in row] for row in rows])


def _markdown_cell(cell: Cell) -> str:
    text = markdown_escape(cell.text)
    return f"**{text}**" if cell.is_best else text


def _markdown(groups: Sequence[Group]) -> str:
    parts = []
    for group in groups:
        label, said = markdown_escape(group.label), markdown_escape(caption(group))
        parts.append(f"## {label}\n\n{said}\n\n{markdown_scores(group)}\n")
    return "\n".join(parts)


def _latex(groups: Sequence[Group]) -> str:
    parts = []
    for group in groups:
        header, rows = table_cells(group)
        escaped = [[_latex_cell(cell) for cell in row] for row in rows]
        said = one_line(f"{group.label}. {caption(group)}")
        parts.append(f"% {said}\n{latex_table(list(map(latex_escape, header)), escaped)}\n")
    return "\n".join(parts)


def _latex_cell(cell: Cell) -> str:
    text = latex_escape(cell.text)
    return rf"\textbf{{{text}}}" if cell.is_best else text


def _csv(groups: Sequence[Group]) -> str:
    """A line for every row and length, with all digits, for other programs to read."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for group in groups:
        for row in group.rows:
            for column in group.columns if row.done else [None]:
                line = _csv_line(group, row, column)
                writer.writerow({k: spreadsheet_escape(v) if isinstance(v, str) else v for k, v in line.items()})
    return text.getvalue()


def _csv_line(group: Group, row: Row, column: Column | None) -> dict[str, Any]:
    line: dict[str, Any] = {
        "task": group.recipe,
        "task_set": json.dumps(group.overrides, sort_keys=True),
        "unit": row.unit,
        "set": json.dumps(row.overrides, sort_keys=True),
        "status": row.state,
        "metric": group.metric,
        "chance": group.chance,
        "trained_length": group.length,
        "split": group.split,
        "n": 0,
        "seeds": len(row.done),
        "failed": len(row.runs) - len(row.done),
    }
    if column is not None:
        line |= {"length": column.length, "examples": column.examples, "best": int(group.best(column) is row)}
        scores = row.scores(column)
        if scores:
            line |= dict(zip(("mean", "std", "n"), spread(scores), strict=True))
    if row.failing_lengths:
        lengths = row.failing_lengths
        line |= {"failing_median": statistics.median(lengths)}
        line |= {"failing_min": min(lengths), "failing_max": max(lengths)}
    if row.done:
        line |= {"parameters": row.done[0].parameters, "steps": row.done[0].steps}
        line |= {"seconds_train": row.training_seconds}
    return line


FORMATS: dict[str, Callable[[Sequence[Group]], str]] = {"md": _markdown, "csv": _csv, "latex": _latex}
"""Name to a function that writes groups in this format."""
