"""Scores of a model at any length: long sequences run in chunks, the state handed over."""

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.models import SequenceModel
from remanent.tasks import Task


@torch.inference_mode()
def evaluate(
    model: SequenceModel,
    task: Task,
    *,
    length: int | None = None,
    split: str = "test",
    examples: int | None = None,
    batch_size: int = 64,
) -> float:
    """The task's metric over a split, at a length.

    Args:
        model: a trained model.
        task: its task.
        length: how long the sequences are, as the task counts; the training length if None.
        split: "test" or "validation".
        examples: only the first so many of the split; all if None.
        batch_size: sequences run together; memory grows with it, not with `length`.

    Returns:
        The mean squared error, or the accuracy in [0, 1].

    Raises:
        ValueError: a value is out of its range.
    """
    size = task.split_size(split)
    count = size if examples is None else examples
    check_at_least("examples", count, 1)
    check_at_least("batch_size", batch_size, 1)
    if count > size:
        raise ValueError(f"`examples` must be at most the {size} of the {split} split, got {count}")
    metric = task.make_metric()
    model.eval()
    for start in range(0, count, batch_size):
        chunks, target = task.stream(
            split, start, min(start + batch_size, count), task.length if length is None else length
        )
        output: Tensor | None = None
        state = None
        for chunk in chunks:
            output, state = model(chunk, state)
        metric.update(output, target)
    return float(metric.compute())
