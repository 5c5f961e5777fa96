"""Words for languages: each letter is drawn by the state before it, so that words keep meeting both answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.metrics import IGNORED

RATE = 1 / 7
"""How often letters that cannot be undone are drawn: at step t with this probability, times their number, over t."""
NUMBERS = 2**31
"""Whole numbers below this are drawn; their remainders choose letters."""
BEAM = 32
"""How many beginnings of answers are kept in the search for the best ones."""


class Word(NamedTuple):
    """A batch of words, or of parts of them.

    Attributes:
        letters: int64 (B, T).
        states: the state after each letter, int64 (B, T).
        carry: what the letters that follow begin with, int64 (B,).
    """

    letters: Tensor
    states: Tensor
    carry: Tensor


class _Choices(NamedTuple):
    """The letters that can be drawn in each state: first those that can be undone, then those that cannot.

    Attributes:
        letters: the letters, as often as their odds say, filled up with 0, (2, S, W).
        counts: how many there are, (2, S).
        odds: how many of them are each letter, (2, S, V).
    """

    letters: np.ndarray
    counts: np.ndarray
    odds: np.ndarray


@dataclass(frozen=True)
class Walk:
    r"""A random walk through an automaton, whose letters are the words of a task.

    Most automata have letters that no word can undo, such as the first wrong bracket: they lead out of a strongly
    connected component. If all letters were drawn alike, a word would soon have taken all of these, and nothing would
    be left to remember. Here a word takes one of these letters only after it is told to, as soon as the state has one.
    At step t it is told with probability $\min(\frac12, \frac{n}{7 t})$, where n is the most of these letters that a
    word can have. The share of words that were never told falls as $t^{-n/7}$, so slowly that some words have left and
    others have not at every length. All other letters can be undone, where the state has any. In an automaton that has
    no way out of a component all letters are drawn alike.

    Args:
        automaton: what is walked through.
        odds: how often a letter is drawn beside others of its kind, an int of at least 1 for each letter; None for all
            alike.

    Raises:
        TypeError: one of the odds is not an int.
        ValueError: there are not as many odds as letters, or one is below 1.

    >>> walk = Walk(Automaton([[1, 0], [1, 1]], answers=[1, 0]))  # is the word one of ones alone?
    >>> drawn = walk.draw((1000, 64), torch.Generator().manual_seed(0), begin=0)
    >>> word = walk.spell(drawn, torch.zeros(1000, dtype=torch.int64))
    >>> 400 < int((word.states[:, -1] == 0).sum()) < 600
    True
    """

    automaton: Automaton
    odds: Sequence[int] | None = None

    def __post_init__(self) -> None:
        odds, letters = self.odds, self.automaton.num_letters
        if odds is not None and len(odds) != letters:
            raise ValueError(f"`odds` must be one for each of the {letters} letters, got {len(odds)}")
        for each in odds or ():
            check_at_least("odds", each, 1)

    def draw(self, size: tuple[int, ...], generator: torch.Generator, *, begin: int) -> Tensor:
        """Draws what letters are chosen by, whatever the state will be.

        Args:
            size: the shape, (..., T).
            generator: what is drawn from.
            begin: how many letters of the words come before these, at least 0.

        Returns:
            Numbers for `spell`, int64 (..., T): odd where a word is told to take a letter that cannot be undone.
        """
        leaving = torch.from_numpy(self._leaving(begin, size[-1]))
        told = torch.rand(size, generator=generator, dtype=torch.float64) < leaving
        return 2 * torch.randint(NUMBERS, size, generator=generator) + told

    def spell(self, drawn: Tensor, carry: Tensor) -> Word:
        """Chooses the letters of words, step by step.

        Args:
            drawn: what `draw` gave, int64 (B, T).
            carry: the start state; or what the letters before these left, int64 (B,): the state, and S more where the
                word was told to leave and could not yet.
        """
        transitions, choices = self._transitions, self._choices
        told, now = np.divmod(carry.numpy(), len(transitions))
        letters, states = (np.empty(drawn.T.shape, np.int64) for _ in range(2))
        for t, numbers in enumerate(np.ascontiguousarray(drawn.numpy().T)):
            told = told | numbers % 2
            place = numbers // 2 % choices.counts[told, now]
            letters[t] = choices.letters[told, now, place]
            told = told & ~self._leaves[now]
            states[t] = now = transitions[now, letters[t]]
        carry = torch.from_numpy(now + told * len(transitions))
        return Word(torch.from_numpy(letters).T.contiguous(), torch.from_numpy(states).T.contiguous(), carry)

    def guess(self, steps: int) -> float:
        """The share of words that the best fixed answers are right for, as far as a search finds them.

        The search keeps the answers to the beginning of a word that are right for the most words, `BEAM` of them; for
        words of few letters it is exact.

        Args:
            steps: the length of the words, at least 1.
        """
        answers = np.array(self.automaton.answers)
        odds = self._choices.odds / self._choices.counts[..., None]
        # (kept, told to leave or not, S): the share of the words that are right so far, by state
        share = np.zeros((1, 2, len(answers)))
        share[0, 0, self.automaton.start] = 1
        for leaving in self._leaving(0, steps):
            free, told = (1 - leaving) * share[:, 0], share[:, 1] + leaving * share[:, 0]
            stay, leave, wait = free, told * self._leaves, told * ~self._leaves
            moved = [self._moved(stay, odds[0]) + self._moved(leave, odds[1]), self._moved(wait, odds[0])]
            share = _likeliest(np.stack(moved, axis=1), answers)
            if not share.any():
                break
        return float(share[0].sum())

    def _moved(self, share: np.ndarray, odds: np.ndarray) -> np.ndarray:
        """The shares of states (N, S) after one more letter, which is drawn by its odds in each state (S, V)."""
        after, states = self._transitions.ravel(), share.shape[1]
        return np.stack([np.bincount(after, (row[:, None] * odds).ravel(), states) for row in share])

    def _leaving(self, begin: int, steps: int) -> np.ndarray:
        """The probability of a letter that cannot be undone at each step after the first `begin`, (T,)."""
        return np.minimum(0.5, RATE * self._most_left / np.arange(begin + 1, begin + steps + 1))

    @cached_property
    def _transitions(self) -> np.ndarray:
        return np.array(self.automaton.transitions)

    @cached_property
    def _components(self) -> np.ndarray:
        return np.array(components(self.automaton))

    @cached_property
    def _stays(self) -> np.ndarray:
        """Whether each letter of each state can be undone, as it stays in the component of the state, (S, V)."""
        return np.equal(self._components[self._transitions], self._components[:, None])

    @cached_property
    def _leaves(self) -> np.ndarray:
        """Whether each state has letters that cannot be undone, (S,)."""
        return np.logical_not(np.all(self._stays, axis=1))

    @cached_property
    def _most_left(self) -> int:
        """n, the most letters that cannot be undone, taken where others could be, of any word."""
        most = np.zeros(self._components.max() + 1, np.int64)
        # no letter leads to a lower number, so that the components after this one are done
        for state in np.argsort(-self._components):
            here, stays = self._components[state], self._stays[state]
            further = most[self._components[self._transitions[state, ~stays]]] + stays.any()
            most[here] = max(most[here], *further, 0)
        return int(most[self._components[self.automaton.start]])

    @cached_property
    def _choices(self) -> _Choices:
        stays = self._stays
        kinds = np.stack([stays, ~stays])
        # where no letter is of a kind, any will do
        allowed = np.where(kinds.any(2, keepdims=True), kinds, True)
        odds = allowed * np.array(self.odds or (1,) * self.automaton.num_letters)
        counts = odds.sum(2)
        letters = np.zeros((*counts.shape, counts.max()), np.int64)
        for place in np.ndindex(counts.shape):
            letters[place][: counts[place]] = np.repeat(np.arange(self.automaton.num_letters), odds[place])
        return _Choices(letters, counts, odds)


def _likeliest(share: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Parts the shares of each beginning (N, 2, S) by the next answer, and keeps the `BEAM` largest, in order."""
    asked = answers != IGNORED
    parts = []
    for beginning in share:
        by_state = beginning.sum(0)
        right = np.bincount(answers[asked], by_state[asked], answers.max(initial=0) + 1)
        for answer in np.flatnonzero(right) if right.any() else [0]:
            parts.append(np.where(~asked | (answers == answer), beginning, 0))
    parts.sort(key=lambda part: -part.sum())
    return np.stack(parts[:BEAM])


def components(automaton: Automaton) -> list[int]:
    """The strongly connected component of each state, numbered so that no letter leads to a lower number.

    >>> components(Automaton([[0, 1], [2, 2], [1, 2]], answers=[0, 0, 0]))
    [0, 1, 1]
    """
    import networkx as nx

    graph = nx.DiGraph((state, after) for state, row in enumerate(automaton.transitions) for after in row)
    whole = nx.condensation(graph)
    number = {part: i for i, part in enumerate(nx.topological_sort(whole))}
    return [number[whole.graph["mapping"][state]] for state in range(automaton.num_states)]
