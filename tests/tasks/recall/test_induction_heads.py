"""Induction heads: what followed the special token, against the definition step by step."""

import pytest
import torch

from remanent.tasks import InductionHeads
from remanent.tasks.base import read_whole

TASK = InductionHeads(steps=10, symbols=4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def check(task, x, target, steps):
    """The definition, an example at a time."""
    for sequence, answer in zip(x.tolist(), target.tolist(), strict=True):
        assert len(sequence) == steps
        first, last = (t for t, token in enumerate(sequence) if token == task.symbols)
        assert last == steps - 1
        assert first < steps - 2
        assert answer == sequence[first + 1] < task.symbols


@pytest.mark.parametrize("task", [TASK, InductionHeads(3, 2), InductionHeads()], ids=repr)
def test_batches_follow_the_definition(task):
    x, y = task.batch(40, generator())
    check(task, x, y, task.steps)


@pytest.mark.parametrize("length", [3, 999, 1000, 1001, 2500])
def test_streams_follow_the_definition_wherever_a_chunk_ends(length):
    x, y = read_whole(TASK, "test", 0, 6, length)
    check(TASK, x, y, length)


def test_the_answer_may_lie_on_either_side_of_the_end_of_a_chunk():
    places = torch.tensor([998, 999, 1000])
    drawn = torch.arange(2000).expand(3, -1) % 4
    (first, none), (second, answers) = TASK._chunks(places, drawn.split(1000, dim=1), 2000)
    assert none is None
    check(TASK, torch.cat([first, second], dim=1), answers, 2000)


def test_symbols_and_places_are_equally_likely():
    x, y = TASK.batch(8000, generator())
    assert (y.bincount() / 8000 - TASK.chance).abs().max() < 0.02
    places = (x[:, :-1] == 4).double().mean(0)
    assert (places[:8] - 1 / 8).abs().max() < 0.02
    assert places[8] == 0


def test_what_is_asked_for_lies_farther_back_in_longer_sequences():
    x, _ = read_whole(TASK, "test", 0, 128, 3000)
    places = (x[:, :-1] == 4).nonzero()[:, 1].double()
    assert 1200 < places.mean() < 1800


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InductionHeads(steps=2), "`steps` must be at least 3, got 2"),
        (lambda: InductionHeads(symbols=1), "`symbols` must be at least 2, got 1"),
        (lambda: TASK.stream("test", 0, 1, 2), "`length` must be at least 3, got 2"),
        (lambda: TASK.stream("train", 0, 1, 20), "`split` must be one of validation, test"),
    ],
)
def test_bad_options_are_rejected_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
