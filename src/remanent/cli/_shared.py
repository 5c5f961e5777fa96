"""Helpers that the commands share: a parser that raises errors, and tasks that read from the user's folder."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from remanent._yaml import read_yaml
from remanent.records.configuration import moved_files
from remanent.tasks import Task

PARSER_MODE = "remanent"
"""The name under which jsonargparse knows how values are read here."""
BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
"""What is a number of base 60 in YAML 1.1."""
TABLES = ("task", "model", "training")
"""The tables of a configuration."""


def make_parser(description: str, prog: str | None = None, version: str | None = None) -> Any:
    """A parser that raises its errors, so that the user gets one line instead of a page of usage."""
    import yaml
    from jsonargparse import ArgumentParser, set_loader

    set_loader(PARSER_MODE, _read_values, exceptions=(yaml.YAMLError,))
    options = {"version": version, "exit_on_error": False, "allow_abbrev": False, "parser_mode": PARSER_MODE}
    return ArgumentParser(prog=prog, description=description, **options)


def _read_values(text: str, path: Any = None) -> Any:
    """The values that a word of the command line, or the file at `path`, holds.

    A table sets nothing where all of its keys are left out, and so does a file of comments. Text such as 1:40 is
    rejected here, since jsonargparse would take it for a number of base 60 where an option is a number.
    """
    import yaml

    try:
        value = read_yaml(text)
    except yaml.YAMLError as error:
        raise error if path is None else yaml.YAMLError(f"{path}: {error}") from None
    if value is None and text.lstrip().startswith("#"):
        return {}
    if isinstance(value, dict):
        value = {key: inner for key, inner in value.items() if not (key in TABLES and inner is None)}
    for leaf in _leaves(value):
        if isinstance(leaf, str) and BASE_60.fullmatch(leaf):
            where = "" if path is None else f"{path}: "
            raise ValueError(f"{where}a number must be in decimal, got {leaf!r}; a path of this name is ./{leaf}")
    return value


def _leaves(value: Any) -> Iterator[Any]:
    """The values inside collections, whatever their depth."""
    if not isinstance(value, dict | list):
        yield value
        return
    for inner in value.values() if isinstance(value, dict) else value:
        yield from _leaves(inner)


def with_data(task: Task, data_dir: str | None) -> Task:
    """The task, which reads its data from the folder that the user named."""
    if data_dir is None:
        return task
    values = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}  # type: ignore[arg-type]
    return dataclasses.replace(task, **moved_files(type(task), values, data_dir))  # type: ignore[type-var]
