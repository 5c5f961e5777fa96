"""The configuration of a run: its task, its model, and how it is trained."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remanent._files import from_dict
from remanent._identity import BY_CONTENT, OF_LATCHES, OWN_COLUMN, UNCOUNTED, added, fields_that, with_before
from remanent._options import check_at_least, check_range
from remanent._plugins import import_hint
from remanent.latches.annealing import DEADLINE
from remanent.models import ModelConfig
from remanent.tasks import TASKS, Task
from remanent.units import UNITS, recurrence_of

DATA_DIR = "data_dir"
"""The field of a task that names the folder of its data, which the command line gives as `--data-dir`."""
MOST_THREADS = 1024
"""The most torch threads: where the system cannot start them all, the process dies without a message."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Args:
        steps: the number of optimiser steps, at least 1.
        batch_size: the number of sequences in a step, at least 1.
        learning_rate: the highest learning rate of AdamW, above 0.
        weight_decay: the weight decay of AdamW, for matrices only, at least 0.
        warmup: the share of steps in which the learning rate rises from 0, in [0, 1); after it, the rate falls to 0 as
            a cosine.
        gradient_clip: the largest norm of the gradient, to which a larger one is scaled down, above 0.
        anneal: whether the epsilon of bistable units is annealed from 1 to 0 during training.
        anneal_hold: the share of steps at the start in which epsilon stays at 1, in [0, 1).
        anneal_ramp: the share of steps after `anneal_hold` in which epsilon falls linearly to 0, in (0, 1].
        anneal_wait: whether epsilon waits where the loss rises, and falls only while its running mean does not; it is 0
            in the last fifth of the steps at the latest. `anneal_hold` and `anneal_ramp` must then sum to at most 0.8.
        write_rates: whether the thresholds of latches are set on the first batch, so that each channel is written in a
            share of the steps between one in a sequence and one in two; see `remanent.set_write_rates`. Without, they
            are those of the model's `write_span`.
        curriculum_start: the length of the first training sequences, from which it grows to that of the task; None for
            the task's length from the start. The learning rate does not fall before the length is full.
        curriculum_growth: by which factor the length grows at a time, above 1.
        curriculum_threshold: the running score of the batches at which the length grows; None for growth by steps
            alone.
        curriculum_steps: after how many steps at one length it grows at the latest; None for growth by score alone.
        length_jitter: the factor by which a batch may be shorter or longer than the present length, at least 1: its
            length is drawn evenly in the logarithm.
        checkpoint_every: the number of steps between checkpoints, before each of which up to 512 examples of the
            validation split are scored, at least 1.
        batch_parts: the number of parts in which a batch is drawn, each from a seed of its own; it must divide
            `batch_size`. Each of several processes draws only the parts with its examples, or all of a single part.
        keep_checkpoints: how many of the last checkpoints are kept beside the best one, at least 1; if the last is
            damaged, a run resumes from the one before.
        seed: the seed of the weights and of every batch, at least 0.
        threads: the number of torch threads, in [1, 1024]; the same number gives the same bits.

    Raises:
        ValueError: a value is out of its range.
        TypeError: a count is not an int.
    """

    steps: int = 500
    batch_size: int = 64
    learning_rate: float = 6e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    gradient_clip: float = 1.0
    anneal: bool = True
    anneal_hold: float = 0.05
    anneal_ramp: float = 0.6
    anneal_wait: bool = False
    write_rates: bool = field(default=True, metadata=added(before=False, to=OF_LATCHES))
    curriculum_start: int | None = None
    curriculum_growth: float = 1.5
    curriculum_threshold: float | None = None
    curriculum_steps: int | None = None
    length_jitter: float = 1.0
    checkpoint_every: int = 50
    batch_parts: int = 1
    keep_checkpoints: int = field(default=2, metadata=UNCOUNTED)
    seed: int = field(default=0, metadata=OWN_COLUMN)
    threads: int = field(default=2, metadata=UNCOUNTED)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every", "batch_parts", "keep_checkpoints", "threads"):
            check_at_least(name, getattr(self, name), 1)
        if self.batch_size % self.batch_parts:
            raise ValueError(f"`batch_parts` must divide `batch_size`, {self.batch_size}, got {self.batch_parts}")
        check_range("threads", self.threads, 1, MOST_THREADS)
        check_at_least("seed", self.seed, 0)
        infinite = float("inf")
        check_range("learning_rate", self.learning_rate, 0, infinite, open_low=True)
        check_range("weight_decay", self.weight_decay, 0, infinite)
        check_range("warmup", self.warmup, 0, 1, open_high=True)
        check_range("gradient_clip", self.gradient_clip, 0, infinite, open_low=True)
        check_range("anneal_hold", self.anneal_hold, 0, 1, open_high=True)
        check_range("anneal_ramp", self.anneal_ramp, 0, 1, open_low=True)
        if self.anneal and self.anneal_hold + self.anneal_ramp > 1:
            total = self.anneal_hold + self.anneal_ramp
            raise ValueError(f"`anneal_hold` and `anneal_ramp` must sum to at most 1, got {total}")
        if self.anneal and self.anneal_wait and self.anneal_hold + self.anneal_ramp > DEADLINE:
            total = self.anneal_hold + self.anneal_ramp
            raise ValueError(
                f"`anneal_hold` and `anneal_ramp` must sum to at most {DEADLINE} with `anneal_wait`, got {total}"
            )
        self._check_lengths()

    def _check_lengths(self) -> None:
        check_range("curriculum_growth", self.curriculum_growth, 1, float("inf"), open_low=True)
        check_range("length_jitter", self.length_jitter, 1, float("inf"))
        if self.curriculum_threshold is not None:
            check_range("curriculum_threshold", self.curriculum_threshold, -float("inf"), float("inf"), open_low=True)
        if self.curriculum_steps is not None:
            check_at_least("curriculum_steps", self.curriculum_steps, 1)
        if self.curriculum_start is None:
            return
        check_at_least("curriculum_start", self.curriculum_start, 1)
        if self.curriculum_threshold is None and self.curriculum_steps is None:
            raise ValueError("`curriculum_threshold` or `curriculum_steps` must say when the length grows, got neither")

    def epsilon(self, step: int) -> float:
        """Epsilon in a step: 1 at first, then falling linearly, then exactly 0."""
        share = step / self.steps
        if share < self.anneal_hold:
            return 1.0
        return max(0.0, 1.0 - (share - self.anneal_hold) / self.anneal_ramp)


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
        for name, asked in fitting(self.task).items():
            given = getattr(self.model, name)
            allowed = ALTERNATIVES.get(asked, (asked,))
            if given not in allowed:
                rule = " or ".join(map(str, allowed))
                raise ValueError(f"`model.{name}` must be {rule} for the task {self.task.name}, got {given}")
        if self.training.anneal and self.model.epsilon:
            raise ValueError(f"`model.epsilon` must be 0 where `training.anneal` is on, got {self.model.epsilon}")
        self._check_lengths()

    def _check_lengths(self) -> None:
        """Raises unless the task takes every length that the training asks for."""
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
        for key in values:
            if key not in ("task", "model", "training"):
                raise ValueError(f"{where} has the unknown key {key!r}; the keys are task, model, training")
        for key in ("task", "model", "training"):
            if not isinstance(values.get(key), dict):
                raise ValueError(f"{where} must have a table {key!r}, got {values.get(key)!r}")
        task = dict(values["task"])
        name = task.pop("name", None)
        if not isinstance(name, str) or name not in TASKS:
            known = ", ".join(TASKS)
            raise ValueError(f"{where}: `task.name` must be one of {known}, got {name!r}{import_hint('task')}")
        if data_dir is not None:
            task |= moved_files(TASKS[name], task, data_dir)
        return cls(
            from_dict(TASKS[name], with_before(TASKS[name], task), f"{where}: task"),
            from_dict(ModelConfig, with_before(ModelConfig, values["model"]), f"{where}: model"),
            from_dict(TrainingConfig, with_before(TrainingConfig, values["training"]), f"{where}: training"),
        )


def located_files(task: type[Task], values: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a task that name files or a folder of data, as absolute paths."""
    return {name: str(Path(values[name]).absolute()) for name in _files(task) if isinstance(values.get(name), str)}


def moved_files(task: type[Task], values: Mapping[str, Any], data_dir: str) -> dict[str, str]:
    """The fields of a task that name a folder of data, or files of the same names, in another folder.

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
    moved = {name: str(Path(data_dir, Path(value).name)) for name, value in texts.items()}
    moved |= {DATA_DIR: data_dir} if DATA_DIR in _files(task) else {}
    if not moved:
        raise ValueError(f"`--data-dir` must not be given for the task {task.name}, which reads none, got {data_dir}")
    return moved


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
