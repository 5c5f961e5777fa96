"""Helpers that the commands share: a parser that raises errors, and tasks that read from the user's folder."""

import dataclasses
import re
from typing import Any

from remanent.tasks import Task

VALUES = "remanent"
"""The name under which jsonargparse finds the reader of values and configuration files."""
_OLD = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[-+]0[0-9_]+|0b[01_]+|(?i:yes|no|on|off)")
"""What YAML 1.1, which jsonargparse reads plain numbers by, takes for a number or a switch, and nobody else does."""


def make_parser(description: str, prog: str | None = None, version: str | None = None) -> Any:
    """A parser that raises its errors, so that the user gets one line instead of a page of usage."""
    from jsonargparse import ArgumentParser, set_loader

    from remanent._yaml import YamlError, parse_yaml

    def load(text: str, path: Any = None) -> Any:
        return parse_yaml(text, str(path or "the value"))

    set_loader(VALUES, load, (YamlError,))
    return ArgumentParser(
        prog=prog, description=description, version=version, exit_on_error=False, allow_abbrev=False, parser_mode=VALUES
    )


def check_numbers(arguments: list[str], options: Any) -> None:
    """Raises where a number or a switch is written as only the old rules of YAML read it: there 1:40 is 100."""
    for flag, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = flag.partition("=")
        text = value if equals else following
        found = options.get(name.removeprefix("--").replace("-", "_")) if flag.startswith("--") else None
        if isinstance(found, bool | int | float) and _OLD.fullmatch(text):
            kind = "true or false" if isinstance(found, bool) else "a plain number"
            raise ValueError(f"`{name}` must be {kind}, got {text!r}")


def with_data(task: Task, data_dir: str | None) -> Task:
    """The task, which reads its data from the folder that the user named."""
    if data_dir is None:
        return task
    if not hasattr(task, "data_dir"):
        raise ValueError(f"`--data-dir` must not be given for the task {task.name}, which reads none, got {data_dir}")
    return dataclasses.replace(task, data_dir=data_dir)  # type: ignore[type-var]
