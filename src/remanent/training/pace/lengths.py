"""The length of each training step: a curriculum from short to full, and lengths that vary from batch to batch."""

import math
from typing import Any

import pytorch_lightning as pl
import torch

from remanent.records.training_config import TrainingConfig
from remanent.tasks import Task
from remanent.tasks.base import derive_seed
from remanent.training.pace.running_score import RunningScore


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
        self.begin()

    def begin(self) -> None:
        """Goes back to the first length."""
        start = self.config.curriculum_start
        self.present = self.task.length if start is None else min(start, self.task.length)
        self.full_at: int | None = 0 if self.present == self.task.length else None
        self.score = RunningScore(self.task, self.config)

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

    @property
    def stuck(self) -> bool:
        """Whether the length has not grown for so long that the weights are drawn again."""
        most = self.config.restart_after
        return most is not None and self.full_at is None and self.score.steps >= most

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Takes the score of the step in, and lets the length grow."""
        if self.full_at is not None:
            return
        self.score.add(module.batch_score)
        if self._is_time():
            self.present = min(self.task.length, math.ceil(self.present * self.config.curriculum_growth))
            self.score = RunningScore(self.task, self.config)
            if self.present == self.task.length:
                self.full_at = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run continues from."""
        return {"present": self.present, "full_at": self.full_at, "score": self.score.value, "seen": self.score.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave."""
        self.present, self.full_at = state_dict["present"], state_dict["full_at"]
        self.score.value, self.score.steps = state_dict["score"], state_dict["seen"]

    def _is_time(self) -> bool:
        config = self.config
        if config.curriculum_steps is not None and self.score.steps >= config.curriculum_steps:
            return True
        return config.curriculum_threshold is not None and self.score.reaches(config.curriculum_threshold)
