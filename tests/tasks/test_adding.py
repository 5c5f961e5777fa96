"""Adding: the sum of two marked numbers, one in each half, against the definition step by step."""

import pytest
import torch

from remanent.tasks import Adding
from remanent.tasks.base import read_whole


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def check(x, target, steps):
    """The definition, an example and a step at a time."""
    for sequence, (answer,) in zip(x.tolist(), target.tolist(), strict=True):
        assert len(sequence) == steps
        assert all(0 <= v < 1 and f in (0, 1) for v, f in sequence)
        first, second = (t for t, (_, f) in enumerate(sequence) if f == 1)
        assert first < steps // 2 <= second
        assert answer == pytest.approx(sequence[first][0] + sequence[second][0], abs=1e-6)


@pytest.mark.parametrize("steps", [2, 3, 10, 101])
def test_batches_follow_the_definition(steps):
    x, y = Adding(steps).batch(40, generator())
    check(x, y, steps)


@pytest.mark.parametrize("length", [2, 999, 1000, 1001, 2500])
def test_streams_follow_the_definition_wherever_a_chunk_ends(length):
    x, y = read_whole(Adding(10), "test", 0, 6, length)
    check(x, y, length)


def test_each_step_of_a_half_is_marked_as_often():
    x, y = Adding(9).batch(9000, generator())
    counts = x[..., 1].sum(0)
    assert (counts[:4] / 9000 - 1 / 4).abs().max() < 0.02
    assert (counts[4:] / 9000 - 1 / 5).abs().max() < 0.02
    assert Adding().loss(torch.ones_like(y), y).item() == pytest.approx(Adding().chance, abs=0.01)
    assert Adding().perfect == 0


def test_the_marks_of_a_longer_sequence_are_farther_apart():
    x, _ = read_whole(Adding(10), "test", 0, 64, 3000)
    places = (x[..., 1] == 1).nonzero()[:, 1].reshape(64, 2).double()
    assert 1200 < (places[:, 1] - places[:, 0]).mean() < 1800


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adding(steps=1), "`steps` must be at least 2, got 1"),
        (lambda: Adding().stream("test", 0, 1, 1), "`length` must be at least 2, got 1"),
        (lambda: Adding().stream("train", 0, 1, 20), "`split` must be one of validation, test"),
    ],
)
def test_bad_options_are_rejected_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
