"""Delayed integration: the cued channel's mean over the window, against the definition step by step."""

import pytest
import torch

from remanent.tasks import DelayedIntegration
from remanent.tasks.base import read_whole


def check(x, target, delay, window):
    """The definition, an example and a step at a time."""
    for sequence, (answer,) in zip(x.tolist(), target.tolist(), strict=True):
        assert len(sequence) == delay + window
        cue = sequence[0][0]
        assert cue in (-1, 1)
        assert all(step[0] == 0 for step in sequence[1:])
        assert [step[3] for step in sequence] == [0] * delay + [1] * window
        chosen = [step[1 if cue == 1 else 2] for step in sequence if step[3]]
        assert answer == pytest.approx(sum(chosen) / window, abs=1e-5)


@pytest.mark.parametrize(("delay", "window"), [(1, 1), (3, 2), (200, 20)])
def test_batches_follow_the_definition(delay, window):
    x, y = DelayedIntegration(delay, window).batch(30, torch.Generator().manual_seed(0))
    check(x, y, delay, window)


@pytest.mark.parametrize("length", [1, 200, 985, 995, 1000, 2300])
def test_streams_follow_the_definition_also_where_the_window_straddles_chunks(length):
    x, y = read_whole(DelayedIntegration(), "test", 0, 5, length)
    check(x, y, length, 20)


def test_the_cue_is_fair_and_noise_and_means_are_as_said():
    x, y = DelayedIntegration(delay=30).batch(20_000, torch.Generator().manual_seed(0))
    assert abs((x[:, 0, 0] == 1).float().mean() - 0.5) < 0.015
    noise = x[:, :30, 1:3]
    assert abs(noise.mean()) < 0.005
    assert abs(noise.std() - 0.7) < 0.005
    means = x[:, 30:, 1:3].mean(1)
    assert abs(means.var() - (1 / 3 + 0.49 / 20)) < 0.01
    assert abs(torch.corrcoef(means.T)[0, 1]) < 0.03
    assert DelayedIntegration().loss(torch.zeros_like(y), y).item() == pytest.approx(
        DelayedIntegration().chance, abs=0.01
    )


def test_a_longer_delay_asks_for_the_same_channel():
    short, _ = read_whole(DelayedIntegration(), "test", 0, 64, 200)
    long, _ = read_whole(DelayedIntegration(), "test", 0, 64, 2000)
    assert torch.equal(short[:, 0, 0], long[:, 0, 0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DelayedIntegration(delay=0), "`delay` must be at least 1, got 0"),
        (lambda: DelayedIntegration(window=0), "`window` must be at least 1, got 0"),
        (lambda: DelayedIntegration(noise=-1.0), r"`noise` must be in \[0, inf\), got -1"),
        (lambda: DelayedIntegration().stream("test", 0, 1, 0), "`length` must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
