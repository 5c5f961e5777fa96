"""Scores at any length: the state is carried, memory is bounded, and a failing length is found exactly."""

import math

import pytest
import torch

from remanent import ModelConfig, SequenceModel
from remanent.records.configuration import fitting
from remanent.tasks import CopyFirst, Denoising, FlipFlop, Parity
from remanent.tasks.base import read_whole
from remanent.training import evaluate, failing_length


class Counter(SequenceModel):
    """Tells the parity of the ones right, but for the first `right` steps alone."""

    def __init__(self, right):
        super().__init__(ModelConfig(**fitting(Parity()), hidden_size=4, num_layers=1))
        self.right = right
        self.longest = 0
        self.steps = 0

    def forward(self, x, state=None, *, reset=None):
        ones, time = state or (x.new_zeros(len(x)), 0)
        total = ones[:, None] + x.cumsum(1)
        wrong = torch.arange(time, time + x.shape[1]) >= self.right
        self.longest = max(self.longest, x.numel())
        self.steps += x.shape[1]
        return torch.nn.functional.one_hot((total + wrong) % 2, 2).float(), (total[:, -1], time + x.shape[1])


@pytest.mark.parametrize("right", [0, 1, 2, 3, 64, 65, 999, 1000, 1001, 2047, 4096])
def test_the_failing_length_is_found_exactly(right):
    assert failing_length(Counter(right), Parity(), words=3, limit=4096) == right


@pytest.mark.parametrize("limit", [1, 5, 4000])
def test_a_model_that_never_fails_gets_the_limit(limit):
    assert failing_length(Counter(10**6), Parity(), words=3, limit=limit) == limit


def test_long_words_are_run_in_chunks_and_given_up_at_the_first_wrong_answer():
    model = Counter(2**20)
    assert failing_length(model, Parity(), words=2, limit=50_000) == 50_000
    assert model.longest <= 2 * 1000
    assert model.steps == 50_000  # the limit alone: no shorter word needs to be tried
    model = Counter(1500)
    assert failing_length(model, Parity(), words=2, limit=2**20) == 1500
    assert model.steps < 40_000


def test_every_length_tried_has_words_of_its_own(monkeypatch):
    drawn = []
    stream = Parity.stream

    def watched(self, split, start, stop, length):
        drawn.append((split, start, stop))
        return stream(self, split, start, stop, length)

    monkeypatch.setattr(Parity, "stream", watched)
    failing_length(Counter(20), Parity(), words=300, limit=64)
    numbers = [i for _, start, stop in drawn for i in range(start, stop)]
    assert len(numbers) == len(set(numbers))
    assert min(numbers) >= Parity().split_size("test")


def test_a_trained_model_is_measured_as_it_is():
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(**fitting(FlipFlop()), hidden_size=4, num_layers=1))
    found = failing_length(model, FlipFlop(), words=8, limit=100)
    x, y = read_whole(FlipFlop(), "test", 512, 520, 1)
    assert (found == 0) == (not torch.equal(model(x)[0].argmax(-1), y))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: failing_length(Counter(1), CopyFirst()),
            "`task` must be one of words, judged by sequence_accuracy, got",
        ),
        (lambda: failing_length(Counter(1), Parity(), words=0), "`words` must be at least 1, got 0"),
        (lambda: failing_length(Counter(1), Parity(), limit=0), "`limit` must be at least 1, got 0"),
    ],
)
def test_bad_searches_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("task", [Parity(), Denoising(20, 2)], ids=repr)
@pytest.mark.parametrize("length", [20, 2500])
def test_answers_at_every_step_are_scored_in_chunks_as_in_one_piece(task, length):
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(**fitting(task), hidden_size=8)).eval()
    x, y = read_whole(task, "test", 0, 9, length)
    with torch.inference_mode():
        output, _ = model(x)
    if task.metric == "mse":
        expected = task.loss(output, y).item()
    else:
        expected = (output.argmax(-1) == y).all(1).float().mean().item()
    for batch_size in (4, 9):
        score = evaluate(model, task, length=length, examples=9, batch_size=batch_size)
        assert score == pytest.approx(expected, rel=1e-5)


def test_a_word_that_is_right_at_every_step_counts():
    model = Counter(100)
    assert evaluate(model, Parity(), length=100) == 1
    assert evaluate(model, Parity(), length=101) == 0


def test_what_is_done_to_inputs_is_done_to_every_chunk_before_the_model_reads_it():
    shapes = []

    def turned(x):
        shapes.append(tuple(x.shape))
        return 1 - x

    model = Counter(10**6)
    assert evaluate(model, Parity(), length=2500, examples=5, noise=lambda x: x) == 1
    assert evaluate(model, Parity(), length=2500, examples=5, batch_size=3, noise=turned) == 0
    assert shapes == [(3, 1000), (3, 1000), (3, 500), (2, 1000), (2, 1000), (2, 500)]


def test_an_answer_that_is_no_number_is_not_left_out_of_the_mean():
    class Broken(SequenceModel):
        def forward(self, x, state=None, *, reset=None):
            return torch.where(torch.arange(len(x))[:, None] == 1, torch.nan, 1.0), state

    model = Broken(ModelConfig(**fitting(CopyFirst()), hidden_size=4, num_layers=1))
    assert math.isfinite(evaluate(model, CopyFirst(), length=5, examples=1))
    assert math.isnan(evaluate(model, CopyFirst(), length=5, examples=3))
