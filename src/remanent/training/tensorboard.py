"""What TensorBoard shows of a training, and of a model's memory in it."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from remanent.analysis import write_statistics
from remanent.analysis.portrait import example_inputs, first_loop, first_raster, has_latches, write_summary
from remanent.records.configuration import Experiment

EVERY = 200
"""The number of steps between two looks; a shorter training has none."""
FLUSH_SECONDS = 2
"""The seconds after which events are written at the latest, even where the writing thread was not notified."""


class Board(TensorBoardLogger):
    """Writes events into a folder, whatever its name is.

    Lightning would take `::` and `file:` in a name for addresses, and `$` or `~` for a variable or a home folder.

    Args:
        folder: the folder of the events.
        step: the number of steps that are done; TensorBoard leaves out what was written of later ones.
    """

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__("", name="", version="", purge_step=step, flush_secs=FLUSH_SECONDS)
        self.folder = folder

    @property
    def log_dir(self) -> str:
        """The folder of the events."""
        return str(self.folder)

    def save(self) -> None:
        """Writes out what was logged."""
        if self._experiment is not None:
            self._experiment.flush()


class ShowMemory(pl.Callback):
    """Shows write rate, dead channels, a hysteresis loop and a raster of states of validation examples every 200 steps.

    It draws no random number and changes no weight, and skips a model whose weights are distributed.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.task = experiment.task
        self.inputs: torch.Tensor | None = None

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Takes a look after every 200th step."""
        if trainer.global_step % EVERY:
            return
        if self.inputs is None:
            self.inputs = example_inputs(self.task).to(module.device)
        self._look(trainer, module, self.inputs)

    def _look(self, trainer: pl.Trainer, module: Any, x: torch.Tensor) -> None:
        from remanent.report.figures import hysteresis_loop, trajectory

        model, board, step = module.model, trainer.logger.experiment, trainer.global_step  # type: ignore[union-attr]
        raster = first_raster(model, x)
        picture = trajectory(raster.inputs.cpu(), raster.states.cpu(), title=f"{raster.name}, step {step}")
        board.add_figure("states", picture, step)
        if not has_latches(model):
            return
        writes = write_statistics(model, x)
        module.memory = write_summary(writes)
        for name, value in module.memory.items():
            board.add_scalar(name, value, step)
        loop = first_loop(model, writes)
        if loop is not None:
            title = f"{loop.name}, step {step}"
            curve = (loop.candidate.cpu(), loop.state.cpu())
            board.add_figure("loop", hysteresis_loop(*curve, threshold=loop.threshold, title=title), step)
