"""Multi-query associative recall: the value of each key that comes again, against the definition step by step."""

import pytest
import torch

from remanent.tasks import MultiQueryRecall
from remanent.tasks.base import read_whole
from remanent.tasks.metrics import IGNORED

TASK = MultiQueryRecall(steps=15, pairs=3, keys=5, values=4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def check(task, x, target, steps):
    """The definition, an example and a step at a time."""
    blank = task.keys + task.values
    for sequence, answers in zip(x.tolist(), target.tolist(), strict=True):
        assert len(sequence) == len(answers) == steps
        keys, values = sequence[0 : 2 * task.pairs : 2], sequence[1 : 2 * task.pairs : 2]
        value_of = dict(zip(keys, values, strict=True))
        assert len(value_of) == task.pairs
        assert all(key < task.keys <= value < blank for key, value in value_of.items())
        assert answers[: 2 * task.pairs] == [IGNORED] * (2 * task.pairs)
        for token, answer in zip(sequence[2 * task.pairs :], answers[2 * task.pairs :], strict=True):
            assert answer == (IGNORED if token == blank else value_of.pop(token) - task.keys)
        assert value_of == {}


@pytest.mark.parametrize("task", [TASK, MultiQueryRecall(3, 1, 1, 2), MultiQueryRecall()], ids=repr)
def test_batches_follow_the_definition(task):
    x, y = task.batch(40, generator())
    check(task, x, y, task.steps)


@pytest.mark.parametrize("length", [9, 999, 1000, 1001, 2500])
def test_streams_follow_the_definition_wherever_a_chunk_ends(length):
    x, y = read_whole(TASK, "test", 0, 6, length)
    check(TASK, x, y, length)


def test_keys_values_and_places_are_equally_likely_and_in_any_order():
    x, y = TASK.batch(4000, generator())
    assert (x[:, 0:6:2].flatten().bincount() / 12_000 - 1 / 5).abs().max() < 0.02
    assert (y[y != IGNORED].bincount() / 12_000 - TASK.chance).abs().max() < 0.02
    asked = y[:, 6:] != IGNORED
    assert (asked.double().mean(0) - 3 / 9).abs().max() < 0.03
    first_asked = x[:, 6:].gather(1, asked.int().argmax(1, keepdim=True))
    shares = (x[:, 0:6:2] == first_asked).double().mean(0)
    assert (shares - 1 / 3).abs().max() < 0.03


def test_longer_sequences_have_the_same_pairs_and_more_blanks():
    short, _ = read_whole(TASK, "test", 0, 64, 15)
    long, y = read_whole(TASK, "test", 0, 64, 3000)
    assert torch.equal(short[:, :6], long[:, :6])
    places = (y != IGNORED).nonzero()[:, 1].double()
    assert 1200 < places.mean() < 1800


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiQueryRecall(steps=8), "`steps` must be at least 9, got 8"),
        (lambda: MultiQueryRecall(pairs=0), "`pairs` must be at least 1, got 0"),
        (lambda: MultiQueryRecall(keys=2), "`keys` must be at least 3, got 2"),
        (lambda: MultiQueryRecall(values=1), "`values` must be at least 2, got 1"),
        (lambda: TASK.stream("test", 0, 1, 8), "`length` must be at least 9, got 8"),
        (lambda: TASK.stream("train", 0, 1, 20), "`split` must be one of validation, test"),
    ],
)
def test_bad_options_are_rejected_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
