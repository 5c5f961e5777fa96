"""The runs of a grid: every combination of recipes, units, seeds and options."""

import dataclasses
import difflib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from remanent._plugins import import_hint
from remanent.models import ModelConfig
from remanent.records.chosen import Chosen
from remanent.records.configuration import Experiment
from remanent.records.identity import identity
from remanent.records.training_config import TrainingConfig
from remanent.sweep.sampling import Choices, Sample, check_no_range, sampled
from remanent.tasks import TASKS
from remanent.training.outcome import LengthTest
from remanent.training.recipes import RECIPES
from remanent.training.variants import experiment_for

ELSEWHERE = {
    "model.unit": "--unit",
    "training.seed": "--seed",
    "training.threads": "--threads",
    "task.data_dir": "--data-dir",
}
"""Options that `--set` does not set, and the flags that set them."""
MOST_RUNS = 100_000
"""The most runs of a grid."""


@dataclass(frozen=True)
class GridRun:
    """One run of a grid.

    Args:
        recipe: the name of its recipe in `RECIPES`.
        overrides: what is changed in the recipe: dotted name to value.
        experiment: the whole configuration.
        chosen: how the overrides were chosen among trials; None where they were not.
        tests: the lengths that are tested, each with a number of examples; None for those that a grid tests.

    >>> run = GridRun("copy-first", {}, RECIPES["copy-first"]())
    >>> run.name.rsplit("-", 1)[0]
    'copy-first-bmru-0'
    """

    recipe: str
    overrides: dict[str, Any]
    experiment: Experiment
    chosen: Chosen | None = None
    tests: tuple[LengthTest, ...] | None = None

    @cached_property
    def id(self) -> str:
        """The identity of the run, a hash of its configuration."""
        return identity(self.experiment.to_dict())

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return f"{self.recipe}-{self.experiment.model.unit}-{self.experiment.training.seed}-{self.id[:8]}"


def combinations(
    tasks: Sequence[str],
    units: Sequence[str],
    seeds: Sequence[int],
    choices: Choices,
    *,
    sample: Sample | None = None,
    threads: int = 1,
    data_dir: str | None = None,
) -> list[GridRun]:
    """Builds and checks every combination; of equal ones, only the first is kept.

    Args:
        tasks: the names of recipes.
        units: the units, as `ModelConfig.unit` reads them.
        seeds: the seeds of weights and batches.
        choices: options and their values, as `read_choices` gives them.
        sample: how many settings of the options are drawn instead of all, the same for every recipe and unit; None for
            all.
        threads: the number of torch threads of each run.
        data_dir: the folder of the data, for tasks that read one.

    Raises:
        ValueError: a combination is not valid, and the message names it; or there are too many.
    """
    for task in tasks:
        _check_recipe(task)
    if sample is None:
        check_no_range(choices)
    size = math.prod(map(len, choices.values())) if sample is None else sample.size
    count = math.prod(map(len, (tasks, units, seeds))) * size
    if count > MOST_RUNS:
        raise ValueError(
            f"`--task`, `--unit`, `--seed` and `--set` must give at most {MOST_RUNS:,} runs, got {count:,}"
        )
    if data_dir is not None and not any(hasattr(RECIPES[task]().task, "data_dir") for task in tasks):
        raise ValueError(f"`--data-dir` must not be given for tasks that read none, got {data_dir}")
    runs: dict[str, GridRun] = {}
    settings = _products(choices) if sample is None else sampled(choices, sample)
    for task, unit, values in itertools.product(tasks, units, settings):
        for seed in seeds:
            run = _named(task, unit, seed, values, threads, data_dir)
            runs.setdefault(run.id, run)
    return list(runs.values())


def read_seeds(words: Sequence[str]) -> list[int]:
    """Reads seeds: numbers, or ranges START:STOP without STOP.

    Raises:
        ValueError: a word is neither, or there is no seed in all.

    >>> read_seeds(["0:3", "7"])
    [0, 1, 2, 7]
    """
    seeds: list[int] = []
    for word in words:
        try:
            numbers = [int(part) for part in word.split(":")]
        except ValueError:
            numbers = []
        if not 1 <= len(numbers) <= 2:
            raise ValueError(f"`--seed` must be numbers, or ranges START:STOP, got {word!r}")
        if numbers[-1] - numbers[0] > MOST_RUNS:
            raise ValueError(f"`--seed` must name at most {MOST_RUNS:,} seeds, got {word!r}")
        seeds += numbers if len(numbers) == 1 else range(*numbers)
    if not seeds:
        raise ValueError(f"`--seed` must name at least one seed, got {' '.join(words)!r}")
    return seeds


def read_choices(words: Sequence[str]) -> Choices:
    """Reads options and their values, written KEY=VALUE,VALUE.

    Raises:
        ValueError: a word is written in another way, or its key is set by another flag.

    >>> read_choices(["task.steps=300,1000"])
    {'task.steps': ['300', '1000']}
    """
    choices: Choices = {}
    for word in words:
        key, _, text = word.partition("=")
        table, _, field = key.partition(".")
        if table not in ("task", "model", "training") or not field.isidentifier() or "=" not in word:
            rule = "KEY=VALUE,VALUE with a KEY task.X, model.X or training.X"
            raise ValueError(f"`--set` must be {rule}, got {word!r}")
        if key in ELSEWHERE:
            raise ValueError(f"`--set` must not set {key}, which is {ELSEWHERE[key]}, got {word!r}")
        if key in choices:
            raise ValueError(f"`--set` must name a key once, got {key} twice")
        choices[key] = text.split(",")
        if "" in choices[key]:
            raise ValueError(f"`--set` must give {key} at least one value and none empty, got {word!r}")
    return choices


def _check_recipe(name: str) -> None:
    """Raises unless there is such a recipe; the error suggests similar names."""
    if name in RECIPES:
        return
    meant = [recipe for recipe, make in RECIPES.items() if name in TASKS and make().task.name == name]
    meant = meant or difflib.get_close_matches(name, RECIPES)
    hint = f"; did you mean {' or '.join(meant)}?" if meant else import_hint("recipe")
    raise ValueError(f"`--task` must name a recipe (`remanent list` shows them), got {name!r}{hint}")


def _products(choices: Choices) -> Iterator[dict[str, str]]:
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def _named(recipe: str, unit: str, seed: int, texts: dict[str, str], threads: int, data_dir: str | None) -> GridRun:
    """Builds one combination; its errors begin with its name."""
    task = type(RECIPES[recipe]().task)
    tables: dict[str, type] = {"task": task, "model": ModelConfig, "training": TrainingConfig}
    try:
        values = {
            key: _typed(tables[key.partition(".")[0]], key.partition(".")[2], text) for key, text in texts.items()
        }
        return GridRun(recipe, values, experiment_for(recipe, unit, seed, values, threads=threads, data_dir=data_dir))
    except (ValueError, TypeError) as error:
        name = " ".join([recipe, unit, f"seed {seed}", *(f"{key}={text}" for key, text in texts.items())])
        raise type(error)(f"{name}: {error}") from None


def _typed(cls: type, name: str, text: str) -> Any:
    """Reads a YAML value as the type of its field; what is no YAML is a word."""
    from remanent._yaml import YamlError, parse_yaml

    kind = {field.name: field.type for field in dataclasses.fields(cls)}.get(name)
    if kind is str:
        return text
    if kind is float:
        try:
            return float(text)
        except ValueError:
            return text
    try:
        return parse_yaml(text, name)
    except YamlError:
        return text
