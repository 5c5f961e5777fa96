"""The walk through all pairs of states: models built by hand, and what is found where they are changed."""

import pytest

from automata_models import exact_mru
from remanent.analysis.automata import Machine, walk
from remanent.tasks import FlipFlop, GroupWord, Parity
from remanent.tasks.automata.automaton import Automaton


@pytest.mark.parametrize("task", [Parity(), GroupWord(group="S3"), FlipFlop()], ids=lambda task: task.name)
def test_a_model_with_the_tables_of_the_automaton_is_right_at_every_length(task):
    verdict = walk(Machine(exact_mru(task.automaton)), task.automaton)
    assert (verdict.outcome, verdict.states) == ("right", task.automaton.num_states)
    assert (verdict.margin, verdict.word, verdict.length) == (4, None, None)


def test_a_wrong_entry_gives_a_shortest_word_that_the_model_fails_on():
    automaton = GroupWord(group="Z5").automaton
    broken = [list(row) for row in automaton.transitions]
    broken[3][1] = 2  # reached by the letter 3 first, then used by the letter 1
    verdict = walk(Machine(exact_mru(Automaton(broken, automaton.answers))), automaton)
    assert (verdict.outcome, verdict.word, verdict.length) == ("wrong", (3, 1), 1)
    assert verdict.replay == (4, 2, 2)


def test_a_walk_that_is_given_up_says_up_to_which_length_the_model_is_right():
    automaton = Automaton([[(state + 1) % 50] for state in range(50)], [int(state == 49) for state in range(50)])
    machine = Machine(exact_mru(automaton))
    verdict = walk(machine, automaton, most_states=10)
    assert (verdict.outcome, verdict.states, verdict.length, verdict.word) == ("too many states", 11, 10, None)
    assert walk(machine, automaton, most_states=50).outcome == "right"
