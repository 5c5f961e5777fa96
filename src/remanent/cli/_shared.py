"""Helpers that the commands share: a parser that raises errors, and tasks that read from the user's folder."""

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import Any

from remanent.records.configuration import moved_files
from remanent.tasks import Task

VALUES = "remanent"
"""The name under which jsonargparse finds the reader of values and configuration files."""
TABLES = ("task", "model", "training")
"""The tables of a configuration."""
_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[-+]0[0-9_]+|0b[01_]+")
_SWITCH = re.compile(r"(?i:yes|no|on|off)")
"""What YAML 1.1, which jsonargparse reads plain values by, takes for a number or a switch, and nobody else does."""


def make_parser(description: str, prog: str | None = None, version: str | None = None) -> Any:
    """A parser that raises its errors, so that the user gets one line instead of a page of usage."""
    from jsonargparse import ArgumentParser, set_loader

    from remanent._yaml import YamlError

    set_loader(VALUES, _read_values, (YamlError,))
    return ArgumentParser(
        prog=prog,
        description=description,
        version=version,
        exit_on_error=False,
        allow_abbrev=False,
        parser_mode=VALUES,
        formatter_class=_help_formatter(),
    )


@functools.cache
def _help_formatter() -> Any:
    """The class that writes help: without the type of a path, and without a default that the help says in words."""
    from jsonargparse import DefaultHelpFormatter

    class PlainHelp(DefaultHelpFormatter):
        def _get_help_string(self, action: Any) -> str:
            text, said = super()._get_help_string(action), action.help or ""
            if not said or not text.startswith(f"{said} ("):
                return text
            parts = text.removeprefix(f"{said} (").removesuffix(")").split(", ")
            is_path = "Path" in str(getattr(action, "_typehint", action.type))
            parts = [part for part in parts if not (is_path and part.startswith("type:"))]
            parts = [part for part in parts if not ("(default:" in said and part.startswith("default:"))]
            return f"{said} ({', '.join(parts)})" if parts else said

    return PlainHelp


def check_numbers(arguments: list[str], options: Any) -> None:
    """Raises where a number or a switch is written as only the old rules of YAML read it: there 1:40 is 100."""
    name = ""
    for word in arguments:
        flag, equals, value = word.partition("=")
        if word.startswith("--"):
            name = flag
        text = value if equals else word
        found = options.get(name.removeprefix("--").replace("-", "_")) if name else None
        first = found[0] if isinstance(found, list) and found else found
        if isinstance(first, bool | int | float) and (_NUMBER.fullmatch(text) or _SWITCH.fullmatch(text)):
            kind = "true or false" if isinstance(first, bool) else "a plain number"
            raise ValueError(f"`{name}` must be {kind}, got {text!r}")


def _read_values(text: str, path: Any = None) -> Any:
    """The values that a word of the command line, or the file at `path`, holds.

    A table of a file sets nothing where all of its keys are left out, and so does a file of comments.
    """
    from remanent._yaml import parse_yaml

    if path is None:
        return parse_yaml(text, "the value")
    value = parse_yaml(text, str(path))
    for leaf in _leaves(value):
        if isinstance(leaf, str) and _NUMBER.fullmatch(leaf):
            raise ValueError(f"{path} must hold plain numbers, got {leaf!r}; a path of this name is ./{leaf}")
    if isinstance(value, dict):
        return {key: inner for key, inner in value.items() if not (key in TABLES and inner is None)}
    return {} if value is None else value


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
