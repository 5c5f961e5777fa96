"""A callback of whole steps, where a step may be of several batches."""

from typing import Any

import pytorch_lightning as pl


class StepCallback(pl.Callback):
    """A callback that is called before and after each step of the optimiser.

    Lightning calls its callbacks for each batch, of which a step has as many as `TrainingConfig.accumulate` says.
    """

    def on_step_begin(self, trainer: pl.Trainer, module: Any) -> None:
        """Called before the first batch of a step; `trainer.global_step` steps are done."""

    def on_step_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Called after the last batch of a step, once the weights have changed; `trainer.global_step` counts it."""

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        """Calls `on_step_begin` where a step begins."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.on_step_begin(trainer, module)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Calls `on_step_end` where a step ends."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self.on_step_end(trainer, module)
