"""Recipes with other options: the configuration that they make, and back from a configuration to its recipe."""

import dataclasses
from typing import Any, NamedTuple

from remanent._files import from_dict
from remanent._identity import OWN_COLUMN, UNCOUNTED
from remanent.models import ModelConfig
from remanent.records.configuration import ALTERNATIVES, Experiment, fitting, suiting
from remanent.records.identity import beside_the_point, options_that
from remanent.records.training_config import TrainingConfig
from remanent.training.recipes import RECIPES


class Variant(NamedTuple):
    """A recipe, and what is changed in it.

    Attributes:
        recipe: its name in `RECIPES`.
        overrides: dotted name (task.X, model.X, training.X) to value.
    """

    recipe: str
    overrides: dict[str, Any]


def experiment_for(
    recipe: str,
    unit: str,
    seed: int,
    overrides: dict[str, Any],
    *,
    threads: int = 1,
    data_dir: str | None = None,
) -> Experiment:
    """A recipe with another unit, seed and options; the model's sizes follow the task.

    Args:
        recipe: a name of `RECIPES`.
        unit: the unit, as `ModelConfig.unit` reads it.
        seed: the seed of weights and batches.
        overrides: what is changed: dotted name (task.X, model.X, training.X) to value.
        threads: the number of torch threads.
        data_dir: the folder of the data, for a task that reads one.

    Raises:
        ValueError: there is no such option, or a value is of another type or out of its range.
        TypeError: a count is not an int.

    >>> experiment_for("copy-first", "lru", 3, {"task.steps": 10}).task.length
    10
    """
    base = RECIPES[recipe]()
    changes: dict[str, dict[str, Any]] = {"task": {}, "model": {}, "training": {}}
    for key, value in overrides.items():
        table, _, field = key.partition(".")
        changes[table][field] = value
    if data_dir is not None and hasattr(base.task, "data_dir"):
        changes["task"]["data_dir"] = data_dir
    task = from_dict(type(base.task), _fields(base.task) | changes["task"], f"the task {base.task.name}")
    fit = {
        name: asked
        for name, asked in fitting(task).items()
        if getattr(base.model, name) not in ALTERNATIVES.get(asked, ())
    }
    model = _fields(base.model) | suiting(unit) | fit | changes["model"]
    training = _fields(base.training) | {"seed": seed, "threads": threads} | changes["training"]
    return Experiment(
        task, from_dict(ModelConfig, model, "the model"), from_dict(TrainingConfig, training, "the training")
    )


def variant_of(experiment: Experiment, recipe: str | None = None) -> Variant:
    """The recipe of a configuration, and the options that differ from it, without unit, seed and uncounted options.

    Args:
        experiment: the configuration.
        recipe: the name of the recipe that it was made from; None for the recipe of its task from which it differs
            least, or for the name of the task if that has no recipe.

    >>> variant_of(experiment_for("copy-first", "lru", 3, {"task.steps": 10}))
    Variant(recipe='copy-first', overrides={'task.steps': 10})
    """
    if recipe in RECIPES:
        return Variant(recipe, _overrides(recipe, experiment))
    same = [name for name, make in RECIPES.items() if type(make().task) is type(experiment.task)]
    variants = [Variant(name, _overrides(name, experiment)) for name in same]
    return min(variants, key=lambda v: len(v.overrides), default=Variant(experiment.task.name, {}))


def _overrides(recipe: str, experiment: Experiment) -> dict[str, Any]:
    """The options in which a configuration differs from its recipe with the same unit, seed and task."""
    hidden = options_that(UNCOUNTED, OWN_COLUMN) | beside_the_point(experiment.to_dict())
    unit, seed = experiment.model.unit, experiment.training.seed
    task = _changes("task", RECIPES[recipe]().task, experiment.task)
    plain = experiment_for(recipe, unit, seed, task)
    rest = _changes("model", plain.model, experiment.model) | _changes("training", plain.training, experiment.training)
    return {key: value for key, value in (task | rest).items() if key not in hidden}


def _changes(table: str, base: Any, other: Any) -> dict[str, Any]:
    values = _fields(other)
    return {f"{table}.{key}": values[key] for key, value in _fields(base).items() if values[key] != value}


def _fields(config: Any) -> dict[str, Any]:
    """A configuration's fields, not copied deeply."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
