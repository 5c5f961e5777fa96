"""The demonstration: three small models side by side on two tasks, then tests far beyond their training."""

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from remanent._files import write_whole
from remanent._machine import versions
from remanent.analysis import hysteresis_curve, state_trajectory
from remanent.models import SequenceModel
from remanent.records.configuration import suiting
from remanent.report.figures import error_against_length, hysteresis_loop, save_figure, trajectory
from remanent.report.tables import format_score, markdown_table
from remanent.tasks.base import read_whole
from remanent.training import RECIPES, Experiment, evaluate, start_run
from remanent.units import BMRU

UNITS = ("bmru", "lru", "bmru+lru")


class Trial(NamedTuple):
    """One task of the demonstration: its recipe, and what is tested: lengths, each with a number of examples.

    The last two tests are of the shortest and the longest length, on the same examples.
    """

    recipe: str
    title: str
    tests: tuple[tuple[int, int], ...]


TRIALS = (
    Trial(
        "copy-first",
        "Copy the first input",
        ((300, 512), (3_000, 512), (30_000, 32), (300, 4), (1_000_000, 4)),
    ),
    Trial(
        "digits",
        "Name a digit after empty steps",
        ((136, 360), (1_360, 360), (13_600, 60), (136, 36), (136_000, 36)),
    ),
)
Scores = dict[str, dict[tuple[int, int], float]]


def run_demo(
    folder: Path | None = None,
    *,
    seed: int = 0,
    trials: Sequence[Trial] = TRIALS,
    steps: int | None = None,
    progress: bool = True,
) -> Path:
    """Trains and tests everything, prints the tables, and writes `report.md` with its figures.

    Args:
        folder: where to write; must not exist. None for `demo`, or `demo-2`, `demo-3`, ... if it does.
        seed: of weights and batches.
        trials: the tasks, and the lengths and numbers of examples tested.
        steps: training steps of every model; None for those of the recipes.
        progress: whether bars and tables are drawn.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder exists.
        OSError: it cannot be written.
    """
    folder = _free_folder() if folder is None else Path(folder)
    if folder.exists():
        raise FileExistsError(f"`--out` must not exist yet, got {folder}")
    folder.mkdir(parents=True)
    console = Console(quiet=not progress)
    began = time.monotonic()
    sections = []
    for trial in trials:
        experiments = {unit: make_experiment(trial.recipe, unit, seed, steps) for unit in UNITS}
        models = {
            unit: start_run(experiment, folder / "runs" / f"{trial.recipe}-{unit}", progress=progress)
            for unit, experiment in experiments.items()
        }
        scores = run_tests(models, experiments, trial, folder / "results.jsonl", console)
        console.print(_rich_table(trial, experiments["bmru"], scores))
        console.print(_sentence(experiments["bmru"], scores) + "\n")
        _draw(folder, trial, experiments["bmru"], models["bmru"], scores)
        sections.append(_section(trial, experiments["bmru"], scores))
    minutes = (time.monotonic() - began) / 60
    write_whole(folder / "report.md", _report(sections, trials, seed, minutes).encode())
    console.print(f"{folder / 'report.md'} has the tables and figures ({minutes:.1f} minutes).")
    return folder


def make_experiment(recipe: str, unit: str, seed: int, steps: int | None = None) -> Experiment:
    """A recipe with another unit and seed, and with another number of steps where given."""
    base = RECIPES[recipe]()
    training = dataclasses.replace(base.training, seed=seed, steps=steps or base.training.steps)
    return Experiment(base.task, dataclasses.replace(base.model, **suiting(unit)), training)


def run_tests(
    models: dict[str, SequenceModel],
    experiments: dict[str, Experiment],
    trial: Trial,
    results: Path,
    console: Console,
) -> Scores:
    """Scores trained models as a trial says, and appends a line of JSON for every score."""
    scores: Scores = {unit: {} for unit in models}
    made_by = versions()
    for unit, model in models.items():
        experiment = experiments[unit]
        torch.set_num_threads(experiment.training.threads)
        for length, examples in trial.tests:
            with console.status(f"testing {unit} at {length:,} {experiment.task.length_name}"):
                began = time.monotonic()
                score = evaluate(model, experiment.task, length=length, examples=examples, batch_size=examples)
            scores[unit][length, examples] = score
            line = {
                "recipe": trial.recipe,
                "unit": unit,
                "seed": experiment.training.seed,
                "length": length,
                "examples": examples,
                experiment.task.metric: score,
                "seconds": round(time.monotonic() - began, 2),
                "parameters": sum(p.numel() for p in model.parameters()),
                "config": experiment.to_dict(),
                **made_by,
            }
            with results.open("a") as file:
                file.write(json.dumps(line) + "\n")
    return scores


