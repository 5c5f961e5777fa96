"""Pictures of automata: all is drawn that the page says, nothing covers a state, and the same bytes again."""

import numpy as np
import pytest
from matplotlib.patches import Circle, FancyArrowPatch

from remanent._files import figure_bytes
from remanent.analysis import draw_automaton
from remanent.analysis.automata.picture.arrows import points_of
from remanent.analysis.automata.picture.drawing import MOST_STATES
from remanent.analysis.automata.picture.planning import MOST_EACH, plan_of, shown_of
from remanent.tasks import Automaton, Dyck, FlipFlop, GroupWord, Parity, Tomita

MACHINES = {
    "parity": Parity().automaton,
    **{f"tomita {language}": Tomita(language=language).automaton for language in range(1, 8)},
    "dyck": Dyck(depth=2).automaton,
    "flip-flop": FlipFlop(cells=2).automaton,
    "flip-flop of 3 cells": FlipFlop(cells=3).automaton,
    "S3": GroupWord(group="S3").automaton,
    "Z12": GroupWord(group="Z12").automaton,
    "S4": GroupWord(group="S4").automaton,
    "one state": Automaton([[0, 0]], [1]),
}


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def parts(figure, kind):
    return [part for part in figure.axes[0].get_children() if isinstance(part, kind)]


@pytest.mark.parametrize("name", MACHINES)
def test_no_arrow_passes_over_a_state_and_states_are_apart(name):
    machine = MACHINES[name]
    plan = plan_of(shown_of(machine), [str(letter) for letter in range(machine.num_letters)])
    apart = np.hypot(*np.moveaxis(plan.places[:, None] - plan.places, -1, 0)) + 9 * np.eye(len(plan.places))
    assert apart.min() > 2.5 * plan.radius
    for arrow, way in plan.ways.items():
        line = points_of(way, 50)
        for state, place in enumerate(plan.places):
            gap = np.hypot(*(line - place).T).min()
            assert gap > (0.9 if state in (arrow.source, arrow.target) else 1.2) * plan.radius, (arrow, state)


def test_each_letter_stands_beside_an_arrow_between_its_states():
    machine = Tomita(language=4).automaton
    figure = draw_automaton(machine, letters="ab")
    assert len(parts(figure, Circle)) == 4
    assert len(parts(figure, FancyArrowPatch)) == 1 + 7  # the start's, and both letters at the last state in one
    assert sorted(texts(figure)) == sorted(["a"] * 3 + ["b"] * 3 + ["a, b"] + ["1", "1", "1", "0"])


def test_many_letters_are_cut_short_and_all_are_any():
    rows = [[1, 1, 1, 1, 1, 0], [1] * 6]
    assert texts(draw_automaton(Automaton(rows, [0, 1])))[:3] == ["0, 1, 2 +2", "5", "any"]


def test_a_dense_machine_shows_few_letters_in_colours():
    group = GroupWord(group="S3").automaton
    assert group.num_letters > MOST_EACH
    shown = shown_of(group)
    assert shown.letters == (1, 3)
    reached = {group.start}
    for _ in range(group.num_states):
        reached |= {group.transitions[state][letter] for state in reached for letter in shown.letters}
    assert len(reached) == 6
    figure = draw_automaton(group)
    assert texts(figure) == [*"012345", "1", "3", "2 of 6 letters are drawn, without loops"]
    heads = [part.get_arrowstyle() for part in parts(figure, FancyArrowPatch)]
    assert len(heads) == 1 + 3 + 6 + 2  # the start's, three swaps both ways, two cycles of three, two keys


def test_a_dense_machine_is_drawn_without_the_states_that_are_never_left():
    brackets = Dyck(kinds=2, depth=4).automaton
    figure = draw_automaton(brackets, letters="([)]")
    assert len(parts(figure, Circle)) == brackets.num_states - 1
    assert texts(figure)[-3:-1] == ["(", "["]
    assert texts(figure)[-1] == "2 of 4 letters are drawn, without loops and states that are never left"


def test_a_machine_that_needs_more_letters_than_there_are_colours_has_one():
    comb = Automaton([list(range(1, 26)), *[[0] * 25 for _ in range(25)]], [0] * 26)
    figure = draw_automaton(comb)
    assert len({part.get_edgecolor() for part in parts(figure, FancyArrowPatch)}) == 1
    assert texts(figure)[-1] == "25 of 25 letters are drawn, without loops"


def test_answers_that_are_not_asked_for_are_dashes_and_sinks_are_pale():
    figure = draw_automaton(FlipFlop().automaton)
    assert texts(figure).count("\N{EN DASH}") == 1
    edges = [part.get_edgecolor() for part in parts(draw_automaton(Tomita(language=1).automaton), Circle)]
    assert edges[0] != edges[1]


def test_states_that_no_word_reaches_are_not_drawn():
    assert len(parts(draw_automaton(Automaton([[0], [0]], [1, 0])), Circle)) == 1


def test_the_same_bytes_again():
    one, two = (figure_bytes(draw_automaton(MACHINES["dyck"], letters="([)]"), "svg") for _ in range(2))
    assert one == two


def test_what_cannot_be_drawn_is_rejected():
    parity = Parity().automaton
    with pytest.raises(ValueError, match="`letters` must have a name for each of the 2 letters, got 3"):
        draw_automaton(parity, letters="abc")
    with pytest.raises(TypeError, match="`letters` must be str, got 1"):
        draw_automaton(parity, letters=["a", 1])
    ring = Automaton([[(i + 1) % 200] for i in range(200)], [0] * 200)
    with pytest.raises(ValueError, match=f"`automaton` must have at most {MOST_STATES} states to be drawn, got 200"):
        draw_automaton(ring)
