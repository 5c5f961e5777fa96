"""What happens between steps: epsilon is annealed, metrics and checkpoints are written, the progress bar moves."""

import io
import math
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from remanent._files import to_json
from remanent._terminal import CellBar, Terminated, in_notebook, silent_console
from remanent.distributed.heartbeat import Heartbeat
from remanent.distributed.ranks import Ranks
from remanent.latches import EpsilonSchedule
from remanent.models import SequenceModel
from remanent.records.training_config import TrainingConfig
from remanent.tasks.metrics import METRICS
from remanent.training.checkpoints import NOTE, Checkpoints, Note
from remanent.training.interrupts import Interrupted
from remanent.training.steps.step_callback import StepCallback


class AnnealEpsilon(StepCallback):
    """Anneals the epsilon of BMRUs from 1 to exactly 0, step by step, by the clock or waiting for the loss.

    Source: Brandoit et al. (2026), arXiv 2605.11855, for epsilon = 1.
    """

    def __init__(self, config: TrainingConfig, model: SequenceModel) -> None:
        self.config = config
        self.schedule: EpsilonSchedule | None = None
        if config.anneal_wait and model.epsilon is not None:
            hold, ramp = config.anneal_hold, config.anneal_ramp
            self.schedule = EpsilonSchedule(model, config.steps, hold=hold, ramp=ramp, wait=True)

    def on_step_begin(self, trainer: pl.Trainer, module: Any) -> None:
        """Sets the epsilon of this step."""
        clock = self.config.epsilon(module.settling.share(trainer.global_step))
        module.model.set_epsilon(clock if self.schedule is None else self.schedule.epsilon)

    def on_step_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Shows the schedule the loss of the step."""
        if self.schedule is not None:
            self.schedule.step(module.step_loss)

    def state_dict(self) -> dict[str, Any]:
        """The state of a schedule that waits."""
        return {} if self.schedule is None else self.schedule.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave."""
        if self.schedule is not None:
            self.schedule.load_state_dict(state_dict)

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Sets epsilon to 0, so that the trained model only sets or holds."""
        module.model.set_epsilon(0.0)


class MetricsFile(StepCallback):
    """Appends a line of JSON to `metrics.jsonl` after each step, and one after each validation."""

    def __init__(self, path: Path, config: TrainingConfig) -> None:
        self.path = path
        self.config = config

    def on_step_begin(self, trainer: pl.Trainer, module: Any) -> None:
        """Keeps the learning rate, the length and the letters of this step, since they change before the step ends."""
        self.rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.length, self.letters = module.lengths.at(trainer.global_step), module.lengths.letters

    def on_step_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Writes the loss and the learning rate of the step, the epsilon of its BMRUs, and what a look counted."""
        step = trainer.global_step - 1
        more = {} if module.model.epsilon is None else {"epsilon": module.model.epsilon}
        if module.looked_at == trainer.global_step:
            more |= module.memory
        if self.config.curriculum_start is not None or self.config.length_jitter > 1:
            more["length"] = self.length
        if self.letters is not None:
            more["letters"] = self.letters
        self._append({"step": step, "loss": module.step_loss, "learning_rate": self.rate, **more})

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Writes the score of the validation split."""
        name = f"validation_{module.experiment.task.metric}"
        self._append({"step": trainer.global_step - 1, name: trainer.callback_metrics[name].item()})

    def _append(self, line: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(to_json(line) + "\n")


class LateErrors(TorchCheckpointIO):
    """Writes checkpoints, and keeps an error until all processes have reached the end of the write.

    Paths are paths: Lightning would take `::` in one for a chain of addresses, and write through a temporary folder.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint, or keeps the error."""
        content = io.BytesIO()
        try:
            torch.save(checkpoint, content)
            Path(path).write_bytes(content.getbuffer())
        except (OSError, RuntimeError) as error:
            self.error = error

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Reads a checkpoint; nothing in it is executed."""
        return torch.load(path, map_location=map_location, weights_only=weights_only)

    def raise_kept(self) -> None:
        """Raises the error that was kept, if there is one."""
        if self.error is not None:
            raise self.error


