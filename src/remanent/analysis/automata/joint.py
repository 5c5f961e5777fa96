"""The states that heads and a task's automaton reach together, and the fewest heads that determine the answers.

All of it is whole numbers: a machine is a table, and machines under the same letters are a product of tables.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent.ops.arguments import HeadSizes
from remanent.ops.heads.one_hot import start_places
from remanent.tasks import IGNORED, Automaton

FEW_STATES = (2**8, 2**12)
"""So many states are allowed at first, before as many as may be."""


class Joint(NamedTuple):
    """Machines side by side, which read the same letters: their states that words reach; number 0 is the start.

    Attributes:
        after: the state that each letter leads to from each state, int64 (N, V).
        answers: what the task answers in each state, int64 (N,), or `IGNORED`.
        seen: a number for the states of the heads alone, int64 (N,): equal where the readout sees the same.
        places: the states of the tracers of the heads, uint8 (N, W).
    """

    after: np.ndarray
    answers: np.ndarray
    seen: np.ndarray
    places: np.ndarray


class Examples(NamedTuple):
    """Everything that a readout may be asked: one example for each that it can tell apart.

    Attributes:
        letters: the letter read last, int64 (N,).
        places: the states of the tracers after it, uint8 (N, W).
        answers: the right answers, int64 (N,).
    """

    letters: Tensor
    places: Tensor
    answers: Tensor


def needed_heads(
    tables: Tensor, sizes: HeadSizes, automaton: Automaton, *, sees_letters: bool, most_states: int
) -> tuple[int, ...] | None:
    """Looks for few heads whose states determine the answers: those to all words, not only to some.

    Heads are added one at a time: each time the one that leaves the least open of the answers, of equal ones the one
    with the fewest states. At last those are dropped that the later ones made superfluous. Sets of few states are
    looked for first, so that heads that wander cost little.

    Args:
        tables: uint8 (V, H, K), for each letter and head from each state to the next.
        sizes: the states and the tracers of a head.
        automaton: the task's.
        sees_letters: whether the readout sees the last letter beside the states.
        most_states: the most states of heads and task together.

    Returns:
        The numbers of the heads in rising order; None if no such set is found.
    """
    task = _of_task(automaton)
    for most in (*(cap for cap in FEW_STATES if cap < most_states), most_states):
        heads = _of_heads(tables, sizes, most)
        chosen = _added(task, heads, sees_letters, most)
        if chosen is not None:
            return tuple(sorted(_thinned(task, heads, chosen, sees_letters, most)))
    return None


def joint_states(tables: Tensor, sizes: HeadSizes, automaton: Automaton, most_states: int) -> Joint | None:
    """The states that all heads and the task's automaton reach together; None where they are more than so many."""
    heads = _of_heads(tables, sizes, most_states)
    return _together(_of_task(automaton), list(heads.values()), most_states) if len(heads) == tables.shape[1] else None


def product(first: Joint, second: Joint, most: int) -> Joint | None:
    """Machines side by side; None where they have more than so many states. The answers are those of the first."""
    m = len(second.after)

    def step(codes: np.ndarray) -> np.ndarray:
        a, b = np.divmod(codes, m)
        return first.after[a] * m + second.after[b]  # type: ignore[no-any-return]

    known = fresh = np.zeros(1, np.int64)
    levels = [fresh]
    while len(fresh):
        fresh = np.setdiff1d(step(fresh), known)
        known = np.union1d(known, fresh)
        levels.append(fresh)
        if len(known) > most:
            return None
    codes = np.concatenate(levels)  # breadth first, so that the start is 0
    order = np.argsort(codes)
    after = order[np.searchsorted(codes, step(codes), sorter=order)]
    a, b = np.divmod(codes, m)
    both = first.seen[a] * (second.seen.max() + 1) + second.seen[b]
    seen = np.unique(both, return_inverse=True)[1]
    return Joint(after, first.answers[a], seen, np.hstack([first.places[a], second.places[b]]))


