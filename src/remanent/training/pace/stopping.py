"""When a training ends before its time, since its validation score no longer becomes better."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping

from remanent.tasks import Task
from remanent.tasks.metrics import METRICS


class StopEarly(EarlyStopping):
    """Lightning's early stopping, on those validations that count, and known to the training's `Settling`.

    Validations count once the weights are scored as they will be used, at the full length. Of several processes, all
    decide alike. The state is part of every checkpoint.

    Args:
        task: the task, whose metric is scored.
        patience: after how many validations in a row without a better score the run ends.
    """

    def __init__(self, task: Task, patience: int) -> None:
        mode = "max" if METRICS[task.metric].more_is_better else "min"
        more = {"check_finite": False, "check_on_train_epoch_end": False}  # a score that is not finite is not better
        super().__init__(f"validation_{task.metric}", patience=patience, mode=mode, **more)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Takes a score in, and ends the run once so many in a row were not better."""
        if pl_module.is_final and pl_module.lengths.full_at is not None:
            super().on_validation_end(trainer, pl_module)
        if self.wait_count >= self.patience:
            pl_module.settling.stop(trainer.global_step)
