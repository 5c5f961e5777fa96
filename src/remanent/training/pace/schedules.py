"""The learning rate of each step: how it rises, stays while lengths grow, and falls until the run ends."""

import math

from remanent.records.training_config import TrainingConfig
from remanent.training.pace.settling import Settling

FIRST, LAST = 1 / 25, 1 / 250_000
"""Where one cycle begins and ends, as shares of the highest rate: those of `torch.optim.lr_scheduler.OneCycleLR`."""


def rate_share(step: int, config: TrainingConfig, settling: Settling) -> float:
    """The share of the highest learning rate in a step.

    It rises in the first steps, by the clock, and falls from where it may: from the step at which the length is full,
    or the training settles. Until that is known, it stays up.

    Args:
        step: the number of the step.
        config: the training's configuration.
        settling: where the rate may fall, and where the run ends.
    """
    rise = round(config.warmup * config.steps)
    once = config.schedule == "one-cycle"
    if step < rise:
        return _cosine(step / max(1, rise - 1), FIRST, 1.0) if once else (step + 1) / rise
    if settling.falls_from is None:
        return 1.0
    start = max(rise, settling.falls_from)
    if config.schedule == "constant":
        start = max(start, settling.end - round(config.decay * (config.settle_steps or config.steps)))
        return 1.0 - _share(step, start, settling.end)
    if once:  # from the highest rate, which the last step of the rise has, to the lowest one in the last step
        before = max(0, start - 1)
        return _cosine(_share(step, before, settling.end - 1), 1.0, LAST)
    return _cosine(_share(step, start, settling.end), 1.0, 0.0)


def _share(step: int, start: int, end: int) -> float:
    """The share of the steps from `start` to `end` that is over."""
    return min(1.0, max(0.0, (step - start) / max(1, end - start)))


def _cosine(share: float, first: float, last: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))
