"""Delayed integration: remember for long which of two noisy channels to average, then average it."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from remanent._options import check_at_least, check_range
from remanent.tasks.base import GeneratedTask, Stream, example_generators
from remanent.tasks.chunks import noise_blocks


@dataclass(frozen=True)
class DelayedIntegration(GeneratedTask):
    r"""Delayed integration: a cue, a delay, then a window; the answer is the mean of the cued channel over the window.

    A step is (cue, u, v, flag). The cue is $\pm 1$ at the first step, +1 for u and -1 for v, and 0 after it; u and v
    are $N(0, \sigma^2)$ noise. From step K on, for W steps, the flag is 1 and u and v each have a mean
    of their own, drawn from U(-1, 1). The answer after the last step is the cued channel's sample mean over the
    window: the cue needs memory that lasts, the mean needs a state that changes step by step.

    The metric is the mean squared error; always answering 0 scores $1/3 + \sigma^2 / W$.

    Args:
        delay: K, the number of steps before the window, the first of which has the cue, at least 1.
        window: W, the number of steps of the window, at least 1.
        noise: sigma, the standard deviation of the noise, at least 0.

    Raises:
        ValueError: an option is out of its range.

    >>> x, y = DelayedIntegration(delay=3, window=2).batch(1, torch.Generator().manual_seed(0))
    >>> x[0, :, 3].tolist()
    [0.0, 0.0, 0.0, 1.0, 1.0]
    """

    name = "delayed-integration"
    metric = "mse"
    length_name = "steps of delay"
    length_option = "delay"
    extends = False
    input_size = 4
    """Cue, two channels, flag."""
    output_size = 1
    """One mean."""

    delay: int = 200
    window: int = 20
    noise: float = 0.7

    def __post_init__(self) -> None:
        check_at_least("delay", self.delay, 1)
        check_at_least("window", self.window, 1)
        check_range("noise", self.noise, 0, float("inf"))

    @property
    def length(self) -> int:
        """The delay trained with."""
        return self.delay

    @property
    def chance(self) -> float:
        """The error of always answering 0: the variance of a sample mean."""
        return 1 / 3 + self.noise**2 / self.window

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws inputs (B, K + W, 4) and targets (B, 1)."""
        check_at_least("batch_size", batch_size, 1)
        drawn = torch.rand(batch_size, 3, generator=generator)
        noise = torch.randn(batch_size, self.delay + self.window, 2, generator=generator)
        (x, y), *_ = self._chunks(drawn, [noise], self.delay)
        assert y is not None
        return x, y

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Draws each example from a generator of its own, with the same cue and means at every delay."""
        check_at_least("length", length, 1)
        generators = example_generators(self, split, start, stop)
        drawn = torch.stack([torch.rand(3, generator=g) for g in generators])
        return self._chunks(drawn, noise_blocks(generators, length + self.window, 2), length)

    def _chunks(self, drawn: Tensor, noise: Iterable[Tensor], delay: int) -> Stream:
        """Inputs from numbers in [0, 1) for the cue and both means (B, 3), and chunks of noise (B, T, 2)."""
        cue = torch.where(drawn[:, 0] < 0.5, -1.0, 1.0)
        means = 2 * drawn[:, 1:] - 1
        begin, end = 0, delay + self.window
        total = torch.zeros(len(drawn), 1)
        for block in noise:
            steps = torch.arange(begin, begin + block.shape[1])
            flag = (steps >= delay).float()
            channels = self.noise * block + flag[:, None] * means[:, None]
            chosen = torch.where(cue[:, None] > 0, channels[..., 0], channels[..., 1])
            total = total + (chosen * flag).sum(1, keepdim=True)
            shown = torch.where(steps == 0, cue[:, None], 0)
            x = torch.cat([shown[..., None], channels, flag[:, None].expand(len(cue), -1, 1)], dim=2)
            begin += block.shape[1]
            yield x, total / self.window if begin == end else None
