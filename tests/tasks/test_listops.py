"""ListOps: values by an evaluator of texts, laws by a slow sampler and by exact sums, answers in their places."""

import random
import statistics
from collections import Counter
from functools import cache

import pytest
import torch

from remanent.tasks.base import read_whole
from remanent.tasks.chunks import BLOCK
from remanent.tasks.listops import ListOps, render
from remanent.tasks.metrics import IGNORED

SHORT = ListOps(20, 100)
ALL = [
    SHORT,
    ListOps(),
    ListOps(1, 40, padding=3),
    ListOps(1, 1),
    ListOps(30, 30, max_depth=3, padding=1),
    ListOps(4, 60, max_arguments=2, operator_probability=0.6),
    ListOps(7, 200, max_depth=4, max_arguments=3, operator_probability=1.0),
    ListOps(1, 1, max_depth=1),
]
CLASSES = {"[MAX": max, "[MIN": min, "[MED": lambda v: int(statistics.median(v)), "[SM": lambda v: sum(v) % 10}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def parse(words, depth=1):
    """Reads one expression off a list of words: its value, its depth, the counts of arguments in it."""
    word = words.pop(0)
    if word not in CLASSES:
        return int(word), depth, []
    values, deepest, counts = [], depth, []
    while words[0] != "]":
        value, depth_below, counts_below = parse(words, depth + 1)
        values.append(value)
        deepest = max(deepest, depth_below)
        counts += counts_below
    words.pop(0)
    return CLASSES[word](values), deepest, [len(values), *counts]


def slow_expression(task, source, depth=1):
    """The definition, a node at a time: an expression as words."""
    if depth == task.max_depth or source.random() >= task.operator_probability:
        return [str(source.randrange(10))]
    words = [source.choice(["[MAX", "[MIN", "[MED", "[SM"])]
    for _ in range(source.randint(2, task.max_arguments)):
        words += slow_expression(task, source, depth + 1)
    return [*words, "]"]


def slow_expressions(task, count):
    source, kept = random.Random(0), []
    while len(kept) < count:
        words = slow_expression(task, source)
        if task.min_tokens <= len(words) <= task.max_tokens:
            kept.append(words)
    return kept


@cache
def fast_expressions(task, count, seed=0):
    x, _ = task.batch(count, generator(seed))
    return [render(row).split() for row in x]


def arguments_of_the_first(words):
    """How many arguments the outermost operator has, by the nesting of brackets."""
    nesting, arguments = 0, 0
    for word in words:
        nesting += word.startswith("[") - (word == "]")
        arguments += (nesting == 2) if word.startswith("[") else (nesting == 1 and word != "]")
    return arguments


def differ(counts, expected):
    """By how many deviations counts are off those expected, as a chi-square; rare kinds are put together."""
    total = sum(counts.values())
    often = {kind: share * total for kind, share in expected.items() if share * total >= 10}
    pairs = [(counts[kind], share) for kind, share in often.items()]
    rare = total - sum(often.values())
    if rare >= 10:
        pairs.append((total - sum(count for count, _ in pairs), rare))
    assert len(pairs) > 1
    freedom = len(pairs) - 1
    return (sum((count - share) ** 2 / share for count, share in pairs) - freedom) / (2 * freedom) ** 0.5


def convolve(first, second, most):
    product = Counter()
    for a, p in first.items():
        for b, q in second.items():
            if a + b <= most:
                product[a + b] += p * q
    return product


def law_of_sizes(task, depth=1):
    """The probability of each pair of a size and a number of arguments, by sums over all cases."""
    p = 0 if depth == task.max_depth else task.operator_probability
    law = Counter({(1, 0): 1 - p})
    if p == 0:
        return law
    below = Counter()
    for (size, _), share in law_of_sizes(task, depth + 1).items():
        below[size] += share
    together = below
    for arguments in range(2, task.max_arguments + 1):
        together = convolve(together, below, task.max_tokens)
        for size, share in together.items():
            law[size + 2, arguments] += p * share / (task.max_arguments - 1)
    return law


