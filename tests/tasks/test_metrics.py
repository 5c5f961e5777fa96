"""Metrics: sums over chunks give what torchmetrics gives of the whole."""

import itertools
import math

import pytest
import torch
from torchmetrics import MeanMetric, MeanSquaredError
from torchmetrics.classification import MulticlassAccuracy, MulticlassExactMatch

from remanent.tasks.metrics import IGNORED, METRICS


def score(name, output, target, cuts=()):
    """The score of one batch, in chunks cut at these steps."""
    metric = METRICS[name]
    bounds = [0, *cuts, output.shape[1]]
    pieces = [slice(a, b) for a, b in itertools.pairwise(bounds)]
    tally = sum(metric.tally(output[:, piece], target[:, piece]) for piece in pieces)
    mean = MeanMetric().set_dtype(torch.float64)
    mean.update(*metric.finish(tally))
    return mean.compute().item()


@pytest.fixture
def classes():
    g = torch.Generator().manual_seed(0)
    target = torch.randint(4, (50, 9), generator=g)
    output = torch.nn.functional.one_hot(target, 4) + 0.45 * torch.randn(50, 9, 4, generator=g)
    target[torch.rand(50, 9, generator=g) < 0.3] = IGNORED
    return output, target


def test_squared_errors_of_what_is_asked():
    g = torch.Generator().manual_seed(0)
    output, target = torch.randn(2, 30, 7, 2, generator=g, dtype=torch.float64)
    target[torch.rand(30, 7, 2, generator=g) < 0.4] = torch.nan
    asked = ~target.isnan()
    whole = MeanSquaredError().set_dtype(torch.float64)
    whole.update(output[asked], target[asked])
    assert score("mse", output.float(), target.float()) == pytest.approx(whole.compute().item(), rel=1e-5)


def test_accuracy_of_what_is_asked(classes):
    output, target = classes
    whole = MulticlassAccuracy(4, average="micro", ignore_index=IGNORED)
    expected = whole(output.flatten(0, 1), target.flatten()).item()
    for cuts in ((), (3,), (1, 2, 8)):
        assert score("accuracy", output, target, cuts) == pytest.approx(expected)


def test_a_sequence_is_right_if_every_step_is(classes):
    output, target = classes
    whole = MulticlassExactMatch(4, ignore_index=IGNORED)
    expected = whole(output.transpose(1, 2), target).item()
    assert 0 < expected < 1
    for cuts in ((), (3,), (1, 2, 8)):
        assert score("sequence_accuracy", output, target, cuts) == pytest.approx(expected)


def test_the_majority_of_asked_frames_decides():
    said = torch.tensor([[1, 1, 2, 3, 3], [0, 2, 2, 1, 1], [3, 3, 3, 0, 0]])
    target = torch.tensor([[1, 1, 1, IGNORED, IGNORED], [2, 2, 2, 2, 2], [0, 0, 0, 0, 0]])
    output = torch.nn.functional.one_hot(said, 4).float()
    for cuts in ((), (2,), (1, 4)):
        assert score("vote_accuracy", output, target, cuts) == pytest.approx(1 / 3)  # a tie goes to the lower class
    assert score("vote_accuracy", output[2:, :2], target[2:, :2]) == 0


def test_bits_are_cross_entropy_over_log_two(classes):
    output, target = classes
    expected = torch.nn.functional.cross_entropy(output.transpose(1, 2), target, ignore_index=IGNORED) / math.log(2)
    for cuts in ((), (4,)):
        assert score("bits", output, target, cuts) == pytest.approx(expected.item(), rel=1e-6)


def test_one_answer_a_sequence_is_scored_as_well():
    output, target = torch.eye(3)[[0, 2, 1]], torch.tensor([0, 2, 2])
    value, weight = METRICS["accuracy"].finish(METRICS["accuracy"].tally(output, target))
    assert value.tolist() == [1, 1, 0]
    assert weight.tolist() == [1, 1, 1]
    errors = METRICS["mse"].finish(METRICS["mse"].tally(torch.tensor([[2.0], [0.0]]), torch.tensor([[0.0], [0.0]])))
    assert errors[0].tolist() == [4, 0]


def test_sequences_of_which_nothing_is_asked_weigh_nothing():
    tally = METRICS["mse"].tally(torch.zeros(2, 3, 1), torch.full((2, 3, 1), torch.nan))
    assert [v.tolist() for v in METRICS["mse"].finish(tally)] == [[0, 0], [0, 0]]
