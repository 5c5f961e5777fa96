"""What happens between steps: epsilon falls, metrics and checkpoints are written, a bar moves."""

import json
import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from remanent.tasks.metrics import METRICS
from remanent.training.checkpoints import Checkpoints
from remanent.training.config import TrainingConfig


class AnnealEpsilon(pl.Callback):
    """Takes epsilon of BMRUs from 1 to exactly 0, step by step.

    Source: Brandoit et al. (2026), arXiv 2605.11855, for epsilon = 1.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        """Sets the epsilon of this step."""
        module.model.set_epsilon(self.config.epsilon(trainer.global_step))

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Leaves a true set-or-hold model."""
        module.model.set_epsilon(0.0)


class MetricsFile(pl.Callback):
    """Appends a line of JSON a step, and one a validation, to `metrics.jsonl`."""

    def __init__(self, path: Path, config: TrainingConfig) -> None:
        self.path = path
        self.config = config

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        """Keeps the learning rate of this step, which has changed when the step ends."""
        self.rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Writes the step's loss, learning rate, and the epsilon of its BMRUs."""
        step = trainer.global_step - 1
        epsilon = {} if module.model.epsilon is None else {"epsilon": module.model.epsilon}
        self._append({"step": step, "loss": outputs["loss"].item(), "learning_rate": self.rate, **epsilon})

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Writes the validation split's score."""
        name = f"validation_{module.experiment.task.metric}"
        self._append({"step": trainer.global_step - 1, name: trainer.callback_metrics[name].item()})

    def _append(self, line: dict[str, float]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class WriteCheckpoint(pl.Callback):
    """Writes a checkpoint after every epoch, with the last validation's score."""

    def __init__(self, checkpoints: Checkpoints, config: TrainingConfig) -> None:
        self.checkpoints, self.config = checkpoints, config

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Saves weights, optimiser and counters."""
        metric = module.experiment.task.metric
        if f"validation_{metric}" not in trainer.callback_metrics:
            return  # a run that goes on is at the end of the epoch that its checkpoint was written after
        score = trainer.callback_metrics[f"validation_{metric}"].item()
        self.checkpoints.write(
            trainer.save_checkpoint,
            trainer.global_step,
            score if math.isfinite(score) else None,
            keep=self.config.keep_checkpoints,
            more_is_better=METRICS[metric].is_share,
        )


class _Note(ProgressColumn):
    """What is known of a step, cut at the end of the line: of all columns this one gives way."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


class ProgressBar(pl.Callback):
    """One bar over all steps, with the loss, the last validation score and epsilon."""

    def __init__(self, title: str, config: TrainingConfig) -> None:
        self.config = config
        self.title = title
        whole = [Column(no_wrap=True) for _ in range(3)]
        self.progress = Progress(
            TextColumn("{task.description}", table_column=whole[0]),
            BarColumn(8),
            MofNCompleteColumn(table_column=whole[1]),
            TimeRemainingColumn(table_column=whole[2]),
            _Note(),
        )
        self.loss = ""

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Shows the bar."""
        self.progress.start()
        self.bar = self.progress.add_task(self.title, total=self.config.steps, completed=trainer.global_step, note="")

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves the bar."""
        self.loss = f"loss {outputs['loss'].item():.4f}"
        self._show(trainer, module)

    def _show(self, trainer: pl.Trainer, module: Any) -> None:
        name, note = f"validation_{module.experiment.task.metric}", self.loss
        if name in trainer.callback_metrics:
            note += f"  validation {trainer.callback_metrics[name].item():.4f}"
        if self.config.anneal and module.model.epsilon is not None:
            note += f"  epsilon {module.model.epsilon:.2f}"
        self.progress.update(self.bar, completed=trainer.global_step, note=note)

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Leaves the full bar, with the last validation's score."""
        self._show(trainer, module)
        self.progress.stop()

    def on_exception(self, trainer: pl.Trainer, module: Any, exception: BaseException) -> None:
        """Gives the terminal back."""
        self.progress.stop()
