"""Automata: tables that are checked, runs that equal a loop, and minimal machines that answer the same."""

import itertools
import json

import numpy as np
import pytest
import torch

from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.automata.walks import Walk, components
from remanent.tasks.metrics import IGNORED

EVEN = Automaton([[0, 1], [1, 0]], [1, 0])


def drawn(seed, states=9, letters=3, answers=2):
    """A random automaton, whose start state may not reach all others."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randint(states, (states, letters), generator=generator)
    return Automaton(table.tolist(), torch.randint(answers, (states,), generator=generator).tolist(), seed % states)


def answers_to(automaton, word):
    """The answers by a loop over the tables."""
    state, answers = automaton.start, []
    for letter in word:
        state = automaton.transitions[state][letter]
        answers.append(automaton.answers[state])
    return answers


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(1, 1), (7, 65), (3, 0)])
def test_a_run_equals_a_loop_in_one_piece_and_in_two(seed, shape):
    automaton = drawn(seed)
    words = torch.randint(3, shape, generator=torch.Generator().manual_seed(seed))
    assert automaton.run(words).tolist() == [answers_to(automaton, word) for word in words.tolist()]
    states = automaton.states(words)
    half = shape[1] // 2
    if half:
        later = automaton.states(words[:, half:], states[:, half - 1])
        assert torch.equal(later, states[:, half:])


@pytest.mark.parametrize("seed", range(20))
def test_a_minimal_automaton_answers_alike_and_is_the_same_for_all_of_them(seed):
    automaton = drawn(seed)
    smallest = automaton.minimised()
    assert automaton.distinguishing_word(smallest) is None
    assert smallest.num_states <= automaton.reachable().num_states <= automaton.num_states
    # the states of a smallest automaton differ from one another
    for one, other in itertools.combinations(range(smallest.num_states), 2):
        pair = [Automaton(smallest.transitions, smallest.answers, start) for start in (one, other)]
        assert smallest.answers[one] != smallest.answers[other] or pair[0].distinguishing_word(pair[1]) is not None
    # other numbers, a copy of every state, and a start in either copy
    order = torch.randperm(18, generator=torch.Generator().manual_seed(seed)).tolist()
    rows, answers = [[0] * 3 for _ in order], [0] * 18
    for copy, state in itertools.product((0, 9), range(9)):
        answers[order[state + copy]] = automaton.answers[state]
        for letter, after in enumerate(automaton.transitions[state]):
            rows[order[state + copy]][letter] = order[after + (9 if (letter + state) % 2 else 0)]
    doubled = Automaton(rows, answers, order[automaton.start + 9 * (seed % 2)])
    assert doubled.minimised() == smallest


@pytest.mark.parametrize("seed", range(20))
def test_a_distinguishing_word_is_a_shortest_one(seed):
    one, other = drawn(seed, states=4, letters=2), drawn(seed + 100, states=4, letters=2)
    found = one.distinguishing_word(other)
    words = (word for length in range(1, 9) for word in itertools.product(range(2), repeat=length))
    first = next((word for word in words if answers_to(one, word)[-1] != answers_to(other, word)[-1]), None)
    assert found == first
    assert (found is None) == (other.distinguishing_word(one) is None)


def test_what_is_answered_before_the_first_letter_distinguishes_nothing():
    never_back = [[1, 1], [1, 1]]
    assert Automaton(never_back, [0, 1]).distinguishing_word(Automaton(never_back, [1, 1])) is None


@pytest.mark.parametrize("seed", range(20))
def test_components_are_the_states_that_reach_each_other(seed):
    automaton = drawn(seed, states=12, letters=2)
    reached = np.eye(12, dtype=bool)
    for state, row in enumerate(automaton.transitions):
        reached[state, list(row)] = True
    for _ in range(4):
        reached = reached @ reached
    found = np.array(components(automaton))
    assert ((found[:, None] == found) == (reached & reached.T)).all()
    assert all(found[after] >= found[state] for state, row in enumerate(automaton.transitions) for after in row)


def test_long_chains_need_no_deep_recursion():
    states = 5000
    chain = Automaton([[min(i + 1, states - 1)] for i in range(states)], [0] * (states - 1) + [1])
    assert components(chain) == list(range(states))
    assert chain.reachable() == chain
    assert len(chain.distinguishing_word(Automaton([[0]], [0]))) == states - 1
    assert Automaton(chain.transitions[:300] + ((0,),) * 4700, chain.answers).minimised().num_states == 1


def test_json_gives_the_automaton_back():
    automaton = Automaton([[1, 1], [0, 1]], [IGNORED, 3], start=1)
    assert Automaton.from_json(automaton.to_json()) == automaton
    assert Automaton.from_json(b'{"transitions": [[0]], "answers": [5]}') == Automaton([[0]], [5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "m.json must hold JSON, got"),
        ("[1]", "m.json must hold a JSON object, got list"),
        ('{"answers": [0]}', "m.json must have the key 'transitions', got answers"),
        ('{"transitions": [[0]], "answers": [0], "begin": 0}', "m.json has the unknown key 'begin'"),
        ('{"transitions": [[0]], "answers": [0], "start": "0"}', "m.json: `start` must be of type int, got '0'"),
        ('{"transitions": [[0.5]], "answers": [0]}', "m.json: `transitions` must be ints, got float64"),
        ('{"transitions": null, "answers": [0]}', "`transitions` must be S rows of V states"),
    ],
)
def test_text_that_holds_no_automaton_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Automaton.from_json(text, "m.json")


@pytest.mark.parametrize(
    ("tables", "error", "message"),
    [
        (
            ([[0, 1], [0]], [0, 0]),
            ValueError,
            "`transitions` must be S rows of V states, got rows of different lengths",
        ),
        (([], []), ValueError, r"`transitions` must be S rows of V states, at least one of each, got shape \(0,\)"),
        (([[], []], [0, 0]), ValueError, r"`transitions` must be S rows of V states, .* got shape \(2, 0\)"),
        (([[0, 2], [0, 1]], [0, 0]), ValueError, r"`transitions` must lead to states in \[0, 2\), got 2"),
        (([[0, -1], [0, 1]], [0, 0]), ValueError, r"`transitions` must lead to states in \[0, 2\), got -1"),
        (([[0.0]], [0]), TypeError, "`transitions` must be ints, got float64"),
        (([[True]], [0]), TypeError, "`transitions` must be ints, got bool"),
        (([["a"]], [0]), TypeError, "`transitions` must be ints, got <U1"),
        (([[0]], [0, 1]), ValueError, "`answers` must have one for each of the 1 states, got 2"),
        (
            ([[0]], 0),
            ValueError,
            r"`answers` must be an answer in each of S states, at least one of each, got shape \(\)",
        ),
        (([[0]], [-1]), ValueError, "`answers` must be at least 0, or -100 where nothing is asked, got -1"),
        (([[0]], ["yes"]), TypeError, "`answers` must be ints, got <U3"),
        (([[0]], [0], 1), ValueError, r"`start` must be a state in \[0, 1\), got 1"),
        (([[0]], [0], -1), ValueError, "`start` must be at least 0, got -1"),
        (([[0]], [0], 0.0), TypeError, r"`start` must be an int, got 0\.0"),
    ],
)
def test_bad_tables_are_refused_by_name(tables, error, message):
    with pytest.raises(error, match=message):
        Automaton(*tables)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EVEN.run(torch.tensor([[2]])), r"`words` must be in \[0, 2\), got 2 to 2"),
        (
            lambda: EVEN.run(torch.tensor([1])),
            r"`words` must be int64 \(B, T\) on the CPU, got torch.int64 \(1,\) on cpu",
        ),
        (lambda: EVEN.run(torch.ones(1, 1)), r"`words` must be int64 \(B, T\) on the CPU, got torch.float32"),
        (lambda: EVEN.states(torch.tensor([[1]]), torch.tensor([2])), r"`state` must be in \[0, 2\), got 2 to 2"),
        (
            lambda: EVEN.states(torch.tensor([[1]]), torch.tensor([0, 0])),
            r"`state` must have shape \(B=1,\), got \(2,\)",
        ),
        (lambda: EVEN.distinguishing_word(drawn(0)), "`other` must have 2 letters, got 3"),
    ],
)
def test_bad_words_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_tables_of_any_kind_become_tuples_that_can_be_hashed_and_saved():
    tables = [[1, 0], [0, 1]], [0, 4]
    made = [Automaton(*map(kind, tables)) for kind in (list, np.array, torch.tensor)]
    assert made[0] == made[1] == made[2]
    assert len({*made}) == 1
    assert json.loads(made[1].to_json()) == {"transitions": tables[0], "answers": tables[1], "start": 0}
    assert (made[0].num_states, made[0].num_letters, made[0].num_answers) == (2, 2, 5)


def test_a_walk_leaves_once_for_each_time_that_it_is_told_to_and_never_else():
    # three rooms in a row, of two states each: letter 0 moves about, letter 1 leaves the second state of a room
    rooms = Automaton([[1, 0], [0, 2], [3, 2], [2, 4], [5, 4], [4, 4]], [0] * 6)
    walk = Walk(rooms)
    numbers = torch.randint(1000, (300, 40), generator=torch.Generator().manual_seed(0))
    for told, expected in (((), 0), ((5,), 1), ((0, 20), 2), ((20,), 1), ((3, 4), 2)):
        drawn = 2 * numbers
        drawn[:, list(told)] += 1
        word = walk.spell(drawn, torch.zeros(300, dtype=torch.int64))
        assert torch.equal(rooms.states(word.letters), word.states)
        left = word.states // 2
        if told != (3, 4):  # told twice before it could, a word leaves once
            assert (left[:, -1] == expected).double().mean() > 0.95
        assert (left[:, -1] <= expected).all()
        first = told[0] if told else 40
        assert (left[:, :first] == 0).all()
        begun = walk.spell(drawn[:, :6], torch.zeros(300, dtype=torch.int64))
        rest = walk.spell(drawn[:, 6:], begun.carry)
        assert torch.equal(torch.cat([begun.letters, rest.letters], dim=1), word.letters)


@pytest.mark.parametrize(
    ("odds", "error", "message"),
    [
        ((1,), ValueError, "`odds` must be one for each of the 2 letters, got 1"),
        ((1, 0), ValueError, "`odds` must be at least 1, got 0"),
        ((1, 0.5), TypeError, r"`odds` must be an int, got 0\.5"),
    ],
)
def test_bad_odds_are_refused_by_name(odds, error, message):
    with pytest.raises(error, match=message):
        Walk(EVEN, odds)


def test_odds_are_those_of_letters_that_can_be_undone():
    walk = Walk(Automaton([[0, 0, 0, 0]], [0]), odds=(1, 2, 3, 4))
    drawn = walk.draw((100, 1000), torch.Generator().manual_seed(0), begin=0)
    share = walk.spell(drawn, torch.zeros(100, dtype=torch.int64)).letters.flatten().bincount() / 100_000
    assert (share - torch.tensor([0.1, 0.2, 0.3, 0.4])).abs().max() < 0.01
