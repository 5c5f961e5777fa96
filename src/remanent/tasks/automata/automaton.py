"""Finite automata: what letters do to a state and what is answered in it, made minimal, compared, saved as JSON."""

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from remanent._files import from_dict, to_json
from remanent._json import parse_json
from remanent._options import check_at_least
from remanent.tasks.metrics import IGNORED

MOST_TRANSITIONS = 2**18
"""The most transitions that the automaton of a built-in task has, so that it is made within a few seconds."""

Pair = tuple[int, int]
"""A state of each of two automata."""


@dataclass(frozen=True)
class Automaton:
    r"""A finite automaton that answers in every state: $s_t = \delta(s_{t-1}, x_t)$ and $y_t = \lambda(s_t)$.

    Two automata are equal if their tables are; `distinguishing_word` tells whether they answer alike.

    Args:
        transitions: $\delta$, the state that each letter leads to from each state: S rows of V ints in [0, S), at least
            one of each. It is kept as tuples.
        answers: $\lambda$, the answer in each state: S ints that are at least 0, or `IGNORED` where nothing is asked.
        start: the state before the first letter, in [0, S). Its answer is asked for only where letters lead back to it.

    Raises:
        TypeError: a value is not an int.
        ValueError: a table has another shape, or a value is out of its range.

    Source: Moore (1956), Gedanken-experiments on sequential machines.

    >>> odd_ones = Automaton([[0, 1], [1, 0]], answers=[0, 1])
    >>> odd_ones.run(torch.tensor([[1, 0, 1, 1]]))
    tensor([[1, 1, 0, 1]])
    """

    transitions: Sequence[Sequence[int]]
    answers: Sequence[int]
    start: int = 0

    def __post_init__(self) -> None:
        transitions = _table("transitions", self.transitions, "S rows of V states")
        answers = _table("answers", self.answers, "an answer in each of S states")
        states = len(transitions)
        if len(answers) != states:
            raise ValueError(f"`answers` must have one for each of the {states} states, got {len(answers)}")
        wrong = transitions[(transitions < 0) | (transitions >= states)]
        if len(wrong):
            raise ValueError(f"`transitions` must lead to states in [0, {states}), got {wrong[0]}")
        wrong = answers[(answers < 0) & (answers != IGNORED)]
        if len(wrong):
            raise ValueError(f"`answers` must be at least 0, or {IGNORED} where nothing is asked, got {wrong[0]}")
        check_at_least("start", self.start, 0)
        if self.start >= states:
            raise ValueError(f"`start` must be a state in [0, {states}), got {self.start}")
        object.__setattr__(self, "transitions", tuple(map(tuple, transitions.tolist())))
        object.__setattr__(self, "answers", tuple(answers.tolist()))

    @property
    def num_states(self) -> int:
        """S, the number of states."""
        return len(self.transitions)

    @property
    def num_letters(self) -> int:
        """V, the number of letters."""
        return len(self.transitions[0])

    @property
    def num_answers(self) -> int:
        """One more than the largest answer, so that answers are classes; at least 1."""
        return max(0, *self.answers) + 1

    def states(self, words: Tensor, state: Tensor | None = None) -> Tensor:
        """The states that words lead through.

        Args:
            words: letters, int64 (B, T).
            state: the states before them, int64 (B,); the start state if None.

        Returns:
            The state after each letter, int64 (B, T).

        Raises:
            ValueError: a shape, dtype or device is another one, or a letter or state is out of its range.

        >>> Automaton([[0, 1], [1, 0]], answers=[0, 1]).states(torch.tensor([[1, 0]]), torch.tensor([1]))
        tensor([[0, 0]])
        """
        _check_numbers("words", words, 2, self.num_letters)
        if state is None:
            state = words.new_full((len(words),), self.start)
        _check_numbers("state", state, 1, self.num_states)
        if len(state) != len(words):
            raise ValueError(f"`state` must have shape (B={len(words)},), got {tuple(state.shape)}")
        # rows are counted in letters, so that a step is one sum and one look-up
        rows, row = self._rows, state.numpy() * self.num_letters
        after = np.empty(words.T.shape, np.int64)
        for t, letters in enumerate(np.ascontiguousarray(words.numpy().T)):
            after[t] = row = rows[row + letters]
        return torch.from_numpy(np.ascontiguousarray(after.T) // self.num_letters)

    def run(self, words: Tensor) -> Tensor:
        """The answers to words of letters, int64 (B, T), after each letter, int64 (B, T).

        Raises:
            ValueError: a shape, dtype or device is another one, or a letter is out of its range.
        """
        return self.answers_in(self.states(words))

    def answers_in(self, states: Tensor) -> Tensor:
        """The answers in states, which are int64 of any shape, as int64 of that shape."""
        return self._answers[states]

    def reachable(self) -> "Automaton":
        """The same automaton without the states that no word reaches, numbered from the start state, 0, breadth first.

        >>> Automaton([[0, 0], [2, 1], [2, 0]], answers=[7, 8, 9], start=1).reachable()
        Automaton(transitions=((1, 0), (1, 2), (2, 2)), answers=(8, 9, 7), start=0)
        """
        number, todo = {self.start: 0}, deque([self.start])
        while todo:
            for after in self.transitions[todo.popleft()]:
                if after not in number:
                    number[after] = len(number)
                    todo.append(after)
        rows = [[number[after] for after in self.transitions[state]] for state in number]
        return Automaton(rows, [self.answers[state] for state in number])

    def minimised(self) -> "Automaton":
        """The smallest automaton with the same answers, numbered as in `reachable`.

        It is the same for all automata with these answers, the one in the start state included. States are parted by
        their answers, then by the parts that their letters lead to, until no part falls into two.

        >>> Automaton([[1, 1], [2, 2], [3, 3], [0, 0]], answers=[0, 1, 0, 1]).minimised()
        Automaton(transitions=((1, 1), (0, 0)), answers=(0, 1), start=0)
        """
        whole = self.reachable()
        table = np.array(whole.transitions)
        parts, before = np.unique(whole.answers, return_inverse=True)[1], 0
        while parts.max() >= before:
            before = parts.max() + 1
            for after in table.T:
                parts = np.unique(parts * len(table) + parts[after], return_inverse=True)[1]
        first = np.unique(parts, return_index=True)[1]
        answers = [whole.answers[state] for state in first]
        return Automaton(parts[table[first]], answers, int(parts[0])).reachable()

    def distinguishing_word(self, other: "Automaton") -> tuple[int, ...] | None:
        """A shortest word after whose last letter two automata answer differently; None if there is none.

        Raises:
            ValueError: `other` has another number of letters.

        >>> Automaton([[0, 1], [1, 0]], answers=[0, 1]).distinguishing_word(Automaton([[0, 1], [1, 1]], answers=[0, 1]))
        (1, 1)
        """
        if other.num_letters != self.num_letters:
            raise ValueError(f"`other` must have {self.num_letters} letters, got {other.num_letters}")
        begin = (self.start, other.start)
        reached_from: dict[Pair, tuple[Pair, int] | None] = {begin: None}
        todo = deque([begin])
        while todo:
            pair = todo.popleft()
            nexts = zip(self.transitions[pair[0]], other.transitions[pair[1]], strict=True)
            for letter, after in enumerate(nexts):
                if self.answers[after[0]] != other.answers[after[1]]:
                    return (*_word_to(pair, reached_from), letter)
                if after not in reached_from:
                    reached_from[after] = (pair, letter)
                    todo.append(after)
        return None

    def to_json(self) -> str:
        """The automaton as JSON text, an object with the keys transitions, answers and start.

        >>> Automaton([[0, 1], [1, 0]], answers=[0, 1]).to_json()
        '{"transitions": [[0, 1], [1, 0]], "answers": [0, 1], "start": 0}'
        """
        return to_json(asdict(self))

    @classmethod
    def from_json(cls, content: bytes | str, where: str = "the automaton") -> "Automaton":
        """Reads the JSON text of `to_json`; without the key start, state 0 is the start.

        Args:
            content: the text.
            where: the name of the text in errors, such as its path.

        Raises:
            ValueError: the text is not JSON, has another key, or does not hold the tables of an automaton.
        """
        values = parse_json(content, where)
        if not isinstance(values, dict):
            raise ValueError(f"{where} must hold a JSON object, got {type(values).__name__}")
        try:
            return from_dict(cls, values, where)
        except TypeError as error:
            raise ValueError(f"{where}: {error}") from None

    @cached_property
    def _rows(self) -> np.ndarray:
        """The transitions, flat, as the places of the rows that they lead to."""
        return np.array(self.transitions, np.int64).ravel() * self.num_letters

    @cached_property
    def _answers(self) -> Tensor:
        return torch.tensor(self.answers)


def _table(name: str, values: Sequence[int] | Sequence[Sequence[int]], what: str) -> np.ndarray:
    """The values as an array of ints, of two axes for transitions and one for answers."""
    axes = 2 if name == "transitions" else 1
    try:
        table = np.asarray(values)
    except ValueError:
        raise ValueError(f"`{name}` must be {what}, got rows of different lengths") from None
    if table.ndim != axes or not table.size:
        raise ValueError(f"`{name}` must be {what}, at least one of each, got shape {table.shape}")
    if table.dtype.kind not in "iu":
        raise TypeError(f"`{name}` must be ints, got {table.dtype}")
    return table.astype(np.int64)


def _check_numbers(name: str, values: Tensor, axes: int, below: int) -> None:
    """Raises unless these are int64 on the CPU, of so many axes, in [0, `below`)."""
    if values.dim() != axes or values.dtype != torch.int64 or values.device.type != "cpu":
        found = f"{values.dtype} {tuple(values.shape)} on {values.device}"
        raise ValueError(f"`{name}` must be int64 {('(B,)', '(B, T)')[axes - 1]} on the CPU, got {found}")
    if values.numel() and not 0 <= values.min() <= values.max() < below:
        raise ValueError(f"`{name}` must be in [0, {below}), got {values.min()} to {values.max()}")


def _word_to(pair: Pair, reached_from: dict[Pair, tuple[Pair, int] | None]) -> tuple[int, ...]:
    """The letters of the walk to a pair of states; `reached_from` has the pair and the letter before each."""
    letters = []
    while (step := reached_from[pair]) is not None:
        pair = step[0]
        letters.append(step[1])
    return tuple(reversed(letters))
