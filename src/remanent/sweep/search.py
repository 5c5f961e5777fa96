"""A small search: each setting is trained once, and the best on validation alone is run with all seeds and tested."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from remanent._options import check_at_least
from remanent.records.chosen import Chosen
from remanent.records.record import Record, read_records
from remanent.sweep.combinations import GridRun
from remanent.sweep.grid import GridOptions, Summary, run_grid
from remanent.sweep.sampling import Choices, is_range
from remanent.tasks import METRICS

CHOOSE = ("validation",)
"""By what a setting may be chosen: never by a test."""
STEPS = "training.steps"
TRIALS = "trials"
"""The folder beside the results that holds the records of trials, under the name of the results file."""


@dataclass(frozen=True)
class Search:
    """How settings are tried.

    Args:
        choices: what is varied: options and their values, as `read_choices` gives them.
        trials: the results file of the trials, another than that of the chosen runs.
        steps: the training steps of a trial, at least 1; None for those of the run itself.

    Raises:
        ValueError: options of the task are varied, or the steps are set twice.
    """

    choices: Choices
    trials: Path
    steps: int | None = None

    def __post_init__(self) -> None:
        for key, values in self.varied.items():
            if key.startswith("task."):
                rule = f"`--set` must give {key} one value with `--choose`: scores on different tasks do not compare"
                raise ValueError(f"{rule}, got {values}")
        if self.steps is not None:
            check_at_least("--search-steps", self.steps, 1)
            if STEPS in self.varied:
                raise ValueError(f"`--set` must not vary {STEPS} with `--search-steps`, got {self.varied[STEPS]}")

    @property
    def varied(self) -> dict[str, str]:
        """The options that are varied, each with the text of its values."""
        several = {key: values for key, values in self.choices.items() if len(values) > 1 or is_range(values[0])}
        return {key: ",".join(values) for key, values in several.items()}


class Winner(NamedTuple):
    """The setting that a recipe and a unit are run with, and how it was chosen."""

    setting: GridRun
    chosen: Chosen
    metric: str


class SearchSummary(NamedTuple):
    """How a search ended.

    Attributes:
        trials: how the trials ended.
        runs: how the chosen runs ended.
        undecided: the recipes and units of which every trial failed.
        unmarked: how many of the runs were in the results before, as runs that nothing was chosen for.
    """

    trials: Summary
    runs: Summary
    undecided: list[str]
    unmarked: int


def trials_file(results: Path) -> Path:
    """Where the trials of a results file are recorded: in a folder beside it, where `remanent table` does not look.

    >>> trials_file(Path("results/grid.jsonl")).as_posix()
    'results/trials/grid.jsonl'
    """
    return results.with_name(TRIALS) / results.name


def trials_of(settings: Sequence[GridRun], search: Search) -> list[GridRun]:
    """The trials of settings, each with the steps of a trial.

    Raises:
        ValueError: a recipe and unit has a single setting, so that there is nothing to choose.
    """
    for name, group in _by_unit(settings).items():
        if len(group) < 2:
            raise ValueError(f"`--set` must give at least two settings with `--choose`, got one for {name}")
    return [_trial(setting, search) for setting in settings]


def run_search(
    settings: Sequence[GridRun],
    seeds: Sequence[int],
    search: Search,
    options: GridOptions,
    *,
    progress: bool = True,
    said: Callable[[str], None] = lambda text: None,
) -> SearchSummary:
    """Tries every setting with one seed, without a test; then trains the best of each recipe and unit with all seeds.

    A trial that is a run of the chosen setting, of the same seed and steps, is not trained again for its test. What
    is finished or begun is not repeated when the same call is made again, as in `run_grid`.

    Args:
        settings: a run for each setting with the seed of its trial, as `combinations` gives them.
        seeds: of the chosen runs.
        search: how settings are tried.
        options: where and how runs are done, and where the chosen runs are recorded.
        progress: whether bars are drawn, and a line for each run.
        said: a function that is called with a line about every choice.

    Raises:
        ValueError: a recipe and unit has a single setting, both results files are one, or a record of a trial does
            not say how it scored on validation.
        OSError: a file cannot be written.
        KeyboardInterrupt: the search was interrupted; the same call resumes it.
    """
    if search.trials.absolute() == options.results.absolute():
        raise ValueError(f"`--trials` must be another file than `--results`, got {search.trials}")
    trials = trials_of(settings, search)
    # on a storage a run leaves its record beside its weights, and that of a trial would pass for that of the chosen run
    storage = None if options.storage is None else f"{options.storage.rstrip('/')}/{TRIALS}"
    elsewhere = dataclasses.replace(options, results=search.trials, storage=storage)
    tried = run_grid(trials, elsewhere, progress=progress)
    found = {record.id: record for record in read_records(search.trials, warn=True).records}
    winners = {name: choose(group, search, found) for name, group in _by_unit(settings).items()}
    runs = []
    for name, winner in winners.items():
        said(f"{name}: {_why(winner)}")
        if winner is not None:
            runs += [_with(winner.setting, seed=seed, chosen=winner.chosen) for seed in seeds]
    before = {record.id for record in read_records(options.results, warn=True).records if record.chosen is None}
    done = run_grid(runs, options, progress=progress)
    unmarked = sum(run.id in before for run in runs)
    return SearchSummary(tried, done, [name for name, winner in winners.items() if winner is None], unmarked)


def choose(settings: Sequence[GridRun], search: Search, found: Mapping[str, Record]) -> Winner | None:
    """The setting whose trial has the best score on validation, the first of equal ones; None where all failed.

    Args:
        settings: of one recipe and unit.
        search: how they were tried.
        found: the records of the trials, by identity.

    Raises:
        ValueError: a record has no score on validation, as those of earlier versions.
    """
    records = [found[_trial(setting, search).id] for setting in settings]
    scores: dict[int, float] = {}
    for number, record in enumerate(records):
        if record.status == "done" and record.validation is None:
            raise ValueError(f"{search.trials} must hold scores on validation, got the run {record.id} without one")
        if record.validation is not None and record.validation.score is not None:
            scores[number] = record.validation.score
    if not scores:
        return None
    sign = 1 if METRICS[records[0].metric].more_is_better else -1
    best = max(scores, key=lambda number: sign * scores[number])
    chosen = Chosen(
        by="validation",
        trials=len(records),
        failed=len(records) - len(scores),
        score=scores[best],
        seed=records[best].seed,
        steps=records[best].steps,
        options=search.varied,
    )
    return Winner(settings[best], chosen, records[best].metric)


def _by_unit(settings: Sequence[GridRun]) -> dict[str, list[GridRun]]:
    """Settings by recipe and unit."""
    groups: dict[str, list[GridRun]] = {}
    for setting in settings:
        groups.setdefault(f"{setting.recipe} {setting.experiment.model.unit}", []).append(setting)
    return groups


def _trial(setting: GridRun, search: Search) -> GridRun:
    """The run that tries a setting, which is not tested."""
    trial = setting if search.steps is None else _with(setting, steps=search.steps)
    return dataclasses.replace(trial, tests=())


def _with(run: GridRun, *, steps: int | None = None, seed: int | None = None, chosen: Chosen | None = None) -> GridRun:
    """A run with other steps or another seed, and with how it was chosen."""
    overrides, training = run.overrides, run.experiment.training
    if steps is not None:
        overrides, training = overrides | {STEPS: steps}, dataclasses.replace(training, steps=steps)
    if seed is not None:
        training = dataclasses.replace(training, seed=seed)
    return GridRun(run.recipe, overrides, dataclasses.replace(run.experiment, training=training), chosen)


def _why(winner: Winner | None) -> str:
    """What was chosen and why, in words."""
    if winner is None:
        return "nothing is chosen, since every trial failed"
    setting, chosen = winner.setting, winner.chosen
    values = " ".join(f"{key}={setting.overrides[key]}" for key in chosen.options)
    title = METRICS[winner.metric].title
    return f"{values}, the best of {chosen.trials} on validation: {title} {chosen.score:.4f}"
