"""Recipes: functions that return the whole configuration of a run."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from remanent._files import from_dict
from remanent.models import ModelConfig
from remanent.tasks import TASKS, CopyFirst, SequentialImage, Task
from remanent.training.config import TrainingConfig


@dataclass(frozen=True)
class Experiment:
    """A task, a model and how it is trained: all that a run depends on.

    Raises:
        ValueError: the model's sizes are not those of the task.
    """

    task: Task
    model: ModelConfig
    training: TrainingConfig

    def __post_init__(self) -> None:
        for name, asked in fitting(self.task).items():
            given = getattr(self.model, name)
            allowed = ("last", "mean") if asked == "last" else (asked,)
            if given not in allowed:
                rule = " or ".join(map(str, allowed))
                raise ValueError(f"`model.{name}` must be {rule} for the task {self.task.name}, got {given}")
        if self.training.anneal and self.model.epsilon:
            raise ValueError(f"`model.epsilon` must be 0 where `training.anneal` is on, got {self.model.epsilon}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as config.json holds them."""
        task = {"name": self.task.name, **dataclasses.asdict(self.task)}  # type: ignore[call-overload]
        return {"task": task, "model": dataclasses.asdict(self.model), "training": dataclasses.asdict(self.training)}

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "the configuration") -> "Experiment":
        """Reads what `to_dict` gave.

        Raises:
            ValueError: a key or the task's name is unknown, or a value is out of its range.
        """
        for key in values:
            if key not in ("task", "model", "training"):
                raise ValueError(f"{where} has the unknown key {key!r}; the keys are task, model, training")
        for key in ("task", "model", "training"):
            if not isinstance(values.get(key), dict):
                raise ValueError(f"{where} must have a table {key!r}, got {values.get(key)!r}")
        task = dict(values["task"])
        name = task.pop("name", None)
        if name not in TASKS:
            raise ValueError(f"{where}: `task.name` must be one of {', '.join(TASKS)}, got {name!r}")
        return cls(
            from_dict(TASKS[name], task, f"{where}: task"),
            from_dict(ModelConfig, values["model"], f"{where}: model"),
            from_dict(TrainingConfig, values["training"], f"{where}: training"),
        )


def fitting(task: Task) -> dict[str, Any]:
    """The fields of a model's configuration that a task decides."""
    return {
        "input_size": task.input_size,
        "output_size": task.output_size,
        "encoder": "embedding" if task.tokens else "linear",
        "head": task.head,
    }


def copy_first() -> Experiment:
    """Hold one number through 300 noisy steps."""
    return Experiment(CopyFirst(), ModelConfig(input_size=1, output_size=1), TrainingConfig(steps=500))


def digits() -> Experiment:
    """Read a real digit of 8 x 8 by rows, wait 136 empty steps, name it."""
    return Experiment(
        SequentialImage(),
        ModelConfig(input_size=8, output_size=10, gate=True, initial_state="learned", r_min=0.5, r_max=0.95),
        TrainingConfig(steps=900, learning_rate=8e-3, weight_decay=0.1, anneal_ramp=0.5),
    )


def digits_pixels() -> Experiment:
    """Read a real digit pixel by pixel, wait 136 empty steps, name it."""
    return Experiment(
        SequentialImage(reading="pixel"),
        ModelConfig(input_size=1, output_size=10),
        TrainingConfig(steps=2000),
    )


def mnist() -> Experiment:
    """Read an MNIST image by rows, wait 136 empty steps, name it."""
    return Experiment(
        SequentialImage(dataset="mnist"),
        ModelConfig(input_size=28, output_size=10, hidden_size=128),
        TrainingConfig(steps=3000),
    )


def permuted_mnist() -> Experiment:
    """Read an MNIST image pixel by pixel in a fixed random order, then name it: 784 steps."""
    return Experiment(
        SequentialImage(dataset="mnist", reading="pixel", permuted=True, padding=0),
        ModelConfig(input_size=1, output_size=10, hidden_size=256, num_layers=3),
        TrainingConfig(steps=20_000, learning_rate=2e-3, checkpoint_every=500),
    )


RECIPES: dict[str, Callable[[], Experiment]] = {
    "copy-first": copy_first,
    "digits": digits,
    "digits-pixels": digits_pixels,
    "mnist": mnist,
    "permuted-mnist": permuted_mnist,
}
"""Name to function, for the command line."""
