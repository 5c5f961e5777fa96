"""A page about runs: what was trained, how well it scores, and what its memory looks like."""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from remanent._options import check_choice
from remanent.report.group_figures import draw_failing_lengths, draw_scores
from remanent.report.groups import Group, spread, summarise
from remanent.report.memory_figures import confusion_matrix, learning_curves
from remanent.report.page import Picture, Section, Table, write_page
from remanent.report.results import read_results
from remanent.report.score_tables import caption, grid_commands, table_cells
from remanent.report.tables import NOT_FINITE, counted, format_score, format_spread
from remanent.review.measures import Learning, RunMeasures, measure_run
from remanent.review.memory import memory_section
from remanent.review.proved import proof_sections
from remanent.review.rows import ByUnit, by_way, check_runs
from remanent.tasks import METRICS
from remanent.tasks.base import SPLITS


def write_report(
    runs: Sequence[Path],
    out: Path,
    *,
    results: Sequence[Path] = (),
    split: str = "test",
    data_dir: str | None = None,
    said: Callable[[str], None] = lambda text: None,
    began: Callable[[int, Path], None] = lambda number, folder: None,
) -> None:
    """Writes one self-contained HTML file about finished runs of one task, and about results files of grids.

    Args:
        runs: the folders of finished runs of one task; may be empty if there are results.
        out: the file to write, which must not exist yet, in a folder that exists.
        results: files that `remanent grid` wrote; each task in them has a section of its own.
        split: whose scores the tables and figures of `results` show: "test", or "validation" at the length trained at.
        data_dir: the folder that holds the runs' data now; None for the places that their configurations name.
        said: a function that is called with a line about each record that is left out.
        began: a function that is called before each run is measured, with its number, from 0, and its folder.

    Raises:
        FileExistsError: `out` exists.
        FileNotFoundError: a folder holds no finished run, there is no such file, or data are missing.
        ValueError: the runs are of different tasks, nothing is given, or a file is corrupt.
    """
    check_page(out, runs, results, split)
    check_runs(runs, data_dir)
    records, notes = read_results(results)
    for note in notes:
        said(note)
    if results and not records:
        raise ValueError(
            f"`--results` must hold records of `remanent grid`, got none in {', '.join(map(str, results))}"
        )
    groups = summarise(records, split=split) if records else []
    measured = []
    for number, folder in enumerate(runs):
        began(number, folder)
        measured.append(measure_run(folder, data_dir))
    by_unit = by_way(measured)
    sections = _run_sections(by_unit) if measured else []
    sections += [group_section(group) for group in groups]
    title = measured[0].experiment.task.name if measured else ", ".join(dict.fromkeys(g.recipe for g in groups))
    of_grid = f"{len(records)} runs of a grid, in {counted(len(groups), 'table')}."
    write_page(
        out,
        title=f"{title}: what is remembered",
        summary=_summary(by_unit) if measured else of_grid,
        sections=sections,
        footer=_footer(measured, notes),
    )


