"""What a run is known by: its configuration, hashed; which options count, and how, stands on the fields themselves."""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from remanent._files import from_dict
from remanent._identity import BY_CONTENT, UNCOUNTED, fields_that, options_of_latches, plain_values, with_before
from remanent.models import ModelConfig
from remanent.records.training_config import TrainingConfig
from remanent.tasks import TASKS
from remanent.units import UNITS, recurrence_of


def options_that(*kinds: Mapping[str, Any]) -> set[str]:
    """The dotted names of all options of these kinds; a name means the same in every task.

    >>> from remanent.records import BY_CONTENT, OWN_COLUMN
    >>> sorted(options_that(BY_CONTENT, OWN_COLUMN))
    ['model.unit', 'task.path', 'training.seed']
    """
    tables = [("model", ModelConfig), ("training", TrainingConfig), *(("task", task) for task in TASKS.values())]
    return {f"{table}.{name}" for table, configuration in tables for name in fields_that(configuration, kinds)}


def beside_the_point(config: Mapping[str, Any]) -> set[str]:
    """The dotted names of the options that change nothing in a run: those of latches in a model without any.

    Args:
        config: as `Experiment.to_dict` gives it; one without a model has no latches.

    >>> sorted(beside_the_point({"model": {"unit": "gru"}})), beside_the_point({"model": {"unit": "lru,bmru"}})
    (['model.write_span', 'training.write_rates'], set())
    """
    names = str(config.get("model", {}).get("unit", "")).replace(",", "+").split("+")
    if any(name in UNITS and recurrence_of(name).latches for name in names):
        return set()
    tables = (("model", ModelConfig), ("training", TrainingConfig))
    return {f"{table}.{name}" for table, configuration in tables for name in options_of_latches(configuration)}


def added_since(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration of an earlier version means by options that were added since, where it is not their default.

    Args:
        config: as `Experiment.to_dict` gives it; without a table, nothing is said of its options.

    Returns:
        Dotted name to value; without the options that change nothing for its model.
    """
    task = TASKS.get(config.get("task", {}).get("name"))
    found: dict[str, Any] = {}
    for table, configuration in (("task", task), ("model", ModelConfig), ("training", TrainingConfig)):
        if table not in config or configuration is None:
            continue
        defaults = {field.name: field.default for field in dataclasses.fields(configuration)}  # type: ignore[arg-type]
        meant = with_before(configuration, config[table])
        new = {name: value for name, value in meant.items() if name not in config[table] and value != defaults[name]}
        found |= {f"{table}.{name}": value for name, value in new.items()}
    return {name: value for name, value in found.items() if name not in beside_the_point(config)}


def with_defaults(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of a configuration, with what it means by every option that it lacks, since that was added later.

    Options that change nothing for its model are at their defaults.

    Args:
        config: as `Experiment.to_dict` gives it, perhaps of an earlier version, or a part of it.

    >>> with_defaults({"training": {"steps": 7}})["training"]["batch_size"]
    64
    """
    task, skipped = TASKS.get(config.get("task", {}).get("name")), beside_the_point(config)
    filled = {}
    for table, configuration in (("task", task), ("model", ModelConfig), ("training", TrainingConfig)):
        fields = () if configuration is None else dataclasses.fields(configuration)  # type: ignore[arg-type]
        defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
        given = config.get(table, {})
        given = given if configuration is None else with_before(configuration, given)
        filled[table] = defaults | {key: value for key, value in given.items() if f"{table}.{key}" not in skipped}
    return filled


def identity(config: dict[str, Any]) -> str:
    """The identity of a run: 16 hex digits of a hash of every option that differs from its default.

    An option that is added later, with a default that changes nothing, therefore leaves the identity of a run as it
    was; one that says what a configuration without it means is compared with that. Options that are `UNCOUNTED`, and
    those of latches in a model without any, do not enter the hash; a user's file enters it by its content.

    Args:
        config: as `Experiment.to_dict` gives it.

    Raises:
        FileNotFoundError: a user's file that the task reads is missing.

    >>> from remanent.tasks import CopyFirst
    >>> from remanent.records.configuration import Experiment
    >>> experiment = Experiment(CopyFirst(), ModelConfig(1, 1), TrainingConfig())
    >>> more_threads = dataclasses.replace(experiment, training=TrainingConfig(threads=7))
    >>> identity(experiment.to_dict()) == identity(more_threads.to_dict())
    True
    """
    skipped = options_that(UNCOUNTED, BY_CONTENT) | beside_the_point(config)
    task = TASKS[config["task"]["name"]]
    options = {key: value for key, value in config["task"].items() if key != "name"}
    content = from_dict(task, options, "the task").fingerprint
    more = {"content": {"sha256": content}} if content else {}
    return hashed(config, {"task": task, "model": ModelConfig, "training": TrainingConfig}, skipped, more)


def hashed(
    config: Mapping[str, Any], kinds: Mapping[str, Any], skipped: Collection[str], more: Mapping[str, Any] | None = None
) -> str:
    """16 hex digits of a hash of every option that differs from its default.

    Args:
        config: the tables of a configuration.
        kinds: the dataclass of each table.
        skipped: the dotted names of options that do not count.
        more: what else counts.
    """
    counted = dict(more or {})
    for table, configuration in kinds.items():
        plain = plain_values(configuration)
        values = {key: value for key, value in config[table].items() if f"{table}.{key}" not in skipped}
        counted[table] = {key: value for key, value in values.items() if key not in plain or value != plain[key]}
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
