"""Denoising: find five marked values in noise, hold them, and repeat them in order at the end."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.tasks.base import GeneratedTask, Stream, example_generators
from remanent.tasks.chunks import noise_blocks
from remanent.tasks.placing import choose, choose_rows

MARKS = 5
"""The number of marked values."""


@dataclass(frozen=True)
class Denoising(GeneratedTask):
    r"""Denoising: five of many random values are marked; the answers at the last five steps are these values, in order.

    A step is $(v_t, f_t)$ with $v_t \sim N(0, 1)$ and $f_t = 0$; at five different random steps among
    the first T - N - 5, $f_t = 1$; at the last five steps $v_t = 0$ and $f_t = -1$, which asks for the
    five marked values. The metric is the mean squared error; always answering 0 scores 1.

    Args:
        steps: T, the number of steps, at least N + 10.
        hold: N, the fewest steps between the last mark and the first answer, at least 0.

    Raises:
        ValueError: an option is out of its range.

    Source: Vecoven, Ernst, Drion (2021), PLoS ONE.

    >>> x, y = Denoising(steps=20, hold=5).batch(1, torch.Generator().manual_seed(0))
    >>> torch.equal(x[x[..., 1] == 1][:, 0], y[0, -5:, 0])
    True
    """

    name = "denoising"
    metric = "mse"
    length_name = "steps"
    length_option = "steps"
    head = "every"
    extends = False
    input_size = 2
    """A value and a flag."""
    output_size = 1
    """One value."""
    chance = 1.0
    """The error of always answering 0."""

    steps: int = 400
    hold: int = 200

    def __post_init__(self) -> None:
        check_at_least("hold", self.hold, 0)
        check_at_least("steps", self.steps, self._shortest)

    def at_length(self, length: int) -> "Denoising":
        """See `Task`; the steps after the last mark keep their share."""
        return dataclasses.replace(self, steps=length, hold=round(self.hold * length / self.steps))

    @property
    def _shortest(self) -> int:
        return self.hold + 2 * MARKS

    @property
    def length(self) -> int:
        """The number of steps trained with."""
        return self.steps

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws inputs (B, T, 2) and targets (B, T, 1), NaN before the last five steps."""
        check_at_least("batch_size", batch_size, 1)
        marks = choose_rows(batch_size, MARKS, self.steps - self.hold - MARKS, generator)
        noise = torch.randn(batch_size, self.steps, generator=generator)
        (x, y), *_ = _chunks(marks, [noise], self.steps)
        assert y is not None
        return x, y

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Draws each example from a generator of its own; at another length, its marks are at other steps."""
        check_at_least("length", length, self._shortest)
        generators = example_generators(self, split, start, stop)
        marks = torch.tensor([choose(MARKS, length - self.hold - MARKS, g) for g in generators])
        return _chunks(marks, noise_blocks(generators, length), length)


def _chunks(marks: Tensor, noise: Iterable[Tensor], length: int) -> Stream:
    """Inputs and targets from sorted marked steps (B, 5) and chunks of noise (B, at most `BLOCK`)."""
    begin = 0
    values = torch.zeros(marks.shape)
    for v in noise:
        steps = torch.arange(begin, begin + v.shape[1])
        here = (marks >= begin) & (marks <= steps[-1])
        values = torch.where(here, v.gather(1, (marks - begin).clamp(0, v.shape[1] - 1)), values)
        flag = (steps[:, None] == marks[:, None, :]).any(-1).float()
        asked = steps >= length - MARKS
        place = (steps - (length - MARKS)).clamp(min=0)
        target = torch.where(asked, values[:, place], torch.nan)
        x = torch.stack([torch.where(asked, 0, v), torch.where(asked, -1, flag)], dim=2)
        yield x, target[..., None]
        begin += v.shape[1]
