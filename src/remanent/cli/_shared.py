"""Helpers that the commands share: a parser that raises errors, and tasks that read from the user's folder."""

import dataclasses
from typing import Any

from remanent.tasks import Task


def make_parser(description: str, prog: str | None = None, version: str | None = None) -> Any:
    """A parser that raises its errors, so that the user gets one line instead of a page of usage."""
    from jsonargparse import ArgumentParser

    return ArgumentParser(prog=prog, description=description, version=version, exit_on_error=False, allow_abbrev=False)


def with_data(task: Task, data_dir: str | None) -> Task:
    """The task, which reads its data from the folder that the user named."""
    if data_dir is None:
        return task
    if not hasattr(task, "data_dir"):
        raise ValueError(f"`--data-dir` must not be given for the task {task.name}, which reads none, got {data_dir}")
    return dataclasses.replace(task, data_dir=data_dir)  # type: ignore[type-var]
