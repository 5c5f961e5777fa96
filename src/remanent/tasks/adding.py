"""The adding problem: find two marked numbers in noise, and say their sum at the end."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.tasks.base import GeneratedTask, Stream, example_generators
from remanent.tasks.chunks import BLOCK, drawn_blocks
from remanent.tasks.placing import place


@dataclass(frozen=True)
class Adding(GeneratedTask):
    r"""Adding: two of T random numbers are marked; the answer after the last step is their sum.

    A step is $(v_t, f_t)$ with $v_t \sim U(0, 1)$ and $f_t = 0$, except that $f_t = 1$ at one random step of the first
    half and at one of the second half. In longer sequences the marks are farther apart, with more numbers
    around them. The metric is the mean squared error; always answering 1 scores 1/6.

    Args:
        steps: T, the number of steps, at least 2.

    Raises:
        ValueError: `steps` is below 2.

    Source: Hochreiter and Schmidhuber (1997), whose numbers are from [-1, 1], whose marks stand in the first half and
    whose sequences have random lengths; in this form Le, Jaitly, Hinton (2015), arXiv 1504.00941, and Arjovsky, Shah,
    Bengio (2016), arXiv 1511.06464.

    >>> x, y = Adding(steps=6).batch(1, torch.Generator().manual_seed(0))
    >>> torch.equal((x[..., 0] * x[..., 1]).sum(1, keepdim=True), y)
    True
    """

    name = "adding"
    metric = "mse"
    length_name = "steps"
    length_option = "steps"
    extends = False
    input_size = 2
    """A number and a mark."""
    output_size = 1
    """One sum."""
    chance = 1 / 6
    """The error of always answering 1: the variance of the sum."""

    steps: int = 100

    def __post_init__(self) -> None:
        check_at_least("steps", self.steps, 2)

    @property
    def length(self) -> int:
        """The number of steps trained with."""
        return self.steps

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws inputs (B, T, 2) and targets (B, 1)."""
        check_at_least("batch_size", batch_size, 1)
        marks = _marks(batch_size, self.steps, generator)
        numbers = torch.rand(batch_size, self.steps, generator=generator)
        (x, y), *_ = _chunks(marks, [numbers], self.steps)
        assert y is not None
        return x, y

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Draws each example from a generator of its own; at another length, its marks are at other steps."""
        check_at_least("length", length, 2)
        generators = example_generators(self, split, start, stop)
        marks = torch.cat([_marks(1, length, g) for g in generators])
        return _chunks(marks, drawn_blocks(generators, length, lambda g: torch.rand(BLOCK, generator=g)), length)


def _marks(rows: int, length: int, generator: torch.Generator) -> Tensor:
    """A step of the first half and one of the second half of sequences, int64 (rows, 2)."""
    half = length // 2
    sizes = ((0, half), (half, length))
    return torch.stack([torch.randint(low, high, (rows,), generator=generator) for low, high in sizes], dim=1)


def _chunks(marks: Tensor, numbers: Iterable[Tensor], length: int) -> Stream:
    """Inputs and targets from the marked steps (B, 2) and chunks of numbers (B, at most `BLOCK`)."""
    begin, total = 0, torch.zeros(len(marks), 1)
    for v in numbers:
        flag = place(begin, v.shape[1], marks, torch.ones(marks.shape), 0.0)
        total = total + (v * flag).sum(1, keepdim=True)
        begin += v.shape[1]
        yield torch.stack([v, flag], dim=2), total if begin == length else None
