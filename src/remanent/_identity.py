"""How an option of a configuration counts for the identity of a run, declared on the field itself.

A field says it in its metadata: `threads: int = field(default=2, metadata=UNCOUNTED)`. One that says nothing counts by
its value, where that is not its default. An option that is added later says with `added` what a configuration means
that has no such option, if that is not its default.
"""

import dataclasses
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

KEY = "identity"
"""The key of a field's metadata under which its kind stands."""
UNCOUNTED: Mapping[str, Any] = MappingProxyType({KEY: "uncounted"})
"""An option that changes nothing in what a run computes, such as the folder in which the data lie."""
BY_CONTENT: Mapping[str, Any] = MappingProxyType({KEY: "by content"})
"""A user's file, which counts by what it holds (`Task.fingerprint`) and not by its path."""
OWN_COLUMN: Mapping[str, Any] = MappingProxyType({KEY: "own column"})
"""An option that makes another run and has a place of its own in a record: the unit, the seed."""
OF_LATCHES: Mapping[str, Any] = MappingProxyType({"of": "latches"})
"""An option that counts only for models with a unit that latches; in the metadata it stands beside a kind, or alone."""
BEFORE = "before"
"""The key of a field's metadata under which stands what a configuration without the option means."""


def added(*, before: Any, to: Mapping[str, Any] = MappingProxyType({})) -> Mapping[str, Any]:
    """The metadata of an option that was added later: what a configuration of an earlier version means, which lacks it.

    Where an option has this value, it does not count, so that the identities of earlier runs stay as they were.

    Args:
        before: the value with which a run is what it was before the option was there.
        to: other metadata of the field, such as `OF_LATCHES`.
    """
    return MappingProxyType({**to, BEFORE: before})


def with_before(configuration: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a configuration of any version, with what it means where options have been added since.

    >>> @dataclasses.dataclass
    ... class Options:
    ...     steps: int = 500
    ...     fast: bool = dataclasses.field(default=True, metadata=added(before=False))
    >>> with_before(Options, {"steps": 7})
    {'fast': False, 'steps': 7}
    """
    fields = dataclasses.fields(configuration)
    return {field.name: field.metadata[BEFORE] for field in fields if BEFORE in field.metadata} | dict(values)


def plain_values(configuration: type) -> dict[str, Any]:
    """For each option the value with which it does not count: what it was before it was there, else its default."""
    fields = [field for field in dataclasses.fields(configuration) if field.default is not dataclasses.MISSING]
    return {field.name: field.metadata.get(BEFORE, field.default) for field in fields}


def options_of_latches(configuration: type) -> set[str]:
    """The names of a configuration's fields that count only for models with a unit that latches."""
    return {field.name for field in dataclasses.fields(configuration) if OF_LATCHES.items() <= field.metadata.items()}


def fields_that(configuration: type, kinds: Collection[Mapping[str, Any]]) -> set[str]:
    """The names of a configuration's fields that are of one of these kinds.

    >>> @dataclasses.dataclass
    ... class Options:
    ...     steps: int = 500
    ...     threads: int = dataclasses.field(default=2, metadata=UNCOUNTED)
    >>> fields_that(Options, [UNCOUNTED])
    {'threads'}
    """
    wanted = {kind[KEY] for kind in kinds}
    return {field.name for field in dataclasses.fields(configuration) if field.metadata.get(KEY) in wanted}
