"""How a model is trained: steps, rates, annealing, growing lengths, checkpoints; plain values, checked when made."""

from dataclasses import dataclass, field

from remanent._identity import OF_LATCHES, OWN_COLUMN, UNCOUNTED, added
from remanent._options import check_at_least, check_bool, check_choice, check_range
from remanent.latches.annealing import DEADLINE

SCORES = ("metric", "last")
"""What the running score of a training may be of: `TrainingConfig.curriculum_score`."""
SCHEDULES = ("cosine", "one-cycle", "constant")
"""How the learning rate may rise and fall: `TrainingConfig.schedule`."""
AVERAGES = ("none", "exponential", "equal")
"""How weights may be averaged: `TrainingConfig.average`."""
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""The types in which products may be computed: `TrainingConfig.precision`."""
KEPT = ("last", "best")
"""The weights with which a run may end: `TrainingConfig.keep`."""
MOST_THREADS = 1024
"""The most torch threads: where the system cannot start them all, the process dies without a message."""


class Annealing:
    """How epsilon falls, by three fields of the configuration of a training.

    Attributes:
        anneal: whether it is annealed.
        anneal_hold: the share of the training in which it stays at 1.
        anneal_ramp: the share after that in which it falls linearly to 0.
    """

    anneal: bool
    anneal_hold: float
    anneal_ramp: float

    def check_annealing(self) -> None:
        """Raises ValueError unless the shares are in their ranges, and together not more than the training."""
        check_range("anneal_hold", self.anneal_hold, 0, 1, open_high=True)
        check_range("anneal_ramp", self.anneal_ramp, 0, 1, open_low=True)
        total = self.anneal_hold + self.anneal_ramp
        if self.anneal and total > 1:
            raise ValueError(f"`anneal_hold` and `anneal_ramp` must sum to at most 1, got {total}")

    def epsilon(self, share: float) -> float:
        """Epsilon after a share of the training, or of the steps that settle it: 1, then falling to exactly 0."""
        if share < self.anneal_hold:
            return 1.0
        return max(0.0, 1.0 - (share - self.anneal_hold) / self.anneal_ramp)


@dataclass(frozen=True)
class TrainingConfig(Annealing):
    """How a model is trained.

    Args:
        steps: the number of optimiser steps, at least 1.
        batch_size: the number of sequences in a batch, at least 1.
        accumulate: the number of batches in a step, at least 1: its gradient is the mean of theirs, each of which is
            drawn from seeds of its own.
        learning_rate: the highest learning rate of AdamW, above 0.
        weight_decay: the weight decay of AdamW, for matrices only, at least 0.
        warmup: the share of steps in which the learning rate rises, in [0, 1); after it, the rate falls as `schedule`
            says.
        schedule: how the learning rate changes: "cosine" rises linearly from 0, then falls to 0 as a cosine;
            "one-cycle" rises as a cosine from a 25th of the rate, then falls as one to a 250,000th; "constant" rises
            linearly from 0, stays, and falls linearly to 0 within `decay`.
        decay: the share of steps at the end in which a "constant" rate falls, in (0, 1]; the share of `settle_steps`
            where these are given. Other schedules do not read it.
        gradient_clip: the largest norm of the gradient, to which a larger one is scaled down, above 0.
        anneal: whether the epsilon of bistable units is annealed from 1 to 0 during training.
        anneal_hold: the share of steps at the start in which epsilon stays at 1, in [0, 1).
        anneal_ramp: the share of steps after `anneal_hold` in which epsilon falls linearly to 0, in (0, 1].
        anneal_wait: whether epsilon waits where the loss rises, and falls only while its running mean does not; it is 0
            in the last fifth of the steps at the latest. `anneal_hold` and `anneal_ramp` must then sum to at most 0.8.
        write_rates: whether the thresholds of latches are set on the first batch, so that each channel is written in a
            share of the steps between one in a sequence and one in two; see `remanent.set_write_rates`. Without, they
            are those of the model's `write_span`.
        curriculum_start: the length of the first training sequences, from which it grows to that of the task; None for
            the task's length from the start. The learning rate does not fall before the length is full.
        curriculum_growth: by which factor the length grows at a time, above 1.
        curriculum_threshold: the running score of the batches at which the length grows; None for growth by steps
            alone.
        curriculum_steps: after how many steps at one length it grows at the latest; None for growth by score alone.
        curriculum_score: what the running score is of: "metric" for the task's metric, or "last" for the share of
            sequences whose last answer is right, for tasks that ask for a class at every step.
        curriculum_letters: of how many letters words are made at first, at least 2; None for all from the start. Once
            the length is full and `curriculum_threshold` is reached, they become more, and the length begins again.
            For `group-word`, whose first letters generate the group.
        letters_growth: by which factor the letters become more, above 1.
        restart_after: after how many steps at one length, which has not grown, all weights are drawn again and the
            lengths begin again; None for never.
        settle_threshold: the running score, at the full length, at which the training settles; None for a training
            that follows the clock.
        settle_steps: the number of the steps that end the training once it settles, at the latest with `steps`: the
            learning rate falls only in these, `anneal_hold` and `anneal_ramp` are shares of these, and the run ends
            after these. To be given with `settle_threshold`.
        length_jitter: the factor by which a batch may be shorter or longer than the present length, at least 1: its
            length is drawn evenly in the logarithm.
        checkpoint_every: the number of steps between checkpoints, before each of which up to 512 examples of the
            validation split are scored, at least 1.
        batch_parts: the number of parts in which a batch is drawn, each from a seed of its own; it must divide
            `batch_size`. Each of several processes draws only the parts with its examples, or all of a single part.
        carry_state: whether each sequence of a batch is a long stream, of which every step reads the next window, from
            the state in which the last one ended: truncated back-propagation. For `characters`, and tasks of your own
            that say how they go on. Lengths must not change then.
        average: which mean of the weights, kept beside them, is validated and ends the run: "none", "exponential", of
            which each step makes up 1 - `average_decay`, or "equal", over all steps. It begins once epsilon is 0 and
            the length is full.
        average_decay: the share of an exponential average that a step leaves as it was, in (0, 1).
        average_from: the share of steps, or of `settle_steps` where these are given, before which nothing is averaged,
            in [0, 1).
        keep: the weights with which the run ends: its "last" ones, or those of the "best" validation score of its
            checkpoints. Scores count only once epsilon is 0; where none counts, the last weights are kept.
        patience: after how many validations in a row without a better score the run ends, at least 1; None for all
            `steps`. Validations count only once epsilon is 0 and the length is full.
        keep_checkpoints: how many of the last checkpoints are kept beside the best one, at least 1; if the last is
            damaged, a run resumes from the one before.
        compile: whether the model's forward and backward passes are compiled by `torch.compile`, which needs a C++
            compiler on the CPU. Lengths must not change then.
        precision: the type of products in training and its validations: "32-true" for float32, or by autocast
            "bf16-mixed" for bfloat16, or "16-mixed" for float16 on a GPU. Weights, states, scans, what latches decide
            by and what the model answers stay in float32.
        seed: the seed of the weights and of every batch, at least 0.
        threads: the number of torch threads, in [1, 1024]; the same number gives the same bits.

    Raises:
        ValueError: a value is out of its range.
        TypeError: a count is not an int.
    """

    steps: int = 500
    batch_size: int = 64
    accumulate: int = 1
    learning_rate: float = 6e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    schedule: str = "cosine"
    decay: float = 0.2
    gradient_clip: float = 1.0
    anneal: bool = True
    anneal_hold: float = 0.05
    anneal_ramp: float = 0.6
    anneal_wait: bool = False
    write_rates: bool = field(default=True, metadata=added(before=False, to=OF_LATCHES))
    curriculum_start: int | None = None
    curriculum_growth: float = 1.5
    curriculum_threshold: float | None = None
    curriculum_steps: int | None = None
    curriculum_score: str = "metric"
    curriculum_letters: int | None = None
    letters_growth: float = 3.0
    restart_after: int | None = None
    settle_threshold: float | None = None
    settle_steps: int | None = None
    length_jitter: float = 1.0
    checkpoint_every: int = 50
    batch_parts: int = 1
    carry_state: bool = False
    average: str = "none"
    average_decay: float = 0.99
    average_from: float = 0.0
    keep: str = "last"
    patience: int | None = None
    keep_checkpoints: int = field(default=2, metadata=UNCOUNTED)
    compile: bool = False
    precision: str = "32-true"
    seed: int = field(default=0, metadata=OWN_COLUMN)
    threads: int = field(default=2, metadata=UNCOUNTED)

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "accumulate", "checkpoint_every", "batch_parts", "keep_checkpoints", "threads")
        for name in counts:
            check_at_least(name, getattr(self, name), 1)
        if self.batch_size % self.batch_parts:
            raise ValueError(f"`batch_parts` must divide `batch_size`, {self.batch_size}, got {self.batch_parts}")
        check_range("threads", self.threads, 1, MOST_THREADS)
        check_at_least("seed", self.seed, 0)
        infinite = float("inf")
        check_range("learning_rate", self.learning_rate, 0, infinite, open_low=True)
        check_range("weight_decay", self.weight_decay, 0, infinite)
        check_range("warmup", self.warmup, 0, 1, open_high=True)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_range("decay", self.decay, 0, 1, open_low=True)
        check_range("gradient_clip", self.gradient_clip, 0, infinite, open_low=True)
        self.check_annealing()
        if self.anneal and self.anneal_wait and self.anneal_hold + self.anneal_ramp > DEADLINE:
            total = self.anneal_hold + self.anneal_ramp
            raise ValueError(
                f"`anneal_hold` and `anneal_ramp` must sum to at most {DEADLINE} with `anneal_wait`, got {total}"
            )
        self._check_lengths()
        self._check_settling()
        self._check_ending()
        self._check_steps()

    def _check_lengths(self) -> None:
        check_range("curriculum_growth", self.curriculum_growth, 1, float("inf"), open_low=True)
        check_range("length_jitter", self.length_jitter, 1, float("inf"))
        if self.curriculum_threshold is not None:
            check_range("curriculum_threshold", self.curriculum_threshold, -float("inf"), float("inf"), open_low=True)
        if self.curriculum_steps is not None:
            check_at_least("curriculum_steps", self.curriculum_steps, 1)
        check_choice("curriculum_score", self.curriculum_score, SCORES)
        check_range("letters_growth", self.letters_growth, 1, float("inf"), open_low=True)
        if self.curriculum_letters is not None:
            check_at_least("curriculum_letters", self.curriculum_letters, 2)
            if self.curriculum_start is None or self.curriculum_threshold is None:
                rule = "`curriculum_letters` must go with `curriculum_start` and `curriculum_threshold`"
                raise ValueError(f"{rule}, got {self.curriculum_start} and {self.curriculum_threshold}")
        if self.restart_after is not None:
            check_at_least("restart_after", self.restart_after, 1)
            if self.curriculum_start is None or self.curriculum_steps is not None:
                rule = "`restart_after` must go with lengths that grow by score alone"
                raise ValueError(f"{rule}, got {self.restart_after} with others")
        if self.curriculum_start is None:
            return
        check_at_least("curriculum_start", self.curriculum_start, 1)
        if self.curriculum_threshold is None and self.curriculum_steps is None:
            raise ValueError("`curriculum_threshold` or `curriculum_steps` must say when the length grows, got neither")

    def _check_settling(self) -> None:
        if (self.settle_threshold is None) != (self.settle_steps is None):
            given = f"{self.settle_threshold} and {self.settle_steps}"
            raise ValueError(f"`settle_threshold` and `settle_steps` must be given together, got {given}")
        if self.settle_threshold is None or self.settle_steps is None:
            return
        check_range("settle_threshold", self.settle_threshold, -float("inf"), float("inf"), open_low=True)
        check_at_least("settle_steps", self.settle_steps, 1)
        check_range("settle_steps", self.settle_steps, 1, self.steps)
        if self.anneal and self.anneal_wait:
            raise ValueError("`anneal_wait` must be off where `settle_steps` is given, got True")

    def _check_ending(self) -> None:
        check_choice("keep", self.keep, KEPT)
        if self.patience is None:
            return
        check_at_least("patience", self.patience, 1)
        if self.settle_steps is not None:
            raise ValueError(f"`patience` must be None where `settle_steps` is given, got {self.patience}")

    def _check_steps(self) -> None:
        check_choice("precision", self.precision, PRECISIONS)
        lengths_change = self.curriculum_start is not None or self.length_jitter > 1
        for name in ("carry_state", "compile"):
            check_bool(name, getattr(self, name))
            if getattr(self, name) and lengths_change:
                raise ValueError(f"`{name}` must be False with `curriculum_start` or `length_jitter`, got True")
        check_choice("average", self.average, AVERAGES)
        check_range("average_decay", self.average_decay, 0, 1, open_low=True, open_high=True)
        check_range("average_from", self.average_from, 0, 1, open_high=True)
