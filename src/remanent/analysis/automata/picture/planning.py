"""What is drawn of an automaton, and where its states, arrows and letters stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from remanent.analysis.automata.picture.arrows import (
    Arrow,
    Box,
    arrows_of,
    bend,
    free_direction,
    loop,
    place_labels,
    points_of,
)
from remanent.analysis.automata.picture.placement import Points, depths, place, sinks
from remanent.tasks import Automaton

MOST_ARROWS, MOST_EACH = 48, 4
"""The most arrows, in all and per state, with letters beside them; where there are more, a few letters are drawn."""
MOST_NAMED = 4
"""The most letters that stand beside an arrow; of more it has one fewer, and how many others there are."""
GAP, NARROW_GAP, WIDEST = 1.15, 0.9, 11.0
"""The distance between neighbours with and without letters beside arrows, and the most of a picture's width."""
RADIUS = 0.24
"""The size of a state where there is room, in inches."""
CHARACTER, LINE = 0.075, 0.2
"""The width of a character of 9 points, and the height of a line, in inches."""
KEY = 0.45
"""The length of the arrow to the start state, and of that which shows the colour of a letter, in inches."""
INK = "#3a4350"
"""The colour of arrows that have their letters beside them."""
LETTER_COLOURS = ("#0b6e99", "#c4622d", "#3f7d3f", "#7a4c9e", "#b08a00", "#a8324a", "#3a7d80", "#777777")
"""The colours of letters that do not stand beside arrows."""
UP, LEFT = np.pi / 2, np.pi


class Shown(NamedTuple):
    """What is drawn of an automaton.

    Attributes:
        automaton: the states that are drawn, and the arrows between them.
        letters: which letters have arrows.
        named: whether names stand beside arrows, and loops are drawn.
        colours: the colour of each letter's arrows.
        note: what stands below the picture about what is left out.
    """

    automaton: Automaton
    letters: tuple[int, ...]
    named: bool
    colours: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """Where all parts of a picture are, in inches.

    Attributes:
        places: the middles of states, (S, 2).
        radius: the size of states.
        begin: the ends of the arrow to the start state, (2, 2).
        ways: the control points of each arrow's curve.
        texts: what stands beside arrows.
        boxes: where it stands.
    """

    places: Points
    radius: float
    begin: Points
    ways: dict[Arrow, Points]
    texts: dict[Arrow, str]
    boxes: dict[Arrow, Box]


def shown_of(automaton: Automaton) -> Shown:
    """All of it with the names of letters, where there is room for them; else a few letters, in colours."""
    every = tuple(range(automaton.num_letters))
    if len(arrows_of(automaton, every, merged=True)) <= min(MOST_ARROWS, MOST_EACH * automaton.num_states):
        return Shown(automaton, every, True, (INK,) * len(every))
    last = sinks(automaton)
    rows = [[state if to in last else to for to in row] for state, row in enumerate(automaton.transitions)]
    left = Automaton(rows, automaton.answers, automaton.start).reachable()
    few: tuple[int, ...] = ()
    while len(depths(left, few)) < left.num_states:
        rest = [letter for letter in every if letter not in few]
        few = (*few, max(rest, key=lambda letter: (len(depths(left, (*few, letter))), -letter)))
    few = tuple(sorted(few))
    colours = LETTER_COLOURS[: len(few)] if len(few) <= len(LETTER_COLOURS) else (INK,) * len(few)
    note = f"{len(few)} of {len(every)} letters are drawn, without loops"
    return Shown(left, few, False, colours, note + " and states that are never left" * bool(last))


def plan_of(shown: Shown, names: Sequence[str]) -> Plan:
    """Places states, then bends arrows, then adds the start's arrow, loops and letters where there is room."""
    automaton = shown.automaton
    places = place(automaton, shown.letters)
    gap = min(GAP if shown.named else NARROW_GAP, WIDEST / max(1.0, *np.ptp(places, axis=0)))
    # rounded, so that the last bits of another processor's arithmetic make no other picture
    places, radius = np.round(places * gap, 3), min(RADIUS, 0.3 * gap)
    arrows = arrows_of(automaton, shown.letters, merged=INK in shown.colours)
    ways = bend([arrow for arrow in arrows if not arrow.is_loop], places, radius)
    taken = np.concatenate([places, *(points_of(way, 33) for way in ways.values())])
    start = places[automaton.start]
    turn = free_direction(start, radius, taken, LEFT)
    begin = start + np.outer([radius + KEY, radius], [np.cos(turn), np.sin(turn)])
    taken = np.concatenate([taken, points_of(begin)])
    if not shown.named:
        return Plan(places, radius, begin, ways, {}, {})
    for arrow in arrows:
        if arrow.is_loop:
            turn = free_direction(places[arrow.source], radius, taken, UP)
            ways[arrow] = loop(places[arrow.source], radius, turn)
            taken = np.concatenate([taken, points_of(ways[arrow], 33)])
    texts = {arrow: _letters_of(arrow, names) for arrow in ways}
    halves = {arrow: np.array([CHARACTER * (len(text) + 0.5), 0.65 * LINE]) / 2 for arrow, text in texts.items()}
    return Plan(places, radius, begin, ways, texts, place_labels(ways, halves, places, radius))


def _letters_of(arrow: Arrow, names: Sequence[str]) -> str:
    """What stands beside an arrow: the names of its letters, or how many there are beside the first."""
    found = [names[letter] for letter in arrow.letters]
    if len(found) == len(names) > 2:
        return "any"
    first = found if len(found) <= MOST_NAMED else found[: MOST_NAMED - 1]
    return ", ".join(first) + (f" +{len(found) - len(first)}" if len(first) < len(found) else "")
