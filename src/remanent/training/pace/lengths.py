"""The length of each training step: a curriculum from short to full, and lengths that vary from batch to batch."""

import math
from typing import Any

import pytorch_lightning as pl
import torch

from remanent.records.training_config import TrainingConfig
from remanent.tasks import Task
from remanent.tasks.base import derive_seed
from remanent.training.pace.running_score import RunningScore
from remanent.training.steps.step_callback import StepCallback


class Lengths(StepCallback):
    """How long the sequences of the next step are.

    They begin at `curriculum_start`, and grow by the factor `curriculum_growth` up to the task's length whenever the
    running score of the batches reaches `curriculum_threshold`, or every `curriculum_steps` steps. Around the present
    length, `length_jitter` draws that of each batch. With `curriculum_letters`, words are made of few letters until
    their length is full; then of more, and the length begins again. The state is part of every checkpoint.

    Args:
        task: the task, at its full length.
        config: the training's configuration.

    Attributes:
        present: the present length.
        letters: of how many letters words are made at present; None for all.
        full_at: the step from which on the length was full, with all letters; None before.
    """

    def __init__(self, task: Task, config: TrainingConfig) -> None:
        self.task, self.config = task, config
        self.begin()

    def begin(self) -> None:
        """Goes back to the first length, and the first letters."""
        self.letters = self.config.curriculum_letters
        self._begin_length()
        self.full_at: int | None = 0 if self._is_full else None

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
        task = self.task if length == self.task.length else self.task.at_length(length)
        return task if self.letters is None else task.at_letters(self.letters)

    @property
    def stuck(self) -> bool:
        """Whether the length has not grown for so long that the weights are drawn again."""
        most = self.config.restart_after
        return most is not None and self.full_at is None and self.score.steps >= most

    def on_step_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Takes the score of the step in, and lets the length grow."""
        if self.full_at is not None:
            return
        self.score.add(module.step_score)
        if self._is_time():
            self._grow()
            if self._is_full:
                self.full_at = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run continues from."""
        score = {"score": self.score.value, "seen": self.score.steps}
        return {"present": self.present, "letters": self.letters, "full_at": self.full_at, **score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave."""
        self.present, self.full_at = state_dict["present"], state_dict["full_at"]
        self.letters = state_dict.get("letters")
        self.score.value, self.score.steps = state_dict["score"], state_dict["seen"]

    @property
    def _is_full(self) -> bool:
        return self.present == self.task.length and self.letters is None

    def _begin_length(self) -> None:
        start = self.config.curriculum_start
        self.present = self.task.length if start is None else min(start, self.task.length)
        self.score = RunningScore(self.task, self.config)

    def _grow(self) -> None:
        if self.present < self.task.length:
            self.present = min(self.task.length, math.ceil(self.present * self.config.curriculum_growth))
            self.score = RunningScore(self.task, self.config)
        elif self.letters is not None:
            more = math.ceil(self.letters * self.config.letters_growth)
            self.letters = None if more >= self.task.input_size else more
            self._begin_length()

    def _is_time(self) -> bool:
        config = self.config
        if config.curriculum_steps is not None and self.score.steps >= config.curriculum_steps:
            return True
        return config.curriculum_threshold is not None and self.score.reaches(config.curriculum_threshold)
