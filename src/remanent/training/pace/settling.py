"""When a training settles, by its clock or once it has learned its full length, and when it begins again."""

from typing import Any

import pytorch_lightning as pl

from remanent.records.training_config import TrainingConfig
from remanent.tasks import Task
from remanent.training.pace.lengths import Lengths
from remanent.training.pace.running_score import RunningScore
from remanent.training.steps.step_callback import StepCallback


class Settling(StepCallback):
    """The part of the training in which epsilon and the learning rate fall, and where the run ends.

    Without `settle_steps` that is all of it. With it, it begins once the length is full and the running score has
    reached `settle_threshold`, or so many steps before the last one, and the run ends after these steps. Until
    then, a training whose length does not grow begins again. The state is part of every checkpoint.

    Args:
        task: the task, at its full length.
        config: the training's configuration.
        lengths: how long the sequences of a step are.

    Attributes:
        begun_at: the step at which it has begun; None while it has not.
        restarts: how often the weights were drawn again.
        stopped_at: the step before which the run ends since `stop` was called; None while it was not.
    """

    def __init__(self, task: Task, config: TrainingConfig, lengths: Lengths) -> None:
        self.config, self.lengths = config, lengths
        self.begun_at = 0 if config.settle_steps is None else None
        self.restarts = 0
        self.stopped_at: int | None = None
        self.score = RunningScore(task, config)

    @property
    def end(self) -> int:
        """The step before which the run ends, as far as it is known."""
        if self.stopped_at is not None:
            return self.stopped_at
        if self.config.settle_steps is None or self.begun_at is None:
            return self.config.steps
        return self.begun_at + self.config.settle_steps

    @property
    def falls_from(self) -> int | None:
        """The step from which on the learning rate may fall; None while it is not known."""
        return self.lengths.full_at if self.config.settle_steps is None else self.begun_at

    @property
    def is_scored(self) -> bool:
        """Whether the next step needs the score of its batch."""
        return self.lengths.full_at is None or self.begun_at is None

    def share(self, step: int) -> float:
        """The share of the settling that is over at a step, at least 0."""
        if self.begun_at is None:
            return 0.0
        return (step - self.begun_at) / (self.config.settle_steps or self.config.steps)

    def stop(self, step: int) -> None:
        """Ends the run before a step, earlier than its clock would."""
        self.stopped_at = step

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Ends a run that was resumed after its last step."""
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.end

    def on_step_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Takes the score of the step in; begins to settle, begins again, or ends the run."""
        step = trainer.global_step
        if self.begun_at is None:
            assert self.config.settle_steps is not None
            assert self.config.settle_threshold is not None
            if self.lengths.full_at is not None and self.lengths.full_at < step:
                self.score.add(module.step_score)
            if self.score.reaches(self.config.settle_threshold) or step >= self.config.steps - self.config.settle_steps:
                self.begun_at = step
        if self.lengths.stuck and self.falls_from is None:
            self.restarts += 1
            self.lengths.begin()
            module.begin_again(self.restarts)
        trainer.should_stop = trainer.should_stop or step >= self.end

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run continues from."""
        return {
            "begun_at": self.begun_at,
            "restarts": self.restarts,
            "stopped_at": self.stopped_at,
            "score": self.score.value,
            "seen": self.score.steps,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave."""
        self.begun_at, self.restarts = state_dict["begun_at"], state_dict["restarts"]
        self.stopped_at = state_dict.get("stopped_at")
        self.score.value, self.score.steps = state_dict["score"], state_dict["seen"]
