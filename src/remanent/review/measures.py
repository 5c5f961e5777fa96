"""The measures of a finished run, from its folder alone: its scores, its memory, and how it learned."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from remanent._files import read_json
from remanent._json import is_number
from remanent.analysis import LagGradient, Writes, gradient_by_lag, memory_horizon, write_statistics
from remanent.analysis.portrait import (
    Loop,
    Raster,
    example_inputs,
    first_loop,
    first_raster,
    has_latches,
)
from remanent.models import SequenceModel
from remanent.models.inputs import in_units
from remanent.records.configuration import Experiment
from remanent.records.lines import parse_line
from remanent.records.record import Versions, read_versions
from remanent.review.proved import StoredProof, read_proof
from remanent.tasks import Task
from remanent.tasks.base import read_whole
from remanent.training.evaluate import evaluate
from remanent.training.folder import METRICS_FILE, VERSIONS_FILE, load_run

HORIZON_CAP = 10_000
"""The longest memory horizon that is tried, in steps."""
HORIZON_SEQUENCES = 16
"""The number of sequences over which the horizon is measured."""
EXAMPLES = 512
"""The most examples of the test split that are scored."""
POINTS = 200
"""The most points of a curve that has a value for each step."""
CLASSES = 20
"""The most classes for which a confusion matrix is readable."""


@dataclass(frozen=True)
class RunMeasures:
    """A run and its measures; None where a measure does not apply to the model or the task.

    Attributes:
        folder: the folder of the run.
        experiment: the configuration of the run.
        versions: the packages and the machine that made it, as the folder says; None where it does not.
        parameters: how many numbers were trained.
        steps: the training steps that the run took.
        learning: the validation score after each step at which it was taken.
        epsilon: the epsilon of the latches in up to 200 of the steps; empty where none is annealed.
        write_rate: the share of steps that write after each step at which it was counted; may be empty.
        score: the score on the first examples of the test split, at the training length.
        examples: the number of examples of `score`.
        loop: the hysteresis loop of the busiest latch that also holds.
        raster: the states of the first unit of the first block.
        writes: the write statistics of each layer of latches.
        gradient: the gradient against the lag, on validation examples.
        horizon: the memory horizon, the median over sequences, at most `HORIZON_CAP`; None where `never_fades` is true.
        never_fades: whether the states are finitely many and moved by every input, so that a horizon means nothing.
        confusion: the counts of examples by class and answer, int64 (C, C).
        proof: the proof in the folder that the model is right at every length.
    """

    folder: Path
    experiment: Experiment
    versions: Versions | None
    parameters: int
    steps: int
    learning: dict[int, float]
    epsilon: dict[int, float]
    write_rate: dict[int, float]
    score: float
    examples: int
    loop: Loop | None
    raster: Raster
    writes: list[Writes] | None
    gradient: LagGradient | None
    horizon: int | None
    never_fades: bool
    confusion: Tensor | None
    proof: StoredProof | None


def measure_run(folder: Path, data_dir: str | None = None) -> RunMeasures:
    """Measures a finished run.

    Args:
        folder: the folder of the run.
        data_dir: the folder that holds the run's data now; None for the place that its configuration names.

    Raises:
        FileNotFoundError: the folder holds no finished run, or the data are missing.
        ValueError: a file is corrupt.
    """
    experiment, model = load_run(folder, data_dir=data_dir)
    task = experiment.task
    examples = min(EXAMPLES, task.split_size("test"))
    x = example_inputs(task)
    writes = write_statistics(model, x) if has_latches(model) else None
    metrics = read_metrics(folder / METRICS_FILE)
    return RunMeasures(
        folder=folder,
        experiment=experiment,
        versions=read_versions(read_json(folder / VERSIONS_FILE)),
        parameters=sum(p.numel() for p in model.parameters()),
        steps=metrics.steps or experiment.training.steps,
        learning=metrics.learning(task.metric),
        epsilon=metrics.curve("epsilon"),
        write_rate=metrics.curve("write_rate"),
        score=evaluate(model, task, examples=examples),
        examples=examples,
        loop=None if writes is None else first_loop(model, writes),
        raster=first_raster(model, x),
        writes=writes,
        gradient=None if not model.streams or x.shape[1] < 2 else gradient_by_lag(model, x),
        horizon=None if not model.streams or _never_fades(model) else _horizon(model, task),
        never_fades=_never_fades(model),
        confusion=confusion(model, task, examples),
        proof=read_proof(folder, model, task),
    )


class Learning(NamedTuple):
    """How a run learned, by the number of steps that were done, as `RunMeasures` has it.

    Attributes:
        learning: the validation score.
        epsilon: the epsilon of the latches; empty where none is annealed.
        write_rate: the share of steps that write; may be empty.
    """

    learning: dict[int, float]
    epsilon: dict[int, float]
    write_rate: dict[int, float]


class Metrics(NamedTuple):
    """The lines of a run's metrics, each with the place that errors name.

    Attributes:
        lines: for each line its place, and what it holds.
    """

    lines: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def steps(self) -> int:
        """How many steps were done; 0 where no line says."""
        return max((values["step"] + 1 for _, values in self.lines), default=0)

    def learning(self, metric: str) -> dict[int, float]:
        """The validation scores, by the number of steps that were done; NaN where one was not finite.

        Raises:
            ValueError: a score is no number; the message names the file and the line.
        """
        return self._values(f"validation_{metric}", "the score")

    def curve(self, name: str) -> dict[int, float]:
        """What stands under a name, by the number of steps that were done, evenly thinned.

        Raises:
            ValueError: a value is no number; the message names the file and the line.
        """
        values = self._values(name, f"`{name}`")
        every = math.ceil(len(values) / POINTS)
        return {step: value for i, (step, value) in enumerate(values.items()) if i % every == 0 or i == len(values) - 1}

    def _values(self, key: str, what: str) -> dict[int, float]:
        there = [(where, values) for where, values in self.lines if key in values]
        return {values["step"] + 1: _number(values[key], f"{where}: {what}") for where, values in there}


def read_metrics(path: Path) -> Metrics:
    """Reads the metrics of a run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is no line of metrics; the message names the file and the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"`metrics.jsonl` must be a file in {path.parent}, got none")
    lines = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        where, values = f"{path}, line {number}", parse_line(line)
        if values is None:
            raise ValueError(f"{where} must hold JSON, an object, got {line[:40].decode(errors='replace')!r}")
        if not isinstance(values.get("step"), int):
            raise ValueError(f"{where} must have a whole number `step`, got {values.get('step')!r}")
        lines.append((where, values))
    return Metrics(tuple(lines))


