"""The arrows of an automaton's picture: how they bend around states, and where loops and letters stand."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from remanent.analysis.automata.picture.placement import Points, Vector, crossings
from remanent.tasks import Automaton

BENDS = (0.0, 0.2, -0.2, 0.35, -0.35, 0.5, -0.5)
"""How far the middle of an arrow may stand aside, in units of its length, in the order in which they are tried."""
PAIR = 0.16
"""How far an arrow stands aside of another one between the same states, in inches."""
CLOSE, CROSS = 4.0, 0.1
"""What it costs to come too close to a state, and to cross an arrow; a bend costs its size."""
ALONG = (50, 42, 58, 34, 66, 26, 74)
"""After how many hundredths of an arrow its letters may stand, in the order in which they are tried."""
APART = 0.06
"""How far letters should be from other letters and arrows, in inches."""
ROOM = 0.5
"""How much room beside a loop and the arrow of the start is enough, in inches."""
LOOP = 0.5
"""How far the control points of a loop are from the border of its state, in inches."""
TURNS = np.radians(np.arange(0, 360, 15))
"""The directions in which a loop may stand."""
SAMPLES = 13
"""How many points of a curve are looked at."""


class Arrow(NamedTuple):
    """An arrow between two states, or a loop at one.

    Attributes:
        source: the state that it leaves.
        target: the state that it leads to.
        letters: the letters that it stands for.
        both: whether these letters also lead back.
    """

    source: int
    target: int
    letters: tuple[int, ...]
    both: bool = False

    @property
    def is_loop(self) -> bool:
        """Whether it leads back to the state that it leaves."""
        return self.source == self.target


class Box(NamedTuple):
    """Where a text stands: its middle, and half of its width and height, both (2,), in inches."""

    middle: Vector
    half: Vector


def arrows_of(automaton: Automaton, letters: Sequence[int], *, merged: bool) -> list[Arrow]:
    """The arrows of some letters.

    Args:
        automaton: the automaton.
        letters: the letters.
        merged: whether all letters from one state to another share an arrow; else each letter has an arrow of its own,
            which stands for both ways where the letter leads back.
    """
    found: dict[tuple[int, int, int], list[int]] = {}
    for state, row in enumerate(automaton.transitions):
        for letter in letters:
            found.setdefault((state, row[letter], -1 if merged else letter), []).append(letter)
    arrows = []
    for (source, target, letter), together in found.items():
        both = not merged and source != target and (target, source, letter) in found
        if not both or source < target:
            arrows.append(Arrow(source, target, tuple(together), both))
    return arrows


def points_of(curve: Points, count: int = SAMPLES) -> Points:
    """Points along a Bézier curve, (count, 2), from its control points."""
    return _weights(len(curve), count) @ curve


@lru_cache
def _weights(controls: int, count: int) -> NDArray[np.float64]:
    """How much each control point of a Bézier curve counts at evenly spaced times, (count, controls)."""
    t, n = np.linspace(0, 1, count), controls - 1
    return np.stack([comb(n, i) * t**i * (1 - t) ** (n - i) for i in range(controls)], axis=1)


def bend(arrows: Sequence[Arrow], places: Points, radius: float) -> dict[Arrow, Points]:
    """The ways of arrows that are no loops, chosen one after the other, the shortest first.

    Args:
        arrows: the arrows.
        places: the places of all states, (S, 2), in inches.
        radius: the size of a state.

    Returns:
        For each arrow the control points of a quadratic Bézier curve, (3, 2), from one state's border to the other's.
    """
    chosen: dict[Arrow, Points] = {}
    for (length, *ends), same in groupby(sorted(arrows, key=lambda a: _order(a, places)), lambda a: _order(a, places)):
        beside = list(same)
        others = np.delete(places, ends, axis=0)
        placed = np.array([points_of(curve) for curve in chosen.values()]).reshape(-1, SAMPLES, 2)
        best, least = list[Points](), np.inf
        for share in BENDS:
            if least <= abs(share):
                break
            aside = [share * length + PAIR * min(1, length) * (2 * i - len(beside) + 1) for i in range(len(beside))]
            curves = [_curve(arrow, places, far) for arrow, far in zip(beside, aside, strict=True)]
            cost = abs(share) + sum(_cost(points_of(curve), others, placed, radius) for curve in curves)
            if cost < least:
                best, least = curves, cost
        chosen |= dict(zip(beside, best, strict=True))
    return {arrow: _clipped(curve, radius) for arrow, curve in chosen.items()}


def _order(arrow: Arrow, places: Points) -> tuple[float, int, int]:
    """Sorts arrows by their length; those between the same states stay together."""
    low, high = sorted((arrow.source, arrow.target))
    return round(float(np.hypot(*(places[low] - places[high]))), 3), low, high


def _curve(arrow: Arrow, places: Points, aside: float) -> Points:
    """A curve from middle to middle of two states which stands aside, to the left as seen from the lower number."""
    begin, end = places[arrow.source], places[arrow.target]
    x, y = (end - begin) * (1 if arrow.source < arrow.target else -1)
    return np.array([begin, (begin + end) / 2 + 2 * aside * np.array([-y, x]) / np.hypot(x, y), end])


def _cost(curve: Points, others: Points, placed: NDArray[np.float64], radius: float) -> float:
    """How much points of a curve are too close to other states, and how many curves it crosses."""
    close = np.clip(2 - _distances(curve, others) / radius, 0, None).sum()
    begins, ends = placed[:, :-1].reshape(-1, 2), placed[:, 1:].reshape(-1, 2)
    return float(CLOSE * close + CROSS * crossings(curve[:-1], curve[1:], begins, ends))


def _distances(points: Points, others: Points) -> NDArray[np.float64]:
    """How far each point is from the closest of the others, (N,)."""
    if not len(others):
        return np.full(len(points), np.inf)
    apart = points[:, None] - others
    return np.hypot(apart[..., 0], apart[..., 1]).min(axis=1)


def _clipped(curve: Points, radius: float) -> Points:
    """The part of a quadratic curve outside of the states at its ends."""
    line = points_of(curve, 401)
    first = int(np.argmax(np.hypot(*(line - curve[0]).T) > radius))
    last = 400 - int(np.argmax(np.hypot(*(line - curve[2]).T)[::-1] > radius))
    s, t = first / 400, last / 400
    turn = [(1 - s) * (1 - t), s + t - 2 * s * t, s * t]
    return np.array([line[first], turn @ curve, line[last]])


def free_direction(place: Vector, radius: float, taken: Points, preferred: float) -> float:
    """The direction from a state in which there is most room, in radians; where there is enough, the preferred one."""
    tips = place + (radius + 0.35) * np.stack([np.cos(TURNS), np.sin(TURNS)], axis=1)
    outside = taken[np.hypot(*(taken - place).T) > 0.9 * radius]
    turned = np.abs((TURNS - preferred + np.pi) % (2 * np.pi) - np.pi)
    return float(TURNS[np.argmax(np.minimum(_distances(tips, outside), ROOM) - 0.02 * turned)])


def loop(place: Vector, radius: float, direction: float) -> Points:
    """A loop at a state in some direction, as the control points of a cubic Bézier curve, (4, 2)."""
    angles = direction + np.radians([32, 24, -24, -32])
    far = radius + np.array([0, LOOP, LOOP, 0])
    return place + far[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def place_labels(
    curves: dict[Arrow, Points], halves: dict[Arrow, Vector], places: Points, radius: float
) -> dict[Arrow, Box]:
    """Places the letters of arrows where they cover little.

    Args:
        curves: the control points of each arrow.
        halves: half of the width and height of its text, in inches.
        places: the places of the states, (S, 2), in inches.
        radius: the size of a state.
    """
    lines = {arrow: points_of(curve, 33) for arrow, curve in curves.items()}
    found: dict[Arrow, Box] = {}
    for arrow, curve in curves.items():
        others = np.concatenate([places, *(line for other, line in lines.items() if other != arrow)])
        tried = _beside(curve, halves[arrow], is_loop=arrow.is_loop)
        costs = [_covered(box, places, radius, others, [*found.values()]) + 0.05 * i for i, box in enumerate(tried)]
        found[arrow] = tried[int(np.argmin(costs))]
    return found


def _beside(curve: Points, half: Vector, *, is_loop: bool) -> list[Box]:
    """Where a text may stand beside a curve, first on its outer side; at a loop, only there."""
    boxes, line = [], points_of(curve, 101)
    for along in ALONG[:1] if is_loop else ALONG:
        x, y = line[along + 1] - line[along - 1]
        normal = np.array([-y, x]) / np.hypot(x, y)
        is_outside = (line[50] - (curve[0] + curve[-1]) / 2) @ normal >= 0
        for side in ((1, -1) if is_outside else (-1, 1))[: 1 if is_loop else 2]:
            boxes.append(Box(line[along] + side * (np.abs(normal) @ half + 0.03) * normal, half))
    return boxes


def _covered(box: Box, places: Points, radius: float, others: Points, taken: Sequence[Box]) -> float:
    """How much a text covers of other texts, of states and of arrows."""
    texts = sum(bool((np.abs(box.middle - each.middle) < box.half + each.half + APART).all()) for each in taken)
    gaps = np.hypot(*np.clip(np.abs(places - box.middle) - box.half, 0, None).T)
    points = np.count_nonzero((np.abs(others - box.middle) < box.half + APART).all(axis=1))
    return float(5 * texts + 5 * np.count_nonzero(gaps < radius + 0.02) + 0.3 * points)
