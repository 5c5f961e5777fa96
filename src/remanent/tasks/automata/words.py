"""What tasks on words share: letters in, an automaton's answer after every letter out, in streams of any length."""

from abc import abstractmethod

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.automata.walks import Walk, Word
from remanent.tasks.base import GeneratedTask, Stream, example_generators
from remanent.tasks.chunks import BLOCK, blocks


class WordTask(GeneratedTask):
    """A word of letters, to be answered at every step as an automaton answers.

    A subclass declares the automaton, and says how letters are drawn.

    >>> from remanent.tasks import Parity
    >>> isinstance(Parity(), WordTask)
    True
    """

    metric = "sequence_accuracy"
    length_name = "steps"
    length_option = "steps"
    head = "every"
    tokens = True

    steps: int

    @property
    @abstractmethod
    def automaton(self) -> Automaton:
        """What moves from state to state by the letters, and whose answers are the targets."""

    @property
    def letter_names(self) -> tuple[str, ...]:
        """What letters are called in pictures: their numbers, unless a subclass has names for them."""
        return tuple(str(letter) for letter in range(self.input_size))

    @abstractmethod
    def draw(self, size: tuple[int, ...], generator: torch.Generator, *, begin: int) -> Tensor:
        """Draws letters, or what `spell` makes letters of.

        Args:
            size: their shape, (..., T).
            generator: what they are drawn from.
            begin: how many letters of the words come before these: 0 at the first ones.

        Returns:
            The letters, int64 (..., T).
        """

    def spell(self, drawn: Tensor, carry: Tensor) -> Word:
        """Gives the letters of words, which are what was drawn unless a subclass says otherwise, and their states.

        Args:
            drawn: what `draw` gave, int64 (B, T).
            carry: the start state; or what the letters before these left, int64 (B,).
        """
        states = self.automaton.states(drawn, carry)
        return Word(drawn, states, states[:, -1])

    @property
    def input_size(self) -> int:
        """V, the number of letters."""
        return self.automaton.num_letters

    @property
    def output_size(self) -> int:
        """The number of answers."""
        return self.automaton.num_answers

    @property
    def length(self) -> int:
        """The number of letters trained with."""
        return self.steps

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws letters and answers, both int64 (B, T)."""
        check_at_least("batch_size", batch_size, 1)
        drawn = self.draw((batch_size, self.steps), generator, begin=0)
        word = self.spell(drawn, self._begin(batch_size))
        return word.letters, self.automaton.answers_in(word.states)

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Draws every word from a generator of its own, a block at a time; each chunk comes with its answers."""
        sizes = blocks(length)
        return self._chunks(example_generators(self, split, start, stop), list(sizes))

    def _chunks(self, generators: list[torch.Generator], sizes: list[int]) -> Stream:
        carry = self._begin(len(generators))
        for i, size in enumerate(sizes):
            drawn = torch.stack([self.draw((BLOCK,), generator, begin=i * BLOCK) for generator in generators])
            word = self.spell(drawn[:, :size], carry)
            carry = word.carry
            yield word.letters, self.automaton.answers_in(word.states)

    def _begin(self, words: int) -> Tensor:
        """The state before the first letter of so many words, (B,)."""
        return torch.full((words,), self.automaton.start)


class LanguageTask(WordTask):
    """A word that is asked about at every step, such as whether it belongs to a language so far.

    Letters are drawn by the state, as `Walk` says. The metric is the share of words that are right at every step. A
    subclass declares the walk.

    >>> from remanent.tasks import Tomita
    >>> isinstance(Tomita(), LanguageTask)
    True
    """

    @property
    @abstractmethod
    def walk(self) -> Walk:
        """The walk through the automaton that letters come from."""

    @property
    def automaton(self) -> Automaton:
        """What says whether a word belongs to the language: its answers are the targets."""
        return self.walk.automaton

    @property
    def chance(self) -> float:
        """The share of words that the best fixed answers are right for, as `Walk.guess` finds them."""
        return self.walk.guess(self.steps)

    def draw(self, size: tuple[int, ...], generator: torch.Generator, *, begin: int) -> Tensor:
        """Draws what letters are chosen by; see `WordTask`."""
        return self.walk.draw(size, generator, begin=begin)

    def spell(self, drawn: Tensor, carry: Tensor) -> Word:
        """Chooses letters; see `WordTask`."""
        return self.walk.spell(drawn, carry)
