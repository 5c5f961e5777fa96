"""The records of one recipe, apart by what their task was: each part is a table of its own."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from remanent._identity import OWN_COLUMN, UNCOUNTED
from remanent.records.identity import options_that, with_defaults
from remanent.records.record import Record


class Table(NamedTuple):
    """The records of one recipe with the same task.

    Attributes:
        overrides: the options of the task that say which, by dotted name.
        records: in the order in which they were given.
    """

    overrides: dict[str, Any]
    records: list[Record]


def tables_of(records: list[Record]) -> list[Table]:
    """The records of one recipe, apart by each option of the task that any of them changes.

    An option says which table it is unless it is what the recipe has by itself. Where a recipe had another value of it
    in another version, none is.
    """
    changes = [split_changes(record.changed)[0] for record in records]
    options, found = sorted({key for change in changes for key in change}), []
    for record, change in zip(records, changes, strict=True):
        task = with_defaults(record.config)["task"] if options else {}
        found.append({key: change[key] if key in change else task.get(key.removeprefix("task.")) for key in options})
    tables: dict[str, Table] = {}
    for record, values in zip(records, found, strict=True):
        tables.setdefault(key_of(values), Table(values, [])).records.append(record)
    for key in options:
        own = {json.dumps(values[key]) for values, change in zip(found, changes, strict=True) if key not in change}
        for table in tables.values():
            if own == {json.dumps(table.overrides[key])}:
                del table.overrides[key]
    return list(tables.values())


def split_changes(changed: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The changed options that make another group, those of the task, and those that make another row."""
    hidden = options_that(UNCOUNTED, OWN_COLUMN)
    shown = {key: value for key, value in sorted(changed.items()) if key not in hidden}
    task = {key: value for key, value in shown.items() if key.startswith("task.")}
    return task, {key: value for key, value in shown.items() if key not in task}


def key_of(overrides: Mapping[str, Any]) -> str:
    """The same text for the same options, in any order."""
    return json.dumps(overrides, sort_keys=True)