def _free_folder() -> Path:
    name, number = Path("demo"), 1
    while name.exists():
        number += 1
        name = Path(f"demo-{number}")
    return name


def _rows(trial: Trial, experiment: Experiment, scores: Scores) -> tuple[list[str], list[list[str]]]:
    metric = experiment.task.metric
    header = ["unit", *(f"{length:,} ({n})" for length, n in trial.tests)]
    rows = [[unit, *(format_score(s, metric) for s in points.values())] for unit, points in scores.items()]
    return header, rows


def _caption(trial: Trial, experiment: Experiment) -> str:
    task = experiment.task
    what = "test accuracy" if task.metric == "accuracy" else "mean squared error"
    return (
        f"{trial.title}: {what} by {task.length_name} (and number of examples), trained at {task.length}, "
        f"chance {task.chance:.2f}"
    )


def _rich_table(trial: Trial, experiment: Experiment, scores: Scores) -> Table:
    header, rows = _rows(trial, experiment, scores)
    table = Table(title=_caption(trial, experiment))
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _sentence(experiment: Experiment, scores: Scores) -> str:
    """What the numbers show, whatever they are."""
    task = experiment.task

    def span(unit: str) -> str:
        *_, first, last = (format_score(score, task.metric) for score in scores[unit].values())
        return f"{first} to {last}"

    *_, (shortest, _), (longest, examples) = scores["bmru"]
    name = "accuracy" if task.metric == "accuracy" else "error"
    return (
        f"From {shortest:,} to {longest:,} {task.length_name}, on the same {examples} examples, the {name} goes from "
        f"{span('bmru')} for the BMRU, from {span('lru')} for the LRU, and from {span('bmru+lru')} for the hybrid."
    )


def _draw(folder: Path, trial: Trial, experiment: Experiment, model: SequenceModel, scores: Scores) -> None:
    task = experiment.task
    points = {unit: {length: s for (length, _), s in reversed(tested.items())} for unit, tested in scores.items()}
    figure = error_against_length(
        {unit: dict(sorted(line.items())) for unit, line in points.items()},
        title=f"{trial.title}, trained at {task.length}",
        length_name=task.length_name,
        score_name="accuracy" if task.metric == "accuracy" else "mean squared error",
        chance=task.chance,
    )
    save_figure(figure, folder / f"{trial.recipe}-length.png")
    unit = model.blocks[0].layer.units[0]  # type: ignore[union-attr, index]
    assert isinstance(unit, BMRU)
    x, _ = read_whole(task, "test", 0, 1, task.length)
    states = state_trajectory(model, x)[0]
    channel = int((states[1:] != states[:-1]).sum(0).argmax())
    candidate, state, threshold = hysteresis_curve(unit, channel)
    title = f"One channel of the trained BMRU (first layer, channel {channel})"
    save_figure(
        hysteresis_loop(candidate, state, threshold=threshold, title=title), folder / f"{trial.recipe}-hysteresis.png"
    )
    title = f"{trial.title}: input and states of the first BMRU layer"
    save_figure(trajectory(x[0], states, title=title), folder / f"{trial.recipe}-states.png")


def _section(trial: Trial, experiment: Experiment, scores: Scores) -> str:
    header, rows = _rows(trial, experiment, scores)
    return "\n".join(
        [
            f"## {trial.title}",
            "",
            _caption(trial, experiment) + ".",
            "",
            markdown_table(header, rows),
            "",
            _sentence(experiment, scores),
            "",
            f"![score against length]({trial.recipe}-length.png)",
            "",
            f"![one hysteresis loop]({trial.recipe}-hysteresis.png)",
            "",
            f"![states over the input]({trial.recipe}-states.png)",
            "",
        ]
    )


def _report(sections: list[str], trials: Sequence[Trial], seed: int, minutes: float) -> str:
    made_by = versions()
    packages = ", ".join(f"{name} {version}" for name, version in made_by["packages"].items())
    return "\n".join(
        [
            "# What was remembered",
            "",
            f"Three models of equal width on {len(trials)} tasks: a bistable unit (BMRU), a linear recurrent unit",
            "(LRU), and a hybrid with half the width of each. Every model is trained at one length, then tested at",
            "longer ones, the state carried through every step.",
            "",
            *sections,
            "## How it was made",
            "",
            f"`remanent demo --seed {seed}` in {minutes:.1f} minutes, on {made_by['processor']} "
            f"({made_by['cores']} cores), Python {made_by['python']}, {packages}. Each number also stands in "
            "`results.jsonl` with its configuration; `runs/` holds the trained models.",
            "",
        ]
    )
