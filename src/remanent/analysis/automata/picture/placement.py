"""Where the states of an automaton stand in a picture, so that few arrows cross and none passes over a state."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from remanent.tasks import Automaton

Vector = NDArray[np.float64]
"""A place or a direction in the plane, (2,)."""
Points = NDArray[np.float64]
"""Places in the plane, (N, 2)."""
LAYER = 1.3
"""How far a layer is from the next, in units of the distance between its states."""
OVER, NEAR, LENGTH = 4.0, 0.3, 0.1
"""What an arrow over a state costs, in crossings; how near it passes, in units of the smallest distance between two
states; and what an arrow costs for each such unit of its length."""


class Link(NamedTuple):
    """Two states with an arrow between them, the lower number first."""

    one: int
    other: int


def place(automaton: Automaton, letters: tuple[int, ...]) -> Points:
    """Places all states so that the closest two are 1 apart, with the start state on the left.

    The best of three ways is taken: in layers by the number of letters from the start, on a circle, and with distances
    as in the graph. A sink is placed last, where it disturbs least.

    Args:
        automaton: the automaton.
        letters: the letters whose arrows are drawn; they reach all states.

    Returns:
        The place of each state, (S, 2).

    Source: distances as in the graph: Kamada and Kawai (1989).
    """
    links = _links(automaton, letters)
    depth = depths(automaton, letters)
    last = sinks(automaton)
    rest = [state for state in range(automaton.num_states) if state not in last]
    ways = (_layers(rest, links, depth), _circle(rest), _springs(rest, links))
    drawn = [_spread(_with_sinks(_turned(way, automaton.start), last, links)) for way in ways]
    return min(drawn, key=lambda points: _cost(points, links))


def sinks(automaton: Automaton) -> list[int]:
    """The states that no letter leaves, without the start state.

    >>> sinks(Automaton([[1, 0], [1, 1]], [1, 0]))
    [1]
    """
    rows = automaton.transitions
    return [state for state in range(len(rows)) if set(rows[state]) == {state} and state != automaton.start]


def depths(automaton: Automaton, letters: tuple[int, ...]) -> dict[int, int]:
    """How many of some letters it takes to get to each state that they reach, the nearest first."""
    found, front = {automaton.start: 0}, [automaton.start]
    while front:
        after = [automaton.transitions[state][letter] for state in front for letter in letters]
        depth = found[front[0]] + 1
        front = [state for state in dict.fromkeys(after) if state not in found]
        found |= dict.fromkeys(front, depth)
    return found


def crossings(begin: Points, end: Points, other_begin: Points, other_end: Points) -> int:
    """How many times some lines cross others, ends apart.

    >>> crossings(*(np.array([place]) for place in ([0, 0], [2, 2], [0, 2], [2, 0])))
    1
    """
    one = _sides(begin, end, other_begin) * _sides(begin, end, other_end)
    other = _sides(other_begin, other_end, begin) * _sides(other_begin, other_end, end)
    return int(np.count_nonzero((one < -1e-9) & (other.T < -1e-9)))


def _sides(begin: Points, end: Points, points: Points) -> NDArray[np.float64]:
    """On which side of each of L lines each of N points lies, (L, N): above 0 on the left, 0 on the line."""
    across, to = end - begin, points - begin[:, None]
    return across[:, :1] * to[..., 1] - across[:, 1:] * to[..., 0]


def _links(automaton: Automaton, letters: tuple[int, ...]) -> list[Link]:
    """The pairs of different states that a letter leads between, in order."""
    pairs = {(state, row[letter]) for state, row in enumerate(automaton.transitions) for letter in letters}
    return sorted({Link(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]})


def _layers(states: list[int], links: list[Link], depth: dict[int, int]) -> dict[int, Vector]:
    """From left to right by depth; in a layer by the mean height of the neighbours on its left."""
    places: dict[int, Vector] = {}
    for layer in range(max(depth.values()) + 1):
        here = [state for state in states if depth[state] == layer]
        here.sort(key=lambda state: (-_height(state, links, places), state))
        middle = (len(here) - 1) / 2
        places |= {state: np.array([LAYER * layer, middle - i]) for i, state in enumerate(here)}
    return places


def _height(state: int, links: list[Link], places: dict[int, Vector]) -> float:
    """The mean height of those neighbours of a state that have a place."""
    beside = [link.other if link.one == state else link.one for link in links if state in link]
    heights = [float(places[other][1]) for other in beside if other in places]
    return sum(heights) / max(1, len(heights))


def _circle(states: list[int]) -> dict[int, Vector]:
    """Clockwise in the order of their numbers."""
    angles = np.pi - 2 * np.pi * np.arange(len(states)) / len(states)
    return dict(zip(states, np.stack([np.cos(angles), np.sin(angles)], axis=1), strict=True))


def _springs(states: list[int], links: list[Link]) -> dict[int, Vector]:
    """With distances that are close to the number of arrows between two states."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(states)
    graph.add_edges_from(link for link in links if link.one in graph and link.other in graph)
    return {state: np.array(at) for state, at in nx.kamada_kawai_layout(graph).items()}


def _turned(places: dict[int, Vector], start: int) -> dict[int, Vector]:
    """The same, turned so that the start state is on the left of the middle."""
    middle = _rows(places).mean(axis=0)
    x, y = middle - places[start]
    size = np.hypot(x, y)
    if size < 1e-6:
        return places
    turn = np.array([[x, y], [-y, x]]) / size
    return {state: turn @ (at - middle) for state, at in places.items()}


def _with_sinks(places: dict[int, Vector], last: list[int], links: list[Link]) -> Points:
    """All places; each sink takes the best of nine, around the states before it and amid them."""
    for sink in last:
        there = _rows(places)
        scale = _smallest_gap(there)
        low, high = there.min(axis=0), there.max(axis=0)
        middle, half = (low + high) / 2, (high - low) / 2 + scale
        tried = [middle + half * np.array([x, y]) for x in (1, 0, -1) for y in (0, -1, 1)]
        free = [at for at in tried if np.hypot(*(there - at).T).min() > scale / 2 - 1e-6]
        row = {state: i for i, state in enumerate(sorted({*places, sink}))}
        drawn = [Link(row[link.one], row[link.other]) for link in links if link.one in row and link.other in row]
        costs = [_cost(_rows(places | {sink: at}) / scale, drawn) for at in free]
        places = places | {sink: free[costs.index(min(costs))]}
    return _rows(places)


def _rows(places: dict[int, Vector]) -> Points:
    return np.array([places[state] for state in sorted(places)])


def _spread(points: Points) -> Points:
    return points / _smallest_gap(points)


def _smallest_gap(points: Points) -> float:
    """The distance between the closest two; 1 where there is one point."""
    gaps = (float(np.hypot(*(a - b))) for a, b in combinations(points, 2))
    return max(min(gaps, default=1.0), 1e-3)


def _cost(points: Points, links: list[Link]) -> float:
    """How hard a picture is to read if its arrows are straight."""
    if not links:
        return 0.0
    begin, end = points[[link.one for link in links]], points[[link.other for link in links]]
    across, to = end - begin, points[:, None] - begin
    length = np.maximum(np.hypot(*across.T), 1e-9)
    along = (to * across).sum(-1) / length**2
    aside = np.hypot(*np.moveaxis(to - along[..., None] * across, -1, 0))
    over = np.count_nonzero((aside < NEAR) & (along > 1e-6) & (along < 1 - 1e-6))
    return float(crossings(begin, end, begin, end) / 2 + OVER * over + LENGTH * length.sum())
