"""What a run is known by: its configuration, hashed; which options count, and how, stands on the fields themselves."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from remanent._files import from_dict
from remanent._identity import BY_CONTENT, UNCOUNTED, fields_that
from remanent.models import ModelConfig
from remanent.records.configuration import TrainingConfig
from remanent.tasks import TASKS


def options_that(*kinds: Mapping[str, Any]) -> set[str]:
    """The dotted names of all options of these kinds; a name means the same in every task.

    >>> from remanent.records import BY_CONTENT, OWN_COLUMN
    >>> sorted(options_that(BY_CONTENT, OWN_COLUMN))
    ['model.unit', 'task.path', 'training.seed']
    """
    tables = [("model", ModelConfig), ("training", TrainingConfig), *(("task", task) for task in TASKS.values())]
    return {f"{table}.{name}" for table, configuration in tables for name in fields_that(configuration, kinds)}


def with_defaults(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of a configuration, with the default of every option that it lacks, since it was added later.

    Args:
        config: as `Experiment.to_dict` gives it, perhaps of an earlier version, or a part of it.

    >>> with_defaults({"training": {"steps": 7}})["training"]["batch_size"]
    64
    """
    task = TASKS.get(config.get("task", {}).get("name"))
    filled = {}
    for table, configuration in (("task", task), ("model", ModelConfig), ("training", TrainingConfig)):
        fields = () if configuration is None else dataclasses.fields(configuration)  # type: ignore[arg-type]
        defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
        filled[table] = defaults | config.get(table, {})
    return filled


def identity(config: dict[str, Any]) -> str:
    """The identity of a run: 16 hex digits of a hash of every option that differs from its default.

    An option that is added later, with a default that changes nothing, therefore leaves the identity of a run as it
    was. Options that are `UNCOUNTED` do not enter the hash; a user's file enters it by its content.

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
    skipped = options_that(UNCOUNTED, BY_CONTENT)
    task = TASKS[config["task"]["name"]]
    counted = {}
    for table, configuration in (("task", task), ("model", ModelConfig), ("training", TrainingConfig)):
        defaults = {field.name: field.default for field in dataclasses.fields(configuration)}  # type: ignore[arg-type]
        values = {key: value for key, value in config[table].items() if f"{table}.{key}" not in skipped}
        counted[table] = {key: value for key, value in values.items() if key not in defaults or value != defaults[key]}
    options = {key: value for key, value in config["task"].items() if key != "name"}
    content = from_dict(task, options, "the task").fingerprint
    if content:
        counted["content"] = {"sha256": content}
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