@pytest.mark.parametrize("task", ALL, ids=repr)
def test_answers_are_the_values_of_the_texts_and_texts_keep_to_the_grammar(task):
    batch = task.batch(60, generator(1))
    for x, y in (batch, read_whole(task, "validation", 40, 60, task.padding)):
        assert x.dtype == y.dtype == torch.int64
        for tokens, targets in zip(x, y, strict=True):
            words = render(tokens).split()
            (asked,) = (targets != IGNORED).nonzero()
            assert asked.item() == len(words) - 1 + task.padding
            assert torch.equal(tokens[len(words) :], torch.full_like(tokens[len(words) :], task.input_size - 1))
            assert task.min_tokens <= len(words) <= task.max_tokens
            value, depth, counts = parse(words)
            assert words == []
            assert targets[asked].item() == value
            assert depth <= task.max_depth
            assert all(2 <= count <= task.max_arguments for count in counts)
    assert batch[0].shape[1] == (batch[1] != IGNORED).nonzero()[:, 1].max() + 1


@pytest.mark.parametrize(
    "task",
    [
        ListOps(1, 40, max_depth=3, max_arguments=4),
        ListOps(10, 40, max_depth=4, max_arguments=3, operator_probability=0.4),
        ListOps(12, 15, max_depth=10, max_arguments=10),
    ],
    ids=repr,
)
def test_sizes_and_arguments_follow_the_law_summed_over_all_cases(task):
    law = {pair: share for pair, share in law_of_sizes(task).items() if task.min_tokens <= pair[0] <= task.max_tokens}
    expected = {pair: share / sum(law.values()) for pair, share in law.items()}
    drawn = Counter((len(words), arguments_of_the_first(words)) for words in fast_expressions(task, 20_000))
    assert set(drawn) <= set(expected)
    assert abs(differ(drawn, expected)) < 4
    shifted = Counter({(size + 1, arguments): count for (size, arguments), count in drawn.items()})
    assert differ(shifted, expected) > 100


@pytest.mark.parametrize(("task", "count"), [(SHORT, 1000), (ListOps(), 500)], ids=["short", "long"])
def test_expressions_are_like_those_of_a_slow_sampler(task, count):
    slow, fast = slow_expressions(task, count), fast_expressions(task, count)
    fixed = [render(row).split() for row in read_whole(task, "validation", 0, 512, 0)[0]]

    def summarise(words):
        value, _, counts = parse(list(words))
        digits = [int(word) for word in words if word.isdigit()]
        return [
            len(words),
            value,
            arguments_of_the_first(words),
            len(counts),
            sum(counts) / len(counts),
            words[1] in CLASSES,
            words[-2] == "]",
            words.count("[MED") / len(counts),
            sum(digits) / len(digits),
        ]

    wanted = torch.tensor([summarise(words) for words in slow], dtype=torch.float64)
    for words in (fast, fixed):
        drawn = torch.tensor([summarise(each) for each in words], dtype=torch.float64)
        error = (drawn.var(0) / len(drawn) + wanted.var(0) / len(wanted)).sqrt()
        assert ((drawn.mean(0) - wanted.mean(0)).abs() < 4 * error).all()
        assert ((drawn.std(0) / wanted.std(0)).log().abs() < 0.15).all()


def test_operators_and_digits_are_alike():
    words = Counter(word for words in fast_expressions(SHORT, 2000) for word in words)
    for kinds in ("0123456789", CLASSES):
        counts = Counter({kind: words[kind] for kind in kinds})
        assert abs(differ(counts, dict.fromkeys(kinds, 1 / len(kinds)))) < 4
    first = Counter(words[0] for words in fast_expressions(SHORT, 2000))
    assert abs(differ(first, dict.fromkeys(CLASSES, 1 / 4))) < 4


