"""The configuration of a run: its task, its model, and how it is trained."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remanent._files import from_dict
from remanent._identity import BY_CONTENT, fields_that, with_before
from remanent._options import listed
from remanent._plugins import import_hint
from remanent.models import ModelConfig
from remanent.records.record import TABLES
from remanent.records.training_config import TrainingConfig
from remanent.tasks import TASKS, Task
from remanent.tasks.metrics import METRICS
from remanent.units import UNITS, recurrence_of

DATA_DIR = "data_dir"
"""The field of a task that names the folder of its data, which the command line gives as `--data-dir`."""


@dataclass(frozen=True)
class Experiment:
    """A task, a model and how it is trained: all that a run depends on.

    Args:
        task: the task.
        model: the configuration of the model, with the sizes of the task.
        training: how the model is trained.

    Raises:
        ValueError: the model's sizes are not those of the task.
    """

    task: Task
    model: ModelConfig
    training: TrainingConfig

    def __post_init__(self) -> None:
        if not dataclasses.is_dataclass(self.task):
            rule = "`task` must be a dataclass, which a configuration can hold (save arrays, and train on OwnData)"
            raise TypeError(f"{rule}, got {type(self.task).__name__}")
        for name, asked in fitting(self.task).items():
            given = getattr(self.model, name)
            allowed = ALTERNATIVES.get(asked, (asked,))
            if given not in allowed:
                rule = " or ".join(map(str, allowed))
                raise ValueError(f"`model.{name}` must be {rule} for the task {self.task.name}, got {given}")
        if self.training.anneal and self.model.epsilon:
            raise ValueError(f"`model.epsilon` must be 0 where `training.anneal` is on, got {self.model.epsilon}")
        if self.model.standardise and not self.task.standardised:
            rule = f"`model.standardise` must be False for the task {self.task.name}, which has no statistics"
            raise ValueError(f"{rule}, got True")
        if self.training.carry_state:
            self._check_streams()
        if self.task.ragged:
            self._check_ragged()
        self._check_lengths()

    def _check_ragged(self) -> None:
        """Raises where the model or the training takes no sequences that differ in length."""
        rule = f"for the task {self.task.name}, whose sequences differ in length"
        if any("attention" in names for names in self.model.layers):
            raise ValueError(f"`model.unit` must not be attention {rule}, got {self.model.unit!r}")
        if self.training.compile:
            raise ValueError(f"`training.compile` must be False {rule}, got True")

    def _check_streams(self) -> None:
        """Raises unless the task has streams that go on, and the model a state that is as large after them."""
        rule = "`training.carry_state` must be False for"
        if not self.task.continues:
            raise ValueError(f"{rule} the task {self.task.name}, whose sequences do not go on, got True")
        if any("attention" in names for names in self.model.layers):
            raise ValueError(f"{rule} a model with attention, whose state grows with time, got True")
        if self.model.bidirectional:
            raise ValueError(f"{rule} a bidirectional model, which reads whole sequences, got True")

    def _check_lengths(self) -> None:
        """Raises unless the task has the score, and takes every length, that the training asks for."""
        asks = self.task.head == "every" and METRICS[self.task.metric].is_share
        if self.training.curriculum_score == "last" and not asks:
            rule = f"`training.curriculum_score` must be metric for the task {self.task.name}"
            raise ValueError(f"{rule}, which does not ask for a class at every step, got last")
        if self.training.curriculum_letters is not None:
            try:
                self.task.at_letters(self.training.curriculum_letters)
            except ValueError as error:
                rule = "`training.curriculum_letters` must be letters that the task takes"
                raise ValueError(f"{rule}, got {error}") from None
        start, jitter = self.training.curriculum_start, self.training.length_jitter
        if start is None and jitter == 1:
            return
        asked = "curriculum_start" if start is not None else "length_jitter"
        if self.task.length_option is None:
            raise ValueError(
                f"`training.{asked}` must not be given for the task {self.task.name}, whose length is fixed"
            )
        if start is not None and start > self.task.length:
            raise ValueError(f"`training.curriculum_start` must be at most {self.task.length}, got {start}")
        first = self.task.length if start is None else start
        for length in (first, max(1, round(first / jitter))):
            try:
                self.task.at_length(length)
            except ValueError as error:
                raise ValueError(f"`training.{asked}` must lead to lengths that the task takes, got {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, as config.json holds them."""
        task = {"name": self.task.name, **dataclasses.asdict(self.task)}  # type: ignore[call-overload]
        return {"task": task, "model": dataclasses.asdict(self.model), "training": dataclasses.asdict(self.training)}

    def located(self) -> "Experiment":
        """The same experiment, whose task finds its data from every working directory: relative paths become absolute.

        >>> from remanent.tasks import SequentialImage
        >>> Path(located_files(SequentialImage, {"data_dir": "data"})["data_dir"]) == Path.cwd() / "data"
        True
        """
        task: Any = self.task
        files = located_files(type(task), {f.name: getattr(task, f.name) for f in dataclasses.fields(task)})
        return dataclasses.replace(self, task=dataclasses.replace(task, **files)) if files else self

    @classmethod
    def from_dict(
        cls, values: dict[str, Any], where: str = "the configuration", *, data_dir: str | None = None
    ) -> "Experiment":
        """Reads the plain values of `to_dict`, of this version or an earlier one, whose options keep their meaning.

        Args:
            values: a table each for `task`, `model` and `training`.
            where: the name of the configuration in errors.
            data_dir: the folder that holds the task's data now; None for the place that the values name.

        Raises:
            ValueError: a key or the task's name is unknown, a value is out of its range, or `data_dir` is given for a
                task that reads no data.
        """
        kind, task = task_table(values, TABLES, TASKS, where)
        if data_dir is not None:
            task |= moved_files(kind, task, data_dir)
        kinds: dict[str, Any] = dict(zip(TABLES, (kind, ModelConfig, TrainingConfig), strict=True))
        return cls(*read_tables({**values, "task": task}, kinds, where))


