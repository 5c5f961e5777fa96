"""The configuration of a training: how long, how fast, how often kept."""

from dataclasses import dataclass

from remanent._options import check_at_least, check_range


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Args:
        steps: optimiser steps, at least 1.
        batch_size: sequences a step, at least 1.
        learning_rate: of AdamW, its highest value, above 0.
        weight_decay: of AdamW, on matrices alone, at least 0.
        warmup: the share of steps in which the learning rate rises from 0, in [0, 1); then it falls
            to 0 as a cosine.
        gradient_clip: the largest norm of the gradient, above 0.
        anneal: whether epsilon of bistable units goes from 1 to 0 in training.
        anneal_hold: the share of steps at the start in which epsilon stays at 1, in [0, 1).
        anneal_ramp: the share of steps after that in which it falls to 0 in a line, in (0, 1].
        checkpoint_every: steps between checkpoints, each with a look at the validation split.
        seed: of the weights and of every batch.
        threads: torch threads; the same number gives the same bits.

    Raises:
        ValueError: a value is out of its range.
        TypeError: a count is not an int.
    """

    steps: int = 500
    batch_size: int = 64
    learning_rate: float = 6e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    gradient_clip: float = 1.0
    anneal: bool = True
    anneal_hold: float = 0.05
    anneal_ramp: float = 0.6
    checkpoint_every: int = 50
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every", "threads"):
            check_at_least(name, getattr(self, name), 1)
        check_at_least("seed", self.seed, 0)
        infinite = float("inf")
        check_range("learning_rate", self.learning_rate, 0, infinite, open_low=True)
        check_range("weight_decay", self.weight_decay, 0, infinite)
        check_range("warmup", self.warmup, 0, 1, open_high=True)
        check_range("gradient_clip", self.gradient_clip, 0, infinite, open_low=True)
        check_range("anneal_hold", self.anneal_hold, 0, 1, open_high=True)
        check_range("anneal_ramp", self.anneal_ramp, 0, 1, open_low=True)
        if self.anneal and self.anneal_hold + self.anneal_ramp > 1:
            total = self.anneal_hold + self.anneal_ramp
            raise ValueError(f"`anneal_hold` and `anneal_ramp` must sum to at most 1, got {total}")

    def epsilon(self, step: int) -> float:
        """Epsilon in a step: 1, then a line down, then exactly 0."""
        share = step / self.steps
        if share < self.anneal_hold:
            return 1.0
        return max(0.0, 1.0 - (share - self.anneal_hold) / self.anneal_ramp)