def test_batches_come_from_their_generator():
    (x, y), (again, y_again), (other, _) = (SHORT.batch(9, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(x, again)
    assert torch.equal(y, y_again)
    assert not torch.equal(x[:, :20], other[:, :20])
    rows = {tuple(row) for row in SHORT.batch(500, generator())[0].tolist()}
    assert len(rows) == 500


@pytest.mark.parametrize("length", [0, 7, 2500])
def test_examples_are_fixed_whatever_else_is_in_the_batch(length):
    x, y = read_whole(SHORT, "test", 510, 516, length)
    for i in range(6):
        alone, answer = read_whole(SHORT, "test", 510 + i, 511 + i, length)
        steps = alone.shape[1]
        assert torch.equal(alone[0], x[i, :steps])
        assert torch.equal(answer[0], y[i, :steps])
        assert answer[0, -1] != IGNORED
        assert (x[i, steps:] == SHORT.input_size - 1).all()
        assert (y[i, steps:] == IGNORED).all()
    short, answers = read_whole(SHORT, "test", 510, 516, 0)
    assert torch.equal(x[:, : short.shape[1]], short)
    assert torch.equal(y.max(1).values, answers.max(1).values)
    assert not torch.equal(read_whole(SHORT, "validation", 510, 516, length)[0][:, :20], x[:, :20])


def test_streams_come_in_blocks():
    pieces = list(ListOps().stream("test", 0, 4, 1800))
    assert all(x.shape == y.shape == (4, BLOCK) for x, y in pieces[:-1])
    assert 1 <= pieces[-1][0].shape[1] <= BLOCK
    assert len(pieces) > 2


def test_chance_is_the_share_of_the_most_frequent_answer():
    answers = read_whole(SHORT, "test", 0, 512, 0)[1].max(1).values
    assert SHORT.chance == ListOps(20, 100, padding=9).chance == answers.bincount().max().item() / 512
    assert 0.1 < SHORT.chance < 0.3
    assert (SHORT.head, SHORT.tokens, SHORT.extends, SHORT.endless) == ("every", True, False, True)
    assert (ListOps(padding=9).length, SHORT.input_size, SHORT.output_size) == (9, 16, 10)
    assert SHORT.split_size("validation") == 512


def test_texts_are_read_from_tensors_and_lists():
    assert render(torch.tensor([10, 2, 9, 11, 4, 7, 14, 0, 14])) == "[MAX 2 9 [MIN 4 7 ] 0 ]"
    assert render([12, 1, 2, 13, 3, 4, 14, 14, 15, 15]) == "[MED 1 2 [SM 3 4 ] ]"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ListOps(min_tokens=0), ValueError, "`min_tokens` must be at least 1, got 0"),
        (lambda: ListOps(min_tokens=50, max_tokens=49), ValueError, "`max_tokens` must be at least 50, got 49"),
        (lambda: ListOps(max_depth=0), ValueError, "`max_depth` must be at least 1, got 0"),
        (lambda: ListOps(max_depth=2.5), TypeError, r"`max_depth` must be an int, got 2\.5"),
        (lambda: ListOps(max_arguments=1), ValueError, "`max_arguments` must be at least 2, got 1"),
        (
            lambda: ListOps(operator_probability=0),
            ValueError,
            r"`operator_probability` must be in \(0, 1\], got 0",
        ),
        (lambda: ListOps(padding=-1), ValueError, "`padding` must be at least 0, got -1"),
        (
            lambda: ListOps(max_depth=3),
            ValueError,
            "`min_tokens` must be at most 122, the longest expression with `max_depth`=3 and `max_arguments`=10, got 5",
        ),
        (
            lambda: ListOps(5, 5, max_arguments=2).batch(3, generator()),
            ValueError,
            "`min_tokens` to `max_tokens` must be lengths that expressions have, got 5 to 5, which none of",
        ),
        (lambda: SHORT.stream("train", 0, 1, 5), ValueError, "`split` must be one of validation, test, got 'train'"),
        (lambda: SHORT.split_size("train"), ValueError, "`split` must be one of validation, test, got 'train'"),
        (lambda: SHORT.stream("test", 0, 1, -1), ValueError, "`length` must be at least 0, got -1"),
    ],
)
def test_bad_options_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()