def check_page(out: Path, runs: Sequence[Path], results: Sequence[Path], split: str) -> None:
    """Raises unless a page may be written to a file, of at least one run or results file, about a split."""
    if out.exists():
        raise FileExistsError(f"`--out` must not exist yet, got {out}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"`--out` must lie in a folder that exists, got {out}")
    if not runs and not results:
        raise ValueError("`RUN` or `--results` must be given, got neither")
    check_choice("--split", split, SPLITS)


def _run_sections(by_unit: ByUnit) -> list[Section]:
    runs = [run for group in by_unit.values() for run in group]
    task = runs[0].experiment.task
    proofs = {
        unit: {run.experiment.training.seed: run.proof for run in group if run.proof is not None}
        for unit, group in by_unit.items()
    }
    return [
        _scores(by_unit),
        *proof_sections(proofs),
        learning_section("Learning", by_unit, task.name, task.metric, task.chance),
        memory_section(by_unit),
        *_confusions(by_unit),
        configuration_section((run.folder, run.experiment.to_dict()) for run in runs),
    ]


def _summary(by_unit: ByUnit) -> str:
    """The units from the best one on, with their scores, and the score of guessing."""
    task = next(iter(by_unit.values()))[0].experiment.task
    score = METRICS[task.metric]
    means = {unit: statistics.fmean(run.score for run in runs) for unit, runs in by_unit.items()}
    sign = -1 if score.more_is_better else 1
    order = sorted(means, key=lambda unit: sign * means[unit] if math.isfinite(means[unit]) else math.inf)
    found = ", ".join(f"{unit} {_score(by_unit[unit])}" for unit in order)
    what = score.title + (" in %" if score.is_share else "")
    count = sum(len(runs) for runs in by_unit.values())
    chance = format_score(task.chance, task.metric)
    proved = sum(run.proof is not None and run.proof.is_current for runs in by_unit.values() for run in runs)
    proofs = f" {proved} of {count} proved right at every length." if proved else ""
    return f"{counted(count, 'run')} of {task.name}; {what} on test: {found}; by guessing {chance}.{proofs}"


def _scores(by_unit: ByUnit) -> Section:
    rows = []
    for unit, runs in by_unit.items():
        task, one = runs[0].experiment.task, runs[0]
        seeds = ", ".join(str(run.experiment.training.seed) for run in runs)
        steps = sorted({run.steps for run in runs})
        rows.append([unit, _score(runs), f"{one.parameters:,}", ", ".join(f"{s:,}" for s in steps), seeds])
    name = METRICS[task.metric].label
    header = ["unit", name, "parameters", "training steps", "seeds"]
    text = (
        f"On {one.examples} sequences of the test split, at the length trained at ({task.length:,} {task.length_name})"
    )
    text += "; mean ± standard deviation where there are several seeds."
    return Section("Scores", [text], [Table("Scores of each unit", header, rows)])


def learning_section(
    heading: str,
    by_unit: Mapping[str, Sequence[RunMeasures | Learning]],
    title: str,
    metric: str,
    chance: float,
    *,
    said: str = "Validation over training",
    step_name: str = "training step",
) -> Section:
    """How runs learned: the validation score of each unit, and below it epsilon and the share of writes.

    Args:
        heading: of the section.
        by_unit: the runs of each unit.
        title: of the figure.
        metric: the name of the score in `METRICS`.
        chance: the score of the best answer that ignores the input.
        said: what the figure shows, in words.
        step_name: what a step is called.
    """
    curves, epsilon, rate = (_by_step(by_unit, name) for name in ("learning", "epsilon", "write_rate"))
    score = METRICS[metric]
    figure = learning_curves(
        curves,
        title=title,
        score_name=f"validation {score.title}",
        is_share=score.is_share,
        chance=chance,
        epsilon=epsilon,
        write_rate=rate,
        step_name=step_name,
    )
    ends = "; ".join(f"{unit} ends at {_written(statistics.fmean(c[max(c)]), metric)}" for unit, c in curves.items())
    text = f"{said}, in a band over seeds"
    more = [name for name, found in (("epsilon", epsilon), ("the share of steps that write", rate)) if found]
    text += f"; below it {' and '.join(more)}." if more else "."
    return Section(heading, figures=[Picture(figure, text, f"Lines of the validation score over steps: {ends}.")])


def _by_step(by_unit: Mapping[str, Sequence[RunMeasures | Learning]], name: str) -> dict[str, dict[int, list[float]]]:
    """A curve of the runs of each unit: after each step the values of all seeds; without units that have none."""
    curves: dict[str, dict[int, list[float]]] = {}
    for unit, runs in by_unit.items():
        for run in runs:
            for step, value in getattr(run, name).items():
                curves.setdefault(unit, {}).setdefault(step, []).append(value)
    return curves


def _confusions(by_unit: ByUnit) -> list[Section]:
    pictures = []
    for unit, runs in by_unit.items():
        counts = runs[0].confusion
        if counts is not None:
            right, total = int(counts.diagonal().sum()), int(counts.sum())
            figure = confusion_matrix(counts, title=f"{unit}, seed {runs[0].experiment.training.seed}")
            pictures.append(
                Picture(
                    figure,
                    f"{unit}: {right} of {total} right.",
                    f"Counts by class and answer: {right} of {total} on the diagonal.",
                )
            )
    return [Section("Confusions", figures=pictures)] if pictures else []


def configuration_section(configs: Iterable[tuple[Path, dict[str, Any]]]) -> Section:
    """The configuration of each run, which opens on a click, by the run's folder."""
    folded = [(str(folder), json.dumps(config, indent=2)) for folder, config in configs]
    return Section("Configuration", ["The whole configuration of each run, as it stands in its folder."], folded=folded)


def group_section(group: Group) -> Section:
    """A table of results: its caption, its pictures, and the commands that make it."""
    header, rows = table_cells(group)
    label, name = group.label, group.score_name
    best = next((row[0].text for row in rows if any(cell.is_best for cell in row)), None)
    alt = f"{name} of {len(group.rows)} units" + (f"; {best} is best by more than the spread" if best else "")
    figures = [Picture(draw_scores(group), f"{label}: {name}.", alt + ".")]
    if group.has_failing_lengths:
        figures.append(
            Picture(draw_failing_lengths(group), f"{label}: failing lengths.", "A dot for every seed of every unit.")
        )
    folded = [("The commands that make it", "\n".join(grid_commands(group)))]
    return Section(label, [caption(group)], [Table(label, header, rows)], figures, folded)


def _score(runs: Sequence[RunMeasures]) -> str:
    mean, std, _ = spread([run.score for run in runs])
    return format_spread(mean, std, runs[0].experiment.task.metric) if math.isfinite(mean) else NOT_FINITE


def _written(score: float, metric: str) -> str:
    return format_score(score, metric) if math.isfinite(score) else NOT_FINITE


def _footer(runs: Sequence[RunMeasures], notes: Sequence[str]) -> str:
    made = []
    for found in (run.versions for run in runs if run.versions is not None):
        packages = ", ".join(f"{name} {version}" for name, version in found.packages.items())
        made.append(f"{packages}; Python {found.python}; {found.processor}")
    return " ".join(
        ["Made by remanent report.", *(f"{text}." for text in dict.fromkeys(made)), *(f"{note}." for note in notes)]
    )
