"""What tasks on words share: letters in, the state after every letter out, in streams of any length."""

from abc import abstractmethod

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.tasks.base import BLOCK, GeneratedTask, Stream, blocks, example_generators


class WordTask(GeneratedTask):
    """A word of letters, to be answered at every step with the state that the letters so far lead to.

    A subclass says how letters are drawn and how they move the state, which starts at 0.

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

    @abstractmethod
    def draw_letters(self, size: tuple[int, ...], generator: torch.Generator, *, begins: bool) -> Tensor:
        """Draws letters.

        Args:
            size: their shape, (..., T).
            generator: what they are drawn from.
            begins: whether they are the first letters of their words, or later ones.

        Returns:
            The letters, int64 (..., T).
        """

    @abstractmethod
    def follow(self, letters: Tensor, state: Tensor) -> Tensor:
        """Computes the states that letters lead to.

        Args:
            letters: int64 (B, T).
            state: the state before the first of them, int64 (B,).

        Returns:
            The state after each letter, int64 (B, T).
        """

    @property
    def length(self) -> int:
        """The number of letters trained with."""
        return self.steps

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws letters and states, both int64 (B, T)."""
        check_at_least("batch_size", batch_size, 1)
        letters = self.draw_letters((batch_size, self.steps), generator, begins=True)
        return letters, self.follow(letters, letters.new_zeros(batch_size))

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Draws every word from a generator of its own, a block at a time; each chunk comes with its states."""
        sizes = blocks(length)
        return self._chunks(example_generators(self, split, start, stop), list(sizes))

    def _chunks(self, generators: list[torch.Generator], sizes: list[int]) -> Stream:
        state = torch.zeros(len(generators), dtype=torch.int64)
        for i, size in enumerate(sizes):
            drawn = [self.draw_letters((BLOCK,), generator, begins=i == 0) for generator in generators]
            letters = torch.stack(drawn)[:, :size]
            states = self.follow(letters, state)
            state = states[:, -1]
            yield letters, states
