"""Tasks on words: streams that extend and carry their state, batches from their generator, chances that hold."""

import hashlib

import pytest
import torch

from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.automata.automaton_word import AutomatonWord
from remanent.tasks.automata.dyck import Dyck
from remanent.tasks.automata.flip_flop import FlipFlop
from remanent.tasks.automata.group_word import GroupWord
from remanent.tasks.automata.parity import Parity
from remanent.tasks.automata.tomita import Tomita
from remanent.tasks.base import read_whole
from remanent.tasks.chunks import BLOCK
from remanent.tasks.metrics import METRICS

NAMES = {
    Parity(): "0 1",
    Tomita(): "0 1",
    FlipFlop(): "=0 =1 hold",
    FlipFlop(cells=2): "0=0 0=1 1=0 1=1 hold",
    Dyck(): "( [ ) ]",
    Dyck(kinds=5, depth=1): "0 1 2 3 4 5 6 7 8 9",
    AutomatonWord(): "a b",
    AutomatonWord(pattern="x*y", letters="xyz"): "x y z",
    AutomatonWord.of(Automaton([[0]], [0])): "0",
}
SPARSE = Automaton([[0, 1, 1], [0, 2, 1], [3, 3, 3], [2, 2, 2]], [0, 2, 1, 0])
ALL = [
    *(FlipFlop(), FlipFlop(5, 3, 0.01), FlipFlop(9, cells=4), Parity(7)),
    *(GroupWord(9, group) for group in ("Z2", "Z60", "S3", "S4", "S5", "A5")),
    *(Tomita(language, 9) for language in range(1, 8)),
    *(Dyck(steps=9), Dyck(1, 3, 9), AutomatonWord(steps=9), AutomatonWord.of(SPARSE, steps=9)),
]
TINY = [
    FlipFlop(3),
    FlipFlop(3, 3, 0.9),
    FlipFlop(2, 3, 1.0),
    FlipFlop(3, 2, 0.0),
    Parity(3),
    GroupWord(2, "Z5"),
    GroupWord(2, "S3"),
    FlipFlop(3, 2, 0.9, 2),
    *(Tomita(language, 5) for language in range(1, 8)),
    Dyck(steps=4),
    Dyck(1, 2, steps=5),
    AutomatonWord(steps=4),
    AutomatonWord.of(SPARSE, steps=4),
]
BITS = {
    FlipFlop(): "9b4e6ed1c5b600ea",
    FlipFlop(5, 3, 0.01): "c26d50041ac01cb1",
    Parity(): "d7cc4252201e4a50",
    GroupWord(): "924dd9dfa07b00f1",
    GroupWord(9, "Z60"): "9a7a259f0e4c511f",
    GroupWord(64, "A5"): "6ef67a23d98a51cc",
}
"""What published results were trained and tested on: the hash of some letters and answers."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("task", ALL, ids=repr)
def test_batches_come_from_their_generator(task):
    x, y = task.batch(50, generator(1))
    again, y_again = task.batch(50, generator(1))
    assert torch.equal(x, again)
    assert torch.equal(y, y_again)
    assert not torch.equal(x, task.batch(50, generator(2))[0])
    assert x.shape == y.shape == (50, task.steps)
    assert x.dtype == y.dtype == torch.int64
    assert 0 <= x.min() <= x.max() < task.input_size
    assert 0 <= y.min() <= y.max() < task.output_size


@pytest.mark.parametrize("task", BITS, ids=repr)
def test_the_data_of_published_results_stay_what_they_are(task):
    read = (
        *task.batch(16, generator(3)),
        *read_whole(task, "test", 600, 603, 1234),
        *read_whole(task, "validation", 0, 2, 70),
    )
    content = b"".join(part.contiguous().numpy().astype("<i8").tobytes() for part in read)
    assert hashlib.sha256(content).hexdigest()[:16] == BITS[task]


@pytest.mark.parametrize("task", ALL, ids=repr)
def test_targets_are_what_the_automaton_answers(task):
    for x, y in (task.batch(50, generator()), read_whole(task, "test", 0, 3, 2 * BLOCK + 1)):
        assert torch.equal(task.automaton.run(x), y)
    assert (task.input_size, task.output_size) == (task.automaton.num_letters, task.automaton.num_answers)
    longer = task.at_length(17)
    assert (longer.length, longer.automaton) == (17, task.automaton)


@pytest.mark.parametrize("task", ALL, ids=repr)
def test_streams_are_fixed_whatever_the_batch_and_longer_ones_begin_with_shorter(task):
    whole = read_whole(task, "test", 0, 6, 2500)
    part = read_whole(task, "test", 2, 4, 2500)
    short = read_whole(task, "test", 0, 6, 1234)
    beyond = read_whole(task, "test", 600, 603, 1234)
    validation = read_whole(task, "validation", 0, 6, 1234)
    for i in range(2):
        assert whole[i].shape == (6, 2500)
        assert torch.equal(part[i], whole[i][2:4])
        assert torch.equal(short[i], whole[i][:, :1234])
        assert beyond[i].shape == (3, 1234)
    others = (beyond[0], short[0][:3], short[0][3:], validation[0][:3])
    assert all(not torch.equal(a, b) for i, a in enumerate(others) for b in others[:i])


@pytest.mark.parametrize("task", ALL, ids=repr)
def test_streams_come_in_blocks_with_the_states_of_each(task):
    sizes = [(x.shape, y.shape) for x, y in task.stream("validation", 3, 5, 2 * BLOCK + 1)]
    assert sizes == [((2, size), (2, size)) for size in (BLOCK, BLOCK, 1)]


@pytest.mark.parametrize("task", TINY, ids=repr)
def test_no_answer_that_ignores_the_input_beats_chance(task):
    words = 40_000
    _, y = task.batch(words, generator())
    _, counts = y.unique(dim=0, return_counts=True)
    deviation = (task.chance * (1 - task.chance) / words) ** 0.5
    # Where many words of states are as likely, the most frequent of them stands out by luck.
    assert task.chance - 3 * deviation < counts.max() / words < task.chance + 5 * deviation


@pytest.mark.parametrize("task", ALL, ids=repr)
def test_a_perfect_answer_scores_one_and_one_wrong_step_loses_a_word(task):
    metric = METRICS[task.metric]
    _, y = task.batch(8, generator())
    output = torch.nn.functional.one_hot(y, task.output_size).float()
    assert metric.finish(metric.tally(output, y))[0].mean() == task.perfect == 1
    output[0, -1] = output[0, -1].roll(1)
    assert metric.finish(metric.tally(output, y))[0].mean() == 7 / 8
    assert task.loss(100 * torch.nn.functional.one_hot(y, task.output_size).float(), y) < 1e-6
    assert (task.head, task.tokens, task.endless, task.extends) == ("every", True, True, True)
    assert (task.length, task.length_name, task.split_size("test")) == (task.steps, "steps", 512)


@pytest.mark.parametrize("make", [FlipFlop, Parity, GroupWord])
def test_the_chance_of_long_words_is_none(make):
    assert make(10**6).chance < 1e-300


@pytest.mark.parametrize("make", [FlipFlop, Parity, GroupWord, Tomita, Dyck, AutomatonWord])
def test_bad_lengths_and_splits_are_refused_by_name(make):
    assert make().steps == 64
    with pytest.raises(ValueError, match="`steps` must be at least 1, got 0"):
        make(steps=0)
    with pytest.raises(TypeError, match=r"`steps` must be an int, got 2\.5"):
        make(steps=2.5)
    with pytest.raises(ValueError, match="`split` must be one of validation, test, got 'train'"):
        make().stream("train", 0, 1, 5)
    with pytest.raises(ValueError, match="`split` must be one of validation, test, got 'train'"):
        make().split_size("train")
    with pytest.raises(ValueError, match="`length` must be at least 1, got 0"):
        make().stream("test", 0, 1, 0)


@pytest.mark.parametrize("task", NAMES, ids=repr)
def test_letters_have_names(task):
    assert " ".join(task.letter_names) == NAMES[task]
