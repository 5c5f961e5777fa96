"""A trained model on a Cortex-M4: its decisions compared with those of torch, and the cost of a step."""

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
from remanent.models.blocks import last_real
from remanent.tasks import METRICS, Task, read_whole


class ChipScore(NamedTuple):
    """The scores and costs of a model on the chip, over examples of a task's test split.

    Attributes:
        examples: the number of examples.
        steps: the number of steps of the longest sequence.
        score: the task's metric of the chip's outputs.
        torch_score: the task's metric of the outputs of torch, with the weights as they were trained.
        same: the number of examples whose decisions (or votes) are the same as in torch with the weights of the
            chip; for a mean squared error, whose errors are equal to 1e-4.
        instructions: the mean number of instructions of a step.
        most_instructions: the number of instructions of the longest step.
        flash_bytes: the flash for code, weights, and the part of the C library that they need.
        weight_bytes: the part of `flash_bytes` that the weights take.
        state_bytes: the RAM for the state of a stream.
        stack_bytes: the RAM for the stack during a step.
        versions: the versions of the cross-compiler and the emulator, by name.
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
    """Runs the C of a model on an emulated Cortex-M4 over a task's test split; see `export.run_on_chip`.

    Args:
        model: a trained model.
        task: the task that it was trained on.
        weights: the weights on the chip, "float32" or "int8".
        examples: how many examples of the split are run, from its beginning; all if None.

    Returns:
        The scores and the costs.

    Raises:
        ValueError: a value is out of its range, the model cannot be written in C, or a sequence does not fit the flash.
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
    for x, target, lengths in _batches(task, count):
        run = run_on_chip(module, [sequence.numpy() for sequence in x])
        y = torch.from_numpy(np.stack(run.outputs))
        kinds = (y, step_outputs(module.model, x), step_outputs(model, x))
        found.append([metric.tally(_asked(task, each, lengths), target) for each in kinds])
        runs.append(run)
    chip, twin, trained = (torch.cat([tallies[i] for tallies in found]) for i in range(3))
    same = int(((chip - twin).abs() <= 1e-4).all(1).sum())
    return _summary(runs, module.weight_bytes, count, _score(task, chip), _score(task, trained), same)


def _batches(task: Task, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Whole examples in batches that the flash can hold, with their lengths where these differ."""
    start, stop = 0, 1
    while start < count:
        x, target = read_whole(task, "test", start, stop, task.length)
        yield x, target, task.lengths("test", start, stop)
        start, stop = stop, min(count, stop + max(1, MOST_BYTES // (5 * x[0].numel())))


def _asked(task: Task, y: Tensor, lengths: Tensor | None) -> Tensor:
    return y if task.head == "every" else last_real(y, lengths)


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
        examples=examples,
        steps=max(steps),
        score=score,
        torch_score=torch_score,
        same=same,
        instructions=mean,
        most_instructions=max(run.most_instructions for run in runs),
        flash_bytes=runs[0].flash_bytes,
        weight_bytes=weight_bytes,
        state_bytes=runs[0].state_bytes,
        stack_bytes=max(run.stack_bytes for run in runs),
        versions=tool_versions(),
    )
