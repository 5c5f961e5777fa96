"""Helpers that the commands share: a parser that raises errors, and tasks that read from the user's folder."""

import dataclasses
from typing import Any

from remanent.records.configuration import moved_files
from remanent.tasks import Task


def make_parser(description: str, prog: str | None = None, version: str | None = None) -> Any:
    """A parser that raises its errors, so that the user gets one line instead of a page of usage."""
    from jsonargparse import ArgumentParser

    return ArgumentParser(prog=prog, description=description, version=version, exit_on_error=False, allow_abbrev=False)


def with_data(task: Task, data_dir: str | None) -> Task:
    """The task, which reads its data from the folder that the user named."""
    if data_dir is None:
        return task
    values = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}  # type: ignore[arg-type]
    return dataclasses.replace(task, **moved_files(type(task), values, data_dir))  # type: ignore[type-var]