def open_bits(joint: Joint, sees_letters: bool) -> float:
    """The mean over what the readout may see of log2 of the number of different answers; 0 where it determines them."""
    views, _, answers = _views(joint, sees_letters)
    if not len(answers):
        return 0.0
    kinds = np.unique(np.stack([views, answers]), axis=1)
    counts = np.unique(kinds[0], return_counts=True)[1]
    return float((counts * np.log2(counts)).sum() / counts.sum())


def examples(joint: Joint, sees_letters: bool) -> Examples:
    """What the readout sees, each once, with its answer, of heads that determine the answers."""
    views, edges, answers = _views(joint, sees_letters)
    first = np.unique(views, return_index=True)[1]
    states, letters = joint.after.ravel()[edges[first]], edges[first] % joint.after.shape[1]
    return Examples(*map(torch.from_numpy, (letters, joint.places[states], answers[first])))


def _added(task: Joint, heads: dict[int, Joint], sees_letters: bool, most: int) -> list[int] | None:
    """Heads, one by one, until they determine the answers; None where the rest have too many states."""
    chosen: list[int] = []
    joint = task
    while open_bits(joint, sees_letters) > 0:
        options = []
        for number in heads.keys() - chosen:
            found = product(joint, heads[number], most)
            if found is not None:
                options.append((open_bits(found, sees_letters), len(found.after), number, found))
        if not options:
            return None
        *_, number, joint = min(options, key=lambda option: option[:3])
        chosen.append(number)
    return chosen


def _thinned(task: Joint, heads: dict[int, Joint], chosen: list[int], sees_letters: bool, most: int) -> list[int]:
    """The heads without those that the others make superfluous, the largest first."""
    for number in sorted(chosen, key=lambda number: (-len(heads[number].after), number)):
        rest = [other for other in chosen if other != number]
        joint = _together(task, [heads[other] for other in rest], most)
        if joint is not None and open_bits(joint, sees_letters) == 0:
            chosen = rest
    return chosen


def _views(joint: Joint, sees_letters: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where an answer is asked for: a number of what the readout sees, the edge that led there, and the answer."""
    states = joint.after.ravel()
    edges = np.flatnonzero(joint.answers[states] != IGNORED)
    V = joint.after.shape[1]
    views = joint.seen[states[edges]] * V + (edges % V if sees_letters else 0)
    return views, edges, joint.answers[states[edges]]


def _of_task(automaton: Automaton) -> Joint:
    whole = automaton.reachable()
    nothing = np.zeros(whole.num_states, np.int64)
    places = np.zeros((whole.num_states, 0), np.uint8)
    return Joint(np.array(whole.transitions), np.array(whole.answers), nothing, places)


def _of_heads(tables: Tensor, sizes: HeadSizes, most: int) -> dict[int, Joint]:
    """Each head as a machine, those with too many states left out: all tracers of a head side by side."""
    starts = start_places(tables.shape[1], sizes).tolist()
    heads = {}
    for number, table in enumerate(tables.cpu().numpy().swapaxes(0, 1)):
        tracers = [_of_tracer(table, start) for start in starts[number]]
        head = _together(tracers[0], tracers[1:], most)
        if head is not None:
            heads[number] = head
    return heads


def _of_tracer(table: np.ndarray, start: int) -> Joint:
    """A tracer by the tables (V, K) of its head, its states in such an order that the start is the first."""
    K = table.shape[1]
    places = np.roll(np.arange(K), -start)
    after = (table[:, places].T.astype(np.int64) - start) % K
    return Joint(after, np.zeros(K, np.int64), np.arange(K), places[:, None].astype(np.uint8))


def _together(first: Joint, rest: Sequence[Joint], most: int) -> Joint | None:
    """Several machines side by side."""
    joint: Joint | None = first
    for other in rest:
        joint = None if joint is None else product(joint, other, most)
    return joint
