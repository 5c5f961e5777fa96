"""Scores of a model at any length: long sequences run in chunks, the state handed over."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.models import ModelState, SequenceModel
from remanent.tasks import Task
from remanent.tasks.metrics import METRICS

WORDS = 512
"""How many fresh words a length must be passed by."""
LIMIT = 2**20
"""The longest length that is tried."""
LAST_TRIAL = 127
"""The place of the limit's words: no search by doubling and bisection tries so many lengths."""


@torch.inference_mode()
def evaluate(
    model: SequenceModel,
    task: Task,
    *,
    length: int | None = None,
    split: str = "test",
    examples: int | None = None,
    batch_size: int = 64,
    noise: Callable[[Tensor], Tensor] | None = None,
) -> float:
    """The task's metric over a split, at a length.

    Args:
        model: a trained model.
        task: its task.
        length: how long the sequences are, as the task counts; the training length if None.
        split: "test" or "validation".
        examples: only the first so many of the split; all if None.
        batch_size: sequences run together; memory grows with it, not with `length`, except that of attention.
        noise: what each chunk of inputs, (B, T, M) or tokens (B, T), is put through before the model reads it,
            padding included; chunks come batch by batch, in order of time. None for inputs as they are.

    Returns:
        The score, of `METRICS[task.metric]`; NaN where the model's answer is.

    Raises:
        ValueError: a value is out of its range.
    """
    from torchmetrics import MeanMetric

    size = task.split_size(split)
    count = size if examples is None else examples
    check_at_least("examples", count, 1)
    check_at_least("batch_size", batch_size, 1)
    if count > size:
        raise ValueError(f"`examples` must be at most the {size} of the {split} split, got {count}")
    metric = METRICS[task.metric]
    score = MeanMetric(nan_strategy="disable").set_dtype(torch.float64)  # else it would leave NaN out of the mean
    model.eval()
    for start in range(0, count, batch_size):
        stop = min(start + batch_size, count)
        tallies = []
        state: ModelState | None = None
        for x, target in task.stream(split, start, stop, task.length if length is None else length):
            output, state = model(x if noise is None else noise(x), state)
            if target is not None:
                tallies.append(metric.tally(output, target))
        score.update(*metric.finish(torch.stack(tallies).sum(0)))
    return float(score.compute())


@torch.inference_mode()
def failing_length(model: SequenceModel, task: Task, *, words: int = WORDS, limit: int = LIMIT) -> int:
    """The longest length at which fresh words are all answered right at every step: doubling, then bisection.

    The limit is tried first: a word that is right at every step is so in each of its beginnings. Every length
    tried has words of its own, none of them in a split. A word is run in chunks and given up at its first wrong
    answer, so that memory is bounded and a short failure is cheap.

    Args:
        model: a trained model.
        task: a task of words, judged by "sequence_accuracy".
        words: how many a length must pass, at least 1.
        limit: the longest length tried, at least 1.

    Returns:
        A length in [0, `limit`]: 0 where even words of one letter fail, `limit` where none tried did.

    Raises:
        ValueError: the task has no words to draw, or a value is out of its range.

    Source: Brandoit et al. (2026), arXiv 2605.11855, length-independent state tracking.
    """
    check_at_least("words", words, 1)
    check_at_least("limit", limit, 1)
    if task.metric != "sequence_accuracy" or not task.endless:
        raise ValueError(f"`task` must be one of words, judged by sequence_accuracy, got {task.name}")
    model.eval()
    first = task.split_size("test")
    trials = itertools.count()

    def passes(length: int, trial: int | None = None) -> bool:
        start = first + words * (next(trials) if trial is None else trial)
        return _all_right(model, task, length, start, start + words)

    if passes(limit, LAST_TRIAL):
        return limit
    low, high = 0, 1
    while high < limit and passes(high):
        low, high = high, min(2 * high, limit)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return low


def _all_right(model: SequenceModel, task: Task, length: int, start: int, stop: int, batch_size: int = 128) -> bool:
    """Whether the test words `start` to `stop`, beyond those of the split, are right at every step."""
    for begin in range(start, stop, batch_size):
        state: ModelState | None = None
        for x, target in task.stream("test", begin, min(begin + batch_size, stop), length):
            output, state = model(x, state)
            if target is not None and not _right(output, target):
                return False
    return True


def _right(output: Tensor, target: Tensor) -> bool:
    metric = METRICS["sequence_accuracy"]
    return bool(metric.finish(metric.tally(output, target))[0].all())
