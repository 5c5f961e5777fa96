"""The walk through every pair of states that a model and an automaton reach together, which proves or refutes."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.analysis.automata.model_machine import Machine
from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.metrics import IGNORED

OUTCOMES = ("right", "wrong", "too many states")
"""How a walk ends."""
MOST_STATES = 100_000
"""The most pairs of states that are walked through unless another number is given."""
NO_ANSWER = -1
"""The answer where no logit is larger than all others: in a tie, and with NaN."""
CHUNK = 4096
"""How many transitions are looked at together."""


class Replay(NamedTuple):
    """What the model answers after the last letter of a word that is run from its start, one sequence alone.

    Attributes:
        target: the answer that is right.
        forward: the answer of one call with the whole word; `NO_ANSWER` where no logit is larger than all others.
        step: the answer after as many calls of `SequenceModel.step`.
    """

    target: int
    forward: int
    step: int


class Walked(NamedTuple):
    """The states that were met, and what letters do in them.

    Attributes:
        states: the model's states in the order in which they were met, the start state first, uint8 (M, W).
        after: the state that each letter leads to, int64 (N, V), for the first N of them, which are all M after a
            whole walk.
        answers: the answer after each letter, int64 (N, V); `NO_ANSWER` where no logit is larger than all others.
        pairs: the state of the model and that of the automaton, int64 (P, 2), in the order in which they were met.
    """

    states: Tensor
    after: Tensor
    answers: Tensor
    pairs: Tensor


@dataclass(frozen=True)
class Verdict:
    """How a walk ended.

    Attributes:
        outcome: one of `OUTCOMES`: "right" at every length; "wrong" after `word`; or "too many states" to end the walk,
            in which no wrong answer was met.
        states: P, how many pairs of states were met.
        length: up to this number of letters, every word was found right; None if words of every length are.
        word: a shortest word after whose last letter the answer is wrong; None if none was met.
        margin: the smallest difference between the logit of the right answer and the largest other one, over all
            answers that were asked for and right; infinity where there was none, or no other logit.
        replay: what the model answers to `word`, run from the start.
        walked: what was met.
    """

    outcome: str
    states: int
    length: int | None
    word: tuple[int, ...] | None
    margin: float
    replay: Replay | None
    walked: Walked = field(repr=False)


def walk(machine: Machine, automaton: Automaton, *, most_states: int = MOST_STATES) -> Verdict:
    """Compares a model with an automaton over all words, by a walk through the pairs of states that both reach.

    Breadth first from both start states, every letter is tried in every pair, with the model's own step. If every
    answer is right, the model is right for words of every length, which no test can show. The answer of a model is the
    class of its largest logit; where another one equals it, which rounding on another machine may tip, it is counted as
    wrong. Where the automaton's answer is `IGNORED`, nothing is asked, and the walk goes on.

    Args:
        machine: the model.
        automaton: what gives the right answers, with the letters that the model reads.
        most_states: the number of pairs after which the walk is given up, at least 1.

    Returns:
        The verdict, with a shortest word on which the model fails, if there is one.

    Raises:
        ValueError: the model reads another number of letters, or gives fewer answers; or `most_states` is below 1.
        TypeError: an argument is of another type.

    Source: breadth-first search of the product of two automata, as in Hopcroft and Karp (1971).

    >>> from remanent import ModelConfig, SequenceModel
    >>> from remanent.tasks import Parity
    >>> config = ModelConfig(2, 2, unit="mru", encoder="table", num_layers=1, state_size=4, num_states=2, head="every")
    >>> verdict = walk(Machine(SequenceModel(config).eval()), Parity.automaton)
    >>> verdict.outcome, len(verdict.word) > 0  # nothing was learned yet
    ('wrong', True)
    """
    check_at_least("most_states", most_states, 1)
    check_same_letters(machine, automaton)
    return _Walk(machine, automaton).run(most_states)


def check_same_letters(machine: Machine, automaton: Automaton) -> None:
    """Raises unless a model reads the letters of an automaton, and can give its answers."""
    if not isinstance(machine, Machine):
        raise TypeError(f"`machine` must be a Machine, such as Machine(model), got {type(machine).__name__}")
    if not isinstance(automaton, Automaton):
        raise TypeError(f"`automaton` must be an Automaton, such as task.automaton, got {type(automaton).__name__}")
    letters, answers = automaton.num_letters, automaton.num_answers
    if machine.num_letters != letters:
        raise ValueError(f"`machine` must read the automaton's {letters} letters, got {machine.num_letters}")
    if machine.num_answers < answers:
        raise ValueError(f"`machine` must have a logit for each of {answers} answers, got {machine.num_answers}")


class Decided(NamedTuple):
    """Answers and how clear they are.

    Attributes:
        answers: the class of the largest logit, int64 (...); `NO_ANSWER` where no logit is larger than all others.
        margins: how much larger it is than any other, float64 (...).
    """

    answers: np.ndarray
    margins: np.ndarray


def decide(logits: Tensor) -> Decided:
    """The answers that logits (..., C) give.

    >>> decide(torch.tensor([[1.0, 3.0, 2.0], [2.0, 2.0, 0.0]]))
    Decided(answers=array([ 1, -1]), margins=array([1., 0.]))
    """
    wide = logits.double()
    best, answers = wide.max(-1)
    others = wide.scatter(-1, answers[..., None], -torch.inf).amax(-1)
    margins = best - others  # NaN where any logit is NaN, or two are infinite
    return Decided(torch.where(margins > 0, answers, NO_ANSWER).numpy(), margins.numpy())


class _Walk:
    """The pairs met so far, and the model's states in them, whose transitions are computed once each.

    A state is numbered when a pair with it is met, and computed when that pair is processed; both in one order, so that
    the states with known transitions are always the first ones.
    """

    def __init__(self, machine: Machine, automaton: Automaton) -> None:
        self.machine, self.automaton = machine, automaton
        self.delta, self.targets = np.array(automaton.transitions), np.array(automaton.answers)
        start = machine.start.numpy().tobytes()
        self.states = [start]
        self.number = {start: 0}
        self.after: list[np.ndarray] = []
        self.decided: list[Decided] = []
        self.pairs = [(0, automaton.start)]
        self.place = {self.pairs[0]: 0}
        self.came: list[tuple[int, int]] = [(-1, -1)]  # the pair before and the letter
        self.depth = [0]
        self.margin = np.inf

    def run(self, most_states: int) -> Verdict:
        chunk, done = max(1, CHUNK // self.machine.num_letters), 0
        while done < len(self.pairs):
            end = min(done + chunk, len(self.pairs))
            if (wrong := self._process(done, end)) is not None:
                return self._refuted(*wrong)
            done = end
            if len(self.pairs) > most_states:
                return self._verdict("too many states", length=self.depth[done])
        return self._verdict("right")

    def _process(self, begin: int, end: int) -> tuple[int, int] | None:
        """Tries every letter in some pairs; gives the first pair and letter after which the answer is wrong."""
        pairs = np.array(self.pairs[begin:end])
        self._compute(int(pairs[:, 0].max()) + 1)
        after = np.stack([self.after[state] for state in pairs[:, 0]])
        answers, margins = (
            np.stack(rows) for rows in zip(*(self.decided[state] for state in pairs[:, 0]), strict=True)
        )
        nexts = self.delta[pairs[:, 1]]
        targets = self.targets[nexts]
        asked, right = targets != IGNORED, answers == targets
        self.margin = min(self.margin, margins[asked & right].min(initial=np.inf))
        wrong = asked & ~right
        if wrong.any():
            pair, letter = divmod(int(wrong.argmax()), wrong.shape[1])
            return begin + pair, letter
        keys = np.unique(after * len(self.delta) + nexts, return_index=True)[1]
        for place in np.sort(keys).tolist():  # in the order of pairs and letters
            pair, letter = divmod(place, wrong.shape[1])
            self._meet((int(after[pair, letter]), int(nexts[pair, letter])), begin + pair, letter)
        return None

    def _meet(self, pair: tuple[int, int], before: int, letter: int) -> None:
        if pair not in self.place:
            self.place[pair] = len(self.pairs)
            self.pairs.append(pair)
            self.came.append((before, letter))
            self.depth.append(self.depth[before] + 1)

    def _compute(self, stop: int) -> None:
        """Computes what every letter does in the model's states before `stop`, and numbers the new states."""
        begin = len(self.after)
        if begin >= stop:
            return
        states = torch.frombuffer(bytearray().join(self.states[begin:stop]), dtype=torch.uint8).view(stop - begin, -1)
        logits, after = self.machine.step(states)
        answers, margins = decide(logits)
        self.decided.extend(map(Decided, answers, margins))
        width, content = self.machine.width, after.numpy().tobytes()
        for row in range(0, len(content), width * self.machine.num_letters):
            places = range(row, row + width * self.machine.num_letters, width)
            self.after.append(np.array([self._numbered(content[place : place + width]) for place in places]))

    def _numbered(self, state: bytes) -> int:
        number = self.number.setdefault(state, len(self.states))
        if number == len(self.states):
            self.states.append(state)
        return number

    def _refuted(self, pair: int, letter: int) -> Verdict:
        word = (*self._word_to(pair), letter)
        target = int(self.automaton.run(torch.tensor([word]))[0, -1])
        found = replay(self.machine, word, target)
        if found.step == target:
            raise RuntimeError(f"the model's step must have the same bits alone as in a batch, got others after {word}")
        return self._verdict("wrong", length=len(word) - 1, word=word, found=found)

    def _word_to(self, pair: int) -> tuple[int, ...]:
        letters = []
        while pair > 0:
            pair, letter = self.came[pair]
            letters.append(letter)
        return tuple(reversed(letters))

    def _verdict(
        self,
        outcome: str,
        *,
        length: int | None = None,
        word: tuple[int, ...] | None = None,
        found: Replay | None = None,
    ) -> Verdict:
        states = torch.frombuffer(bytearray().join(self.states), dtype=torch.uint8).view(len(self.states), -1)
        after = torch.from_numpy(np.stack(self.after))
        answers = torch.from_numpy(np.stack([decided.answers for decided in self.decided]))
        walked = Walked(states, after, answers, torch.tensor(self.pairs))
        return Verdict(outcome, len(self.pairs), length, word, float(self.margin), found, walked)


@torch.no_grad()
def replay(machine: Machine, word: tuple[int, ...], target: int) -> Replay:
    """Runs a word from the model's start by itself, as a whole and step by step."""
    model, state = machine.model, None
    letters = torch.tensor([word], device=model.head.weight.device)
    whole = model(letters)[0]
    for letter in letters.unbind(1):
        y, state = model.step(letter, state)
    last = whole[:, -1] if model.config.head == "every" else whole
    return Replay(target, int(decide(last.cpu()).answers[0]), int(decide(y.cpu()).answers[0]))
