"""Laws that every task keeps: batches and streams are what they say they are, and fixed."""

import math

import pytest
import torch

from real_data import SPEECH, needs_speech
from remanent import ModelConfig, SequenceModel
from remanent.records.configuration import fitting
from remanent.tasks import (
    METRICS,
    TASKS,
    Adding,
    AutomatonWord,
    Characters,
    CopyFirst,
    DelayedIntegration,
    Denoising,
    Dyck,
    FlipFlop,
    GroupWord,
    InductionHeads,
    Keyword,
    ListOps,
    MultiQueryRecall,
    OwnData,
    Parity,
    Pathfinder,
    SelectiveCopying,
    SequentialImage,
    SpokenDigits,
    Tomita,
)
from remanent.tasks.base import read_whole
from remanent.tasks.chunks import BLOCK
from remanent.tasks.metrics import IGNORED

SMALL = {
    "copy-first": CopyFirst(steps=12),
    "denoising": Denoising(steps=20, hold=5),
    "delayed-integration": DelayedIntegration(delay=9, window=3),
    "adding": Adding(steps=9),
    "selective-copying": SelectiveCopying(steps=9, items=3, symbols=4),
    "induction-heads": InductionHeads(steps=9, symbols=4),
    "multi-query-recall": MultiQueryRecall(steps=15, pairs=3, keys=5, values=4),
    "sequential-image": SequentialImage(reading="pixel", permuted=True, padding=5),
    "pathfinder": Pathfinder(size=12, padding=3),
    "listops": ListOps(min_tokens=5, max_tokens=30, padding=2),
    "flip-flop": FlipFlop(steps=12),
    "parity": Parity(steps=12),
    "group-word": GroupWord(steps=12, group="A5"),
    "tomita": Tomita(language=3, steps=12),
    "dyck": Dyck(steps=12),
    "automaton-word": AutomatonWord(steps=12),
    "spoken-digits": SpokenDigits(silence=4, data_dir=str(SPEECH)),
    "keyword": Keyword(data_dir=str(SPEECH)),
    "characters": Characters(steps=12),
    "own-data": OwnData(),
}
ALL = [pytest.param(SMALL[name], marks=needs_speech if name in ("spoken-digits", "keyword") else ()) for name in TASKS]
GROWING = [each for each, name in zip(ALL, TASKS, strict=True) if name != "own-data"]
"""The tasks whose sequences can be longer than trained with; those of own data are as long as they are."""
LONGER = 1234


def check(task, x, target):
    """That inputs and targets have the shapes, types and ranges that the task declares."""
    B = len(x)
    if task.tokens:
        assert x.dtype == torch.int64
        assert x.dim() == 2
        assert x.min() >= 0
        assert x.max() < task.input_size
    else:
        assert x.dtype == torch.float32
        assert x.shape[::2] == (B, task.input_size)
        assert x.isfinite().all()
    steps = x.shape[1:2] if task.head == "every" else ()
    if task.metric == "mse":
        assert target.shape == (B, *steps, task.output_size)
        assert target.dtype == torch.float32
        assert not target.isnan().all()
    else:
        assert target.shape == (B, *steps)
        assert target.dtype == torch.int64
        asked = target[target != IGNORED]
        assert len(asked) >= B
        assert asked.min() >= 0
        assert asked.max() < task.output_size


@pytest.mark.parametrize("task", ALL, ids=repr)
def test_batches_come_from_their_generator_alone(task):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    x, y = task.batch(7, torch.Generator().manual_seed(1))
    again, y_again = task.batch(7, torch.Generator().manual_seed(1))
    other, _ = task.batch(7, torch.Generator().manual_seed(2))
    check(task, x, y)
    assert torch.equal(x, again)
    torch.testing.assert_close(y, y_again, rtol=0, atol=0, equal_nan=True)
    assert x.shape != other.shape or not torch.equal(x, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("task", ALL, ids=repr)
@pytest.mark.parametrize("longer", [False, True])
def test_an_example_is_the_same_whatever_is_beside_it(task, longer):
    length = task.length if task.longest == task.length else task.length + longer * LONGER
    x, y = read_whole(task, "test", 0, 6, length)
    check(task, x, y)
    part, part_y = read_whole(task, "test", 2, 4, length)
    T = part.shape[1]
    assert torch.equal(part, x[2:4, :T])  # beyond, only what fills up to a longer neighbour
    torch.testing.assert_close(part_y, y[2:4, :T] if task.head == "every" else y[2:4], rtol=0, atol=0, equal_nan=True)
    again, _ = read_whole(task, "test", 0, 6, length)
    assert torch.equal(x, again)


@pytest.mark.parametrize("task", GROWING, ids=repr)
def test_longer_sequences_begin_with_shorter_ones_where_a_task_says_so(task):
    short, y = read_whole(task, "test", 0, 4, task.length + 500)
    long, longer_y = read_whole(task, "test", 0, 4, task.length + 500 + LONGER)
    assert long.shape[1] - short.shape[1] == LONGER
    if task.extends:
        assert torch.equal(short, long[:, : short.shape[1]])
        assert torch.equal(y, longer_y[:, : y.shape[1]] if task.head == "every" else longer_y)


@pytest.mark.parametrize("task", GROWING, ids=repr)
def test_streams_come_in_small_chunks_with_the_target_last_or_everywhere(task):
    chunks = list(task.stream("validation", 0, 2, task.length + 2 * LONGER))
    assert len(chunks) > 2
    assert all(0 < x.shape[1] <= BLOCK for x, _ in chunks)
    if task.head == "last":
        assert [target is None for _, target in chunks] == [True] * (len(chunks) - 1) + [False]
    else:
        assert all(target.shape[1] == x.shape[1] for x, target in chunks)


@pytest.mark.parametrize("task", GROWING, ids=repr)
@pytest.mark.parametrize("factor", [10, 1000])
def test_ten_and_a_thousand_times_the_length_begin_with_a_small_chunk(task, factor):
    length = min(factor * task.length, task.longest or factor * task.length)
    x, _ = next(iter(task.stream("test", 0, 2, length)))
    assert 0 < x.shape[1] <= BLOCK
    assert len(x) == 2


@pytest.mark.parametrize("task", ALL, ids=repr)
def test_splits_differ_and_have_a_size(task):
    for split in ("validation", "test"):
        assert task.split_size(split) > 1
    validation, test = (read_whole(task, split, 0, 2, task.length)[0] for split in ("validation", "test"))
    assert validation.shape != test.shape or not torch.equal(validation, test)
    with pytest.raises(ValueError, match="`split` must be one of validation, test, got 'train'"):
        task.split_size("train")
    with pytest.raises(ValueError, match="`split` must be one of validation, test, got 'train'"):
        list(task.stream("train", 0, 1, task.length))


@pytest.mark.parametrize("task", ALL, ids=repr)
def test_chance_and_perfect_are_scores_of_the_metric(task):
    metric = METRICS[task.metric]
    assert task.perfect == metric.best
    assert math.isfinite(task.chance)
    assert 0 <= task.chance < 1 if metric.is_share else task.chance > 0
    x, y = task.batch(4, torch.Generator().manual_seed(0))
    model = SequenceModel(ModelConfig(**fitting(task), hidden_size=4, num_layers=1))
    output, _ = model(x)
    loss = task.loss(output, y)
    loss.backward()
    assert loss.isfinite()
    value, weight = metric.finish(metric.tally(output.detach(), y))
    assert value.shape == weight.shape == (4,)


def test_every_task_is_here():
    assert set(SMALL) == set(TASKS)
    assert all(TASKS[name] is type(task) for name, task in SMALL.items())
