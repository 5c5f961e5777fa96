"""Copy-first-input: hold one number through any amount of noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.tasks.base import GeneratedTask, Stream, example_generators
from remanent.tasks.chunks import noise_blocks


@dataclass(frozen=True)
class CopyFirst(GeneratedTask):
    r"""Copy-first-input: $x_t \sim N(0, 1)$ for T steps; the answer after the last is $x_1$.

    The metric is the mean squared error; always answering 0 scores 1.

    Args:
        steps: T, the number of steps, at least 1.

    Raises:
        ValueError: `steps` is below 1.

    Source: Vecoven, Ernst, Drion (2021), PLoS ONE; De Geeter et al. (2026), arXiv 2601.09495.

    >>> x, y = CopyFirst(steps=5).batch(2, torch.Generator().manual_seed(0))
    >>> torch.equal(x[:, 0], y)
    True
    """

    name = "copy-first"
    metric = "mse"
    length_name = "steps"
    length_option = "steps"
    input_size = 1
    """One number a step."""
    output_size = 1
    """One number."""
    chance = 1.0
    """The error of always answering 0."""

    steps: int = 300

    def __post_init__(self) -> None:
        check_at_least("steps", self.steps, 1)

    @property
    def length(self) -> int:
        """The number of steps trained with."""
        return self.steps

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws inputs (B, T, 1) and targets (B, 1)."""
        check_at_least("batch_size", batch_size, 1)
        x = torch.randn(batch_size, self.steps, 1, generator=generator)
        return x, x[:, 0].clone()

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Draws each example from a generator of its own, a block at a time; the target comes last."""
        return _chunks(noise_blocks(example_generators(self, split, start, stop), length, 1), length)


def _chunks(noise: Iterator[Tensor], length: int) -> Stream:
    first: Tensor | None = None
    steps = 0
    for block in noise:
        first = block[:, 0] if first is None else first
        steps += block.shape[1]
        yield block, first if steps == length else None