class WriteCheckpoint(pl.Callback):
    """Writes a checkpoint after every epoch, with the score of its validation, and when a signal ends the run.

    Args:
        checkpoints: the checkpoints of the run's folder.
        config: the training's configuration, which says how many are kept.
        ranks: the processes of the run, of which the first writes.
        io: the plugin with which Lightning writes.
        advice: how to resume the run, in words.
        after: called on the first process after a checkpoint is written.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        config: TrainingConfig,
        ranks: Ranks,
        io: LateErrors,
        advice: str,
        after: Callable[[], None] | None = None,
    ) -> None:
        self.checkpoints, self.config, self.ranks, self.io = checkpoints, config, ranks, io
        self.advice, self.after = advice, after
        self.score: float | None = None

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Handles SIGTERM from here on instead of Lightning, which would end the run without a checkpoint."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda number, _: setattr(module, "signalled", module.signalled or number))

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Ends the run after this step if the processes agreed to; an epoch's last step waits for its checkpoint."""
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if module.stopping and whole and batch_idx + 1 < trainer.num_training_batches:
            self._write(trainer, module, None)
            self._leave(trainer, module)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Saves the weights, the optimiser and the counters."""
        name = f"validation_{module.experiment.task.metric}"
        if name not in trainer.callback_metrics:
            return  # a resumed run begins at the end of the epoch after which its checkpoint was written
        score = trainer.callback_metrics[name].item()
        self._write(trainer, module, score if module.is_final and math.isfinite(score) else None)
        if module.stopping and trainer.global_step < module.settling.end:
            self._leave(trainer, module)

    def on_save_checkpoint(self, trainer: pl.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        """Notes in a checkpoint what the index says of it, from which a lost index is made again."""
        checkpoint[NOTE] = Note(self.checkpoints.identity, self.score)._asdict()

    def _write(self, trainer: pl.Trainer, module: Any, score: float | None) -> None:
        """Collects what all processes hold and writes it on the first one."""
        self.score = score

        def save(path: Path) -> None:
            trainer.save_checkpoint(path)
            self.io.raise_kept()

        def write() -> None:
            more = METRICS[module.experiment.task.metric].more_is_better
            keep = self.config.keep_checkpoints
            self.checkpoints.write(save, trainer.global_step, score, keep=keep, more_is_better=more)
            if self.after is not None:
                self.after()

        self.ranks.all_do(write if self.ranks.rank == 0 else lambda: trainer.save_checkpoint("on rank 0 alone"))

    def _leave(self, trainer: pl.Trainer, module: Any) -> None:
        where = f"after step {trainer.global_step} of {module.settling.end}; {self.advice}"
        if module.stopping == signal.SIGINT:
            raise Interrupted(where)
        raise Terminated(f"by SIGTERM {where}")


class AdvanceHeartbeat(StepCallback):
    """Notes in the heartbeat which point of the training this process has reached."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self.heartbeat = heartbeat

    def on_step_begin(self, trainer: pl.Trainer, module: Any) -> None:
        """Notes that a step begins."""
        self.heartbeat.begin_step(trainer.global_step)

    def on_after_backward(self, trainer: pl.Trainer, module: Any) -> None:
        """Notes that the gradients are computed."""
        self.heartbeat.advance()

    def on_step_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Notes that a step is done."""
        self.heartbeat.advance()

    def on_validation_batch_start(
        self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Notes that validation has reached its next batch."""
        self.heartbeat.advance()

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Notes that validation is done."""
        self.heartbeat.begin_step(trainer.global_step)


class _Lines(Progress):
    """A bar, and a line with the numbers of the step under it, since 80 columns cannot hold both."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Gives the line of the bar, then the line of numbers."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(f"  {task.fields['note']}", no_wrap=True, overflow="ellipsis")


class ProgressBar(StepCallback):
    """A bar over all steps, with the loss, the last validation score, epsilon, and the write rate of latches."""

    def __init__(self, title: str, config: TrainingConfig) -> None:
        self.config = config
        self.title = title
        whole = [Column(no_wrap=True) for _ in range(3)]
        self.progress = _Lines(
            TextColumn("{task.description}", table_column=whole[0]),
            BarColumn(24),
            MofNCompleteColumn(table_column=whole[1]),
            TimeRemainingColumn(table_column=whole[2]),
            console=silent_console() if in_notebook() else None,
        )
        self.cell = CellBar(self.progress) if in_notebook() else None
        self.loss = ""

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Shows the bar."""
        self.progress.start()
        self.bar = self.progress.add_task(self.title, total=self.config.steps, completed=trainer.global_step, note="")

    def on_step_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Moves the bar."""
        self.loss = f"loss {module.step_loss:.4f}"
        self._show(trainer, module)

    def _show(self, trainer: pl.Trainer, module: Any) -> None:
        name, note = f"validation_{module.experiment.task.metric}", self.loss
        if name in trainer.callback_metrics:
            note += f"  validation {trainer.callback_metrics[name].item():.4f}"
        if self.config.anneal and module.model.epsilon is not None:
            note += f"  epsilon {module.model.epsilon:.2f}"
        if "write_rate" in module.memory:
            note += f"  writes {module.memory['write_rate']:.1%}  dead {module.memory['dead_channels']:.0f}"
        place = {"total": module.settling.end, "completed": trainer.global_step}
        self.progress.update(self.bar, **place, note=note)
        if self.cell is not None:
            self.cell.show(now=place["completed"] >= place["total"])

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Leaves the full bar, with the score of the last validation."""
        self._show(trainer, module)
        self.progress.stop()

    def on_exception(self, trainer: pl.Trainer, module: Any, exception: BaseException) -> None:
        """Releases the terminal."""
        self.progress.stop()
