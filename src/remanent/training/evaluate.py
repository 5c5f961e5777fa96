"""Scores of a model at any length: long sequences run in chunks, and the state is passed from one to the next."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.analysis._probe import evaluating
from remanent.models import ModelState, SequenceModel
from remanent.tasks import Task
from remanent.tasks.base import read_whole
from remanent.tasks.metrics import METRICS

WORDS = 512
"""The number of fresh words that must all be right at a length."""
LIMIT = 2**20
"""The longest length that is tried."""
LAST_TRIAL = 127
"""The number of the trial at the limit, which a search by doubling and bisection never reaches."""


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
    done: Callable[[int], None] | None = None,
) -> float:
    """Scores a model by its task's metric over a split, at any length.

    Args:
        model: a trained model; it runs in evaluation mode, and afterwards is in the mode that it was in.
        task: the task that it was trained on.
        length: the length of the sequences, as the task counts it; the training length if None.
        split: "test" or "validation".
        examples: how many examples of the split are scored, from its beginning; all if None.
        batch_size: how many sequences run together, at least 1; memory grows with it, but not with `length`, unless the
            model has attention or is bidirectional.
        noise: a function that each chunk of inputs, (B, T, M) or tokens (B, T), passes through before the model reads
            it, padding included; chunks come batch by batch, in order of time. None for inputs as they are.
        done: a function that is called after each batch, with the number of examples that are scored so far.

    Returns:
        The score, by `METRICS[task.metric]`; NaN if an answer of the model is NaN.

    Raises:
        ValueError: a value is out of its range.
    """
    size = task.split_size(split)
    count = size if examples is None else examples
    check_at_least("examples", count, 1)
    check_at_least("batch_size", batch_size, 1)
    if count > size:
        raise ValueError(f"`examples` must be at most the {size} of the {split} split, got {count}")
    metric = METRICS[task.metric]
    total = torch.zeros(2, dtype=torch.float64)  # of values by their weights, and of weights
    with evaluating(model):
        for start in range(0, count, batch_size):
            stop = min(start + batch_size, count)
            tallies = []
            state: ModelState | None = None
            place = split, start, stop, task.length if length is None else length
            lengths = task.lengths(split, start, stop)
            more = {} if lengths is None else {"lengths": lengths}
            for x, target in [read_whole(task, *place)] if model.config.bidirectional else task.stream(*place):
                output, state = model(x if noise is None else noise(x), state, **more)
                if target is not None:
                    tallies.append(metric.tally(output, target))
            values, weights = (part.double() for part in metric.finish(torch.stack(tallies).sum(0)))
            total += torch.stack([(values * weights).sum(), weights.expand_as(values).sum()]).cpu()
            if done is not None:
                done(stop)
    return float(total[0] / total[1])


@torch.inference_mode()
def failing_length(model: SequenceModel, task: Task, *, words: int = WORDS, limit: int = LIMIT) -> int:
    """The longest length at which all fresh words are answered right at every step, by doubling, then bisection.

    The limit is tried first, since a word that is right at every step is right in each of its beginnings. Every length
    has words of its own, none of which is in a split. A word runs in chunks and stops at its first wrong
    answer, so that memory is bounded and a short failure is cheap.

    Args:
        model: a trained model.
        task: a task of words, whose metric is "sequence_accuracy".
        words: the number of words that must all be right at a length, at least 1.
        limit: the longest length that is tried, at least 1.

    Returns:
        A length in [0, `limit`]: 0 if even words of one letter fail, `limit` if no word fails there.

    Raises:
        ValueError: the task has no words to draw, or a value is out of its range.

    Source: Brandoit et al. (2026), "Length-independent state tracking under a parallel scan".
    """
    check_at_least("words", words, 1)
    check_at_least("limit", limit, 1)
    if model.config.bidirectional:
        raise ValueError(
            "`model` must have one direction, so that a longer word changes no answer, got a bidirectional one"
        )
    if task.metric != "sequence_accuracy" or not task.endless:
        raise ValueError(f"`task` must be one of words, judged by sequence_accuracy, got {task.name}")
    first = task.split_size("test")
    trials = itertools.count()

    def passes(length: int, trial: int | None = None) -> bool:
        start = first + words * (next(trials) if trial is None else trial)
        return _all_right(model, task, length, start, start + words)

    with evaluating(model):
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
