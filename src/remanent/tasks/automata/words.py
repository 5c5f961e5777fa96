"""What tasks on words share: letters in, the state after every letter out, in streams of any length."""

from abc import abstractmethod

import torch
from torch import Tensor

from remanent.tasks.base import BLOCK, GeneratedTask, Stream, blocks, example_generators


class WordTask(GeneratedTask):
    """A word of letters, to be answered at every step with the state that the letters so far lead to.

    A task says how letters are drawn and how they move the state, which starts at 0.

    >>> from remanent.tasks.automata.parity import Parity
    >>> isinstance(Parity(), WordTask)
    True
    """

    metric = "sequence_accuracy"
    length_name = "steps"
    head = "every"
    tokens = True

    steps: int

    @abstractmethod
    def _draw(self, size: tuple[int, ...], generator: torch.Generator, *, begins: bool) -> Tensor:
        """Letters (..., T), which begin their words or go on with them."""

    @abstractmethod
    def _follow(self, letters: Tensor, state: Tensor) -> Tensor:
        """The states (B, T) after each of the letters (B, T), from the state (B,) before them."""

    @property
    def length(self) -> int:
        """The length trained at."""
        return self.steps

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws letters and states, both int64 (B, T)."""
        letters = self._draw((batch_size, self.steps), generator, begins=True)
        return letters, self._follow(letters, letters.new_zeros(batch_size))

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Every word is a stream of its own, drawn a block at a time; each chunk holds its states."""
        sizes = blocks(length)
        return self._chunks(example_generators(self, split, start, stop), list(sizes))

    def _chunks(self, generators: list[torch.Generator], sizes: list[int]) -> Stream:
        state = torch.zeros(len(generators), dtype=torch.int64)
        for i, size in enumerate(sizes):
            letters = torch.stack([self._draw((BLOCK,), g, begins=i == 0) for g in generators])[:, :size]
            states = self._follow(letters, state)
            state = states[:, -1]
            yield letters, states
