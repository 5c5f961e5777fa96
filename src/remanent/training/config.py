"""The configuration of a training: how long, how fast, how often kept."""

from dataclasses import dataclass

from remanent.tasks.base import check_at_least


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Args:
        steps: optimiser steps, at least 1.
        batch_size: sequences a step, at least 1.
        learning_rate: of AdamW, its highest value, above 0.
        weight_decay: of AdamW, at least 0.
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
        for name, inside, rule in (
            ("learning_rate", 0 < self.learning_rate < infinite, "in (0, inf)"),
            ("weight_decay", 0 <= self.weight_decay < infinite, "in [0, inf)"),
            ("warmup", 0 <= self.warmup < 1, "in [0, 1)"),
            ("gradient_clip", 0 < self.gradient_clip < infinite, "in (0, inf)"),
            ("anneal_hold", 0 <= self.anneal_hold < 1, "in [0, 1)"),
            ("anneal_ramp", 0 < self.anneal_ramp <= 1, "in (0, 1]"),
        ):
            if not inside:
                raise ValueError(f"`{name}` must be {rule}, got {getattr(self, name)}")
        if self.anneal and self.anneal_hold + self.anneal_ramp > 1:
            total = self.anneal_hold + self.anneal_ramp
            raise ValueError(f"`anneal_hold` and `anneal_ramp` must sum to at most 1, got {total}")

    def epsilon(self, step: int) -> float:
        """Epsilon in a step: 1, then a line down, then exactly 0."""
        share = step / self.steps
        if share < self.anneal_hold:
            return 1.0
        return max(0.0, 1.0 - (share - self.anneal_hold) / self.anneal_ramp)