def _number(value: Any, what: str) -> float:
    """A number of the metrics, in which null, or NaN of an earlier version, stands for what is not finite."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return math.nan
    if not is_number(value):
        raise ValueError(f"{what} must be a number, or null where not finite, got {value!r}")
    return float(value)


def _never_fades(model: SequenceModel) -> bool:
    """Whether all states are finitely many, and some units move theirs, which the fixed reader of a horizon loses.

    A latch has finitely many states as well, but it holds them, and a horizon says for how long.
    """
    kinds = model.recurrences
    return model.streams and all(kind.finite_states for kind in kinds) and not all(kind.latches for kind in kinds)


def _horizon(model: SequenceModel, task: Task) -> int:
    """The horizon of a bit that two opposite inputs or the first two tokens write, under noise as large as they are."""
    options: dict[str, Any] = {"read": "answer", "sequences": HORIZON_SEQUENCES, "cap": HORIZON_CAP}
    if task.tokens:
        write = torch.arange(2)

        def letters(B: int, T: int, generator: torch.Generator) -> Tensor:
            return torch.randint(task.input_size, (B, T), generator=generator)

        found = memory_horizon(model, write, letters, **options)
    else:
        write = torch.ones(2, task.input_size)
        write[1] = -1

        def features(B: int, T: int, generator: torch.Generator) -> Tensor:
            return in_units(model, torch.randn(B, T, task.input_size, generator=generator))

        noise = features if model.config.standardise else 1.0
        found = memory_horizon(model, in_units(model, write), noise, **options)
    return int(found.median())


@torch.inference_mode()
def confusion(model: SequenceModel, task: Task, examples: int, split: str = "test") -> Tensor | None:
    """The counts by class and answer after the last step; None for values, many classes, or answers at every step.

    Args:
        model: a trained model, in evaluation mode.
        task: the task that it was trained on.
        examples: how many of the split are counted, from its beginning.
        split: "test" or "validation".
    """
    if task.head != "last" or task.metric == "mse" or task.output_size > CLASSES:
        return None
    counts = torch.zeros(task.output_size, task.output_size, dtype=torch.int64)
    for start in range(0, examples, 64):
        place = split, start, min(start + 64, examples)
        x, target = read_whole(task, *place, task.length)
        answer = model(x, lengths=task.lengths(*place))[0].argmax(-1)
        counts.index_put_((target, answer), torch.ones_like(target), accumulate=True)
    return counts