def task_table(
    values: Mapping[str, Any], tables: Sequence[str], tasks: Mapping[str, Any], where: str
) -> tuple[Any, dict[str, Any]]:
    """The class of the task that a configuration names, and the task's own options.

    Args:
        values: the plain values of a configuration.
        tables: the tables that it must have, "task" among them, and no others.
        tasks: the classes by name.
        where: the name of the configuration in errors.

    Raises:
        ValueError: a table is missing or unknown, or the task's name is unknown.
    """
    for key in values:
        if key not in tables:
            raise ValueError(f"{where} has the unknown key {key!r}; the keys are {', '.join(tables)}")
    for key in tables:
        if not isinstance(values.get(key), dict):
            raise ValueError(f"{where} must have a table {key!r}, got {values.get(key)!r}")
    task = dict(values["task"])
    name = task.pop("name", None)
    if not isinstance(name, str) or name not in tasks:
        known = listed(tasks, name)
        raise ValueError(f"{where}: `task.name` must be one of {known}, got {name!r}{import_hint('task')}")
    return tasks[name], task


def read_tables(values: Mapping[str, Any], kinds: Mapping[str, Any], where: str) -> list[Any]:
    """The dataclass of each table, of this version or an earlier one, whose options keep their meaning.

    Raises:
        ValueError: a key is unknown, or a value is out of its range.
    """
    return [from_dict(kind, with_before(kind, values[table]), f"{where}: {table}") for table, kind in kinds.items()]


def located_files(task: type[Task], values: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a task that name files or a folder of data, as absolute paths."""
    return {name: str(Path(values[name]).absolute()) for name in _files(task) if isinstance(values.get(name), str)}


def moved_files(task: type[Task], values: Mapping[str, Any], data_dir: str) -> dict[str, str]:
    """The fields of a task that name a folder of data, or files of the same names, in another folder.

    A folder that a field names may also be that other folder itself, under a new name.

    Args:
        task: the kind of task.
        values: its fields by name.
        data_dir: the folder that holds the data now.

    Raises:
        ValueError: the task reads no data.

    >>> from remanent.tasks import Characters
    >>> moved_files(Characters, {"path": "texts/book.txt"}, "elsewhere")
    {'path': 'elsewhere/book.txt'}
    """
    texts = {name: value for name in _files(task) if name != DATA_DIR and isinstance(value := values.get(name), str)}
    moved = {name: str(_moved(Path(value), Path(data_dir))) for name, value in texts.items()}
    moved |= {DATA_DIR: data_dir} if DATA_DIR in _files(task) else {}
    if not moved:
        raise ValueError(f"`--data-dir` must not be given for the task {task.name}, which reads none, got {data_dir}")
    return moved


def _moved(path: Path, folder: Path) -> Path:
    """Where a file or folder is now: in a folder under its old name, or a folder under a new name."""
    place = folder / path.name
    return folder if not place.exists() and not path.suffix and folder.is_dir() else place


def reads_files(task: type[Task]) -> bool:
    """Whether a task reads a folder of data or files of the user, which `moved_files` finds elsewhere."""
    return bool(_files(task))


def _files(task: type[Task]) -> set[str]:
    """The names of a task's fields that name its data: the folder, and the user's own files."""
    named = {field.name for field in dataclasses.fields(task) if field.name == DATA_DIR}  # type: ignore[arg-type]
    return named | fields_that(task, [BY_CONTENT])


ALTERNATIVES: dict[Any, tuple[Any, ...]] = {"last": ("last", "mean"), "embedding": ("embedding", "table")}
"""The values that a field of `fitting` may have, by the one that follows from the task; others have that one alone."""


def fitting(task: Task) -> dict[str, Any]:
    """The fields of a model's configuration that follow from the task."""
    return {
        "input_size": task.input_size,
        "output_size": task.output_size,
        "encoder": "embedding" if task.tokens else "linear",
        "head": task.head,
    }


def suiting(unit: str) -> dict[str, Any]:
    """The fields of a model's configuration that follow from the unit.

    An LRU alone starts on the ring of its paper. Beside another unit it need not remember for long, and a short memory
    cannot fade at a length that was not trained.
    """
    names = unit.replace(",", "+").split("+")
    if not any(name in UNITS and "r_min" in recurrence_of(name).config_fields for name in names):
        return {"unit": unit}
    low, high = (0.9, 0.999) if len(names) == 1 else (0.5, 0.95)
    return {"unit": unit, "r_min": low, "r_max": high}
