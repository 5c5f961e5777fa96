"""How an option of a configuration counts for the identity of a run, declared on the field itself.

A field says it in its metadata: `threads: int = field(default=2, metadata=UNCOUNTED)`. One that says nothing counts by
its value.
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
