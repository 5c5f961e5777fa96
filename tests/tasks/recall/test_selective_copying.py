"""Selective copying: symbols among blanks, asked for in order, against the definition step by step."""

import pytest
import torch

from remanent.tasks import SelectiveCopying
from remanent.tasks.base import read_whole
from remanent.tasks.metrics import IGNORED

TASK = SelectiveCopying(steps=10, items=3, symbols=4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def check(task, x, target, steps):
    """The definition, an example and a step at a time."""
    blank, question = task.symbols, task.symbols + 1
    for sequence, answers in zip(x.tolist(), target.tolist(), strict=True):
        assert len(sequence) == len(answers) == steps + task.items
        waiting = []
        for t, (token, answer) in enumerate(zip(sequence, answers, strict=True)):
            if t < steps:
                assert token <= blank
                assert answer == IGNORED
                waiting += [token] if token < blank else []
            else:
                assert token == question
                assert answer == waiting.pop(0)
        assert waiting == []


@pytest.mark.parametrize("task", [TASK, SelectiveCopying(3, 3, 2), SelectiveCopying()], ids=repr)
def test_batches_follow_the_definition(task):
    x, y = task.batch(40, generator())
    check(task, x, y, task.steps)


@pytest.mark.parametrize("length", [3, 997, 998, 999, 1000, 2500])
def test_streams_follow_the_definition_wherever_a_chunk_ends(length):
    x, y = read_whole(TASK, "test", 0, 6, length)
    check(TASK, x, y, length)


def test_symbols_and_places_are_equally_likely():
    x, y = TASK.batch(4000, generator())
    counts = y[y != IGNORED].bincount() / (3 * 4000)
    assert (counts - TASK.chance).abs().max() < 0.02
    here = (x[:, :10] < 4).double().mean(0)
    assert (here - 3 / 10).abs().max() < 0.03


def test_longer_sequences_have_the_same_symbols_among_more_blanks():
    short, y = read_whole(TASK, "test", 0, 64, 10)
    long, longer_y = read_whole(TASK, "test", 0, 64, 3000)
    assert torch.equal(y[:, -3:], longer_y[:, -3:])
    assert torch.equal(short[short < 4], long[long < 4])
    places = (long < 4).nonzero()[:, 1].double()
    assert 1200 < places.mean() < 1800


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SelectiveCopying(steps=3), "`steps` must be at least 4, got 3"),
        (lambda: SelectiveCopying(items=0), "`items` must be at least 1, got 0"),
        (lambda: SelectiveCopying(symbols=1), "`symbols` must be at least 2, got 1"),
        (lambda: TASK.stream("test", 0, 1, 2), "`length` must be at least 3, got 2"),
        (lambda: TASK.stream("train", 0, 1, 20), "`split` must be one of validation, test"),
    ],
)
def test_bad_options_are_rejected_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
