"""The length of each training step: a curriculum from short to full, and lengths that vary from batch to batch."""

import math
from typing import Any

import pytorch_lightning as pl
import torch

from remanent.records.configuration import TrainingConfig
from remanent.tasks import Task
from remanent.tasks.base import derive_seed
from remanent.tasks.metrics import METRICS

WINDOW = 20
"""The number of steps that the running score looks back, and at least so many are trained at each length."""


class Lengths(pl.Callback):
    """How long the sequences of the next step are.

    They begin at `curriculum_start`, and grow by the factor `curriculum_growth` up to the task's length whenever the
    running score of the batches reaches `curriculum_threshold`, or every `curriculum_steps` steps. Around the present
    length, `length_jitter` draws that of each batch. The state is part of every checkpoint.

    Args:
        task: the task, at its full length.
        config: the training's configuration.

    Attributes:
        present: the present length.
        full_at: the step from which on the length was full; None while it is shorter.
    """

    def __init__(self, task: Task, config: TrainingConfig) -> None:
        self.task, self.config = task, config
        start = config.curriculum_start
        self.present = task.length if start is None else min(start, task.length)
        self.full_at = 0 if self.present == task.length else None
        self._score, self._seen = 0.0, 0

    def at(self, step: int) -> int:
        """The length of a step's sequences, the same on every process."""
        if self.config.length_jitter == 1:
            return self.present
        generator = torch.Generator().manual_seed(derive_seed("length", self.config.seed, step))
        share = 2 * torch.rand((), generator=generator, dtype=torch.float64).item() - 1
        return max(1, round(self.present * self.config.length_jitter**share))

    def task_at(self, step: int) -> Task:
        """The task at the length of a step."""
        length = self.at(step)
        return self.task if length == self.task.length else self.task.at_length(length)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Takes the score of the step in, and lets the length grow."""
        if self.full_at is not None:
            return
        self._seen += 1
        self._score += (module.batch_score - self._score) / min(self._seen, WINDOW)
        if self._is_time():
            self.present = min(self.task.length, math.ceil(self.present * self.config.curriculum_growth))
            self._score, self._seen = 0.0, 0
            if self.present == self.task.length:
                self.full_at = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run continues from."""
        return {"present": self.present, "full_at": self.full_at, "score": self._score, "seen": self._seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave."""
        self.present, self.full_at = state_dict["present"], state_dict["full_at"]
        self._score, self._seen = state_dict["score"], state_dict["seen"]

    def _is_time(self) -> bool:
        config = self.config
        if config.curriculum_steps is not None and self._seen >= config.curriculum_steps:
            return True
        if config.curriculum_threshold is None or self._seen < WINDOW:
            return False
        more = METRICS[self.task.metric].more_is_better
        return self._score >= config.curriculum_threshold if more else self._score <= config.curriculum_threshold


def decay(step: int, *, warmup: int, steps: int, full_at: int | None) -> float:
    """The share of the learning rate in a step: a linear rise, then a cosine to 0 from where the length is full.

    Args:
        step: the step.
        warmup: the number of steps of the rise.
        steps: the number of steps of the training.
        full_at: the step from which on the length is full; None while it is shorter, and the rate stays up.
    """
    if step < warmup:
        return (step + 1) / warmup
    if full_at is None:
        return 1.0
    start = max(warmup, full_at)
    return 0.5 * (1 + math.cos(math.pi * (step - start) / max(1, steps - start)))
