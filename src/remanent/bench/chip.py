"""A trained model on a Cortex-M4: its decisions beside torch's, and what a step costs there."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.export import run_on_chip, write_c
from remanent.export.c import step_outputs
from remanent.export.chip import MOST_BYTES, ChipRun, tool_versions
from remanent.models import SequenceModel
from remanent.tasks import METRICS, Task


class ChipScore(NamedTuple):
    """What a model does on the chip, over examples of a task's test split.

    Attributes:
        examples: how many.
        steps: of a sequence; the longest, where they differ.
        score: of the chip's outputs, by the task's metric.
        torch_score: of those of the model as it was trained, in torch.
        same: in how many examples what is scored (the decisions, the votes) is the same as in torch, for the weights
            that the chip has; for a mean squared error, as near as 1e-4.
        instructions: of a step, the mean.
        most_instructions: of the longest step.
        flash_bytes: code and weights, and what they need of the C library.
        weight_bytes: of these, the weights.
        state_bytes: RAM for the state of a stream.
        stack_bytes: RAM that a step uses for a while.
        versions: of the cross-compiler and the emulator.
    """

    examples: int
    steps: int
    score: float
    torch_score: float
    same: int
    instructions: float
    most_instructions: float
    flash_bytes: int
    weight_bytes: int
    state_bytes: int
    stack_bytes: int
    versions: dict[str, str]


def measure_chip(
    model: SequenceModel, task: Task, *, weights: str = "float32", examples: int | None = None
) -> ChipScore:
    """Runs a model's C on an emulated Cortex-M4 over a task's test split; see `export.run_on_chip`.

    Args:
        model: a trained model.
        task: its task.
        weights: "float32" or "int8".
        examples: only the first so many of the split; all if None.

    Returns:
        Scores and costs.

    Raises:
        ValueError: a value is out of its range, the model has no C, or a sequence is more than the flash holds.
        FileNotFoundError: the cross-compiler or the emulator is missing.
    """
    size = task.split_size("test")
    count = size if examples is None else examples
    check_at_least("examples", count, 1)
    if count > size:
        raise ValueError(f"`examples` must be at most the {size} of the test split, got {count}")
    module = write_c(model, weights=weights)
    metric = METRICS[task.metric]
    found, runs = [], []
    for x, target in _batches(task, count):
        run = run_on_chip(module, [sequence.numpy() for sequence in x])
        y = torch.from_numpy(np.stack(run.outputs))
        kinds = (y, step_outputs(module.model, x), step_outputs(model, x))
        found.append([metric.tally(_asked(task, each), target) for each in kinds])
        runs.append(run)
    chip, twin, trained = (torch.cat([tallies[i] for tallies in found]) for i in range(3))
    same = int(((chip - twin).abs() <= 1e-4).all(1).sum())
    return _summary(runs, module.weight_bytes, count, _score(task, chip), _score(task, trained), same)


def _batches(task: Task, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Examples, whole, so many at a time as the flash holds."""
    start, stop = 0, 1
    while start < count:
        chunks = list(task.stream("test", start, stop, task.length))
        x = torch.cat([part for part, _ in chunks], dim=1)
        targets = [target for _, target in chunks if target is not None]
        yield x, torch.cat(targets, dim=1) if targets[0].dim() > 1 and len(targets) > 1 else targets[-1]
        start, stop = stop, min(count, stop + max(1, MOST_BYTES // (5 * x[0].numel())))


def _asked(task: Task, y: Tensor) -> Tensor:
    return y if task.head == "every" else y[:, -1]


def _score(task: Task, tally: Tensor) -> float:
    value, weight = METRICS[task.metric].finish(tally)
    return float((value * weight).sum() / weight.sum())


def _summary(
    runs: list[ChipRun], weight_bytes: int, examples: int, score: float, torch_score: float, same: int
) -> ChipScore:
    steps = [len(y) for run in runs for y in run.outputs]
    each = [sum(len(y) for y in run.outputs) for run in runs]
    mean = sum(run.instructions * n for run, n in zip(runs, each, strict=True)) / sum(each)
    return ChipScore(
        examples,
        max(steps),
        score,
        torch_score,
        same,
        mean,
        max(run.most_instructions for run in runs),
        runs[0].flash_bytes,
        weight_bytes,
        runs[0].state_bytes,
        max(run.stack_bytes for run in runs),
        tool_versions(),
    )
