"""Tomita's languages and Dyck words: the targets follow the definitions, and both answers are met at every length."""

import re

import pytest
import torch

from remanent.tasks.automata.dyck import Dyck
from remanent.tasks.automata.tomita import Tomita
from remanent.tasks.base import read_whole


def odd_zeros_after_odd_ones(word):
    """Whether an odd block of zeros comes somewhere after an odd block of ones."""
    blocks = re.findall("0+|1+", word)
    odd = [block[0] for block in blocks if len(block) % 2]
    return "1" in odd and "0" in odd[odd.index("1") :]


TOMITA = {
    1: lambda word: "0" not in word,
    2: lambda word: word == "10" * (len(word) // 2),
    3: lambda word: not odd_zeros_after_odd_ones(word),
    4: lambda word: "000" not in word,
    5: lambda word: word.count("0") % 2 == word.count("1") % 2 == 0,
    6: lambda word: (word.count("0") - word.count("1")) % 3 == 0,
    7: lambda word: bool(re.fullmatch("0*1*0*1*", word)),
}
"""Whether a word belongs to each language, by its definition."""


def closes(word, kinds, depth):
    """Whether brackets are all closed in the right order, by deleting pairs that stand side by side."""
    levels = deepest = 0
    for letter in word:
        levels += 1 if letter < kinds else -1
        deepest = max(deepest, levels)
    left = list(word)
    while True:
        pairs = [i for i in range(len(left) - 1) if left[i] < kinds and left[i + 1] == left[i] + kinds]
        if not pairs:
            return not left and deepest <= depth
        del left[pairs[0] : pairs[0] + 2]


def words_of(letters, length):
    """All words of a length, (letters ** length, length)."""
    return torch.cartesian_prod(*[torch.arange(letters)] * length).reshape(-1, length)


@pytest.mark.parametrize("language", TOMITA)
def test_every_short_word_is_judged_as_the_definition_says(language):
    words = words_of(2, 11)
    answers = Tomita(language).automaton.run(words)
    for word, judged in zip(words.tolist(), answers.tolist(), strict=True):
        text = "".join(map(str, word))
        assert judged == [int(TOMITA[language](text[: t + 1])) for t in range(len(text))]


@pytest.mark.parametrize("language", TOMITA)
def test_the_words_that_are_drawn_are_judged_as_the_definition_says(language):
    task = Tomita(language, 70)
    for x, y in (task.batch(8, torch.Generator().manual_seed(0)), read_whole(task, "test", 0, 4, 300)):
        for word, judged in zip(x.tolist(), y.tolist(), strict=True):
            text = "".join(map(str, word))
            assert judged == [int(TOMITA[language](text[: t + 1])) for t in range(len(text))]


@pytest.mark.parametrize(("kinds", "depth", "length"), [(1, 2, 10), (2, 5, 6), (2, 2, 6), (3, 1, 4)])
def test_every_short_word_of_brackets_is_judged_as_the_definition_says(kinds, depth, length):
    words = words_of(2 * kinds, length)
    answers = Dyck(kinds, depth).automaton.run(words)
    for word, judged in zip(words.tolist(), answers[:, -1].tolist(), strict=True):
        assert judged == closes(word, kinds, depth)


def test_the_words_of_brackets_that_are_drawn_are_judged_as_the_definition_says():
    x, y = Dyck(steps=60).batch(20, torch.Generator().manual_seed(0))
    for word, judged in zip(x.tolist(), y.tolist(), strict=True):
        assert judged == [int(closes(word[: t + 1], 2, 5)) for t in range(60)]


@pytest.mark.parametrize(
    ("task", "even"), [(Tomita(n), n in (2, 5)) for n in TOMITA] + [(Dyck(), True), (Dyck(1, 3), True)], ids=repr
)
def test_both_answers_are_common_at_every_length(task, even):
    _, y = task.at_length(1000).batch(1000, torch.Generator().manual_seed(0))
    share = y.double().mean(0)
    if even:  # a word of odd length is never in the language
        assert share[::2].max() == 0
        share = share[1::2]
    assert share[20:].min() > 0.02
    assert share[20:].max() < 0.98


def test_brackets_are_opened_as_often_as_closed_and_to_the_full_depth():
    task = Dyck()
    x, _ = task.batch(500, torch.Generator().manual_seed(0))
    states = task.automaton.states(x)
    right = states != task.automaton.num_states - 1
    assert 0.45 < right[:, -1].double().mean() < 0.55
    closing = (x >= 2)[right].double().mean()
    assert 0.4 < closing < 0.5
    assert len(states.unique()) == task.automaton.num_states == 64


@pytest.mark.parametrize("language", TOMITA)
def test_automata_are_the_smallest(language):
    automaton = Tomita(language).automaton
    assert (
        automaton.minimised().num_states == automaton.num_states == {1: 2, 2: 3, 3: 5, 4: 4, 5: 4, 6: 3, 7: 5}[language]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tomita(0), "`language` must be at least 1, got 0"),
        (lambda: Tomita(8), r"`language` must be in \[1, 7\], got 8"),
        (lambda: Dyck(kinds=0), "`kinds` must be at least 1, got 0"),
        (lambda: Dyck(depth=0), "`depth` must be at least 1, got 0"),
        (
            lambda: Dyck(depth=16),
            "`kinds` and `depth` must give an automaton of at most 262144 transitions, got 2 and 16",
        ),
        (lambda: Dyck(kinds=10**9, depth=10**9), "`kinds` and `depth` must give an automaton of at most"),
    ],
)
def test_bad_options_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
