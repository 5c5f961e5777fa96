"""Denoising: five marks, in order, against the definition step by step."""

import pytest
import torch

from remanent.tasks import Denoising
from remanent.tasks.base import read_whole
from remanent.tasks.placing import choose


def check(x, target, steps, hold):
    """The definition, an example and a step at a time."""
    for sequence, answers in zip(x.tolist(), target[..., 0].tolist(), strict=True):
        assert len(sequence) == len(answers) == steps
        marked = [v for v, f in sequence if f == 1]
        places = [t for t, (_, f) in enumerate(sequence) if f == 1]
        assert len(places) == 5
        assert max(places) < steps - hold - 5
        for t, ((v, f), answer) in enumerate(zip(sequence, answers, strict=True)):
            if t < steps - 5:
                assert f in (0, 1)
                assert answer != answer
            else:
                assert (v, f) == (0, -1)
                assert answer == marked[t - (steps - 5)]


@pytest.mark.parametrize(("steps", "hold"), [(20, 5), (10, 0), (400, 200)])
def test_batches_follow_the_definition(steps, hold):
    x, y = Denoising(steps, hold).batch(40, torch.Generator().manual_seed(0))
    check(x, y, steps, hold)


@pytest.mark.parametrize("length", [20, 999, 1000, 1002, 1004, 2500])
def test_streams_follow_the_definition_also_where_the_questions_straddle_chunks(length):
    x, y = read_whole(Denoising(20, 5), "test", 0, 6, length)
    check(x, y, length, 5)


def test_every_choice_of_five_is_as_likely():
    g = torch.Generator().manual_seed(0)
    drawn = [tuple(choose(5, 7, g)) for _ in range(4200)]
    counts = [drawn.count(choice) for choice in set(drawn)]
    assert len(counts) == 21
    assert all(150 < n < 260 for n in counts)
    x, _ = Denoising(12, 0).batch(4200, g)
    patterns = [tuple(row) for row in x[..., 1].tolist()]
    counts = [patterns.count(pattern) for pattern in set(patterns)]
    assert len(counts) == 21
    assert all(150 < n < 260 for n in counts)


def test_marks_move_to_the_whole_of_a_longer_sequence():
    x, _ = read_whole(Denoising(20, 5), "test", 0, 256, 3000)
    places = (x[..., 1] == 1).nonzero()[:, 1].float()
    assert places.max() > 2800
    assert 1300 < places.mean() < 1700


def test_always_answering_zero_scores_chance():
    task = Denoising()
    _, y = read_whole(task, "test", 0, 512, 400)
    assert task.loss(torch.zeros_like(y), y).item() == pytest.approx(task.chance, abs=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Denoising(steps=20, hold=11), "`steps` must be at least 21, got 20"),
        (lambda: Denoising(hold=-1), "`hold` must be at least 0, got -1"),
        (lambda: Denoising(20, 5).stream("test", 0, 1, 14), "`length` must be at least 15, got 14"),
        (lambda: Denoising(20, 5).stream("train", 0, 1, 20), "`split` must be one of validation, test"),
    ],
)
def test_bad_options_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
