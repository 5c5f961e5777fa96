"""Batches by step number: a run that goes on draws what it would have drawn."""

from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from remanent.tasks import Task
from remanent.tasks.base import derive_seed, read_whole
from remanent.training.config import TrainingConfig

EXAMPLES = 512
"""Of the validation split, how many are looked at between checkpoints."""
BATCH = 64
"""How many of them at a time."""
Batch = tuple[Tensor, Tensor, int]
"""Inputs, targets, and the seed that drew them."""


class StepBatches(Dataset[Batch]):
    """The training batches of the steps `start` to `stop`, each from a seed of its own."""

    def __init__(self, task: Task, config: TrainingConfig, start: int, stop: int) -> None:
        self.task, self.config, self.start, self.stop = task, config, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be in [0, {len(self)}), got {index}")
        seed = derive_seed("batch", self.config.seed, self.start + index)
        x, y = self.task.batch(self.config.batch_size, torch.Generator().manual_seed(seed))
        return x, y, seed


class TaskData(pl.LightningDataModule):
    """A task as Lightning reads it: an epoch is the steps from one checkpoint to the next."""

    def __init__(self, task: Task, config: TrainingConfig) -> None:
        super().__init__()
        self.task, self.config = task, config

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches of the current epoch."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        start = epoch * self.config.checkpoint_every
        stop = min(start + self.config.checkpoint_every, self.config.steps)
        return DataLoader(StepBatches(self.task, self.config, start, stop), batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        """The first examples of the validation split, at the training length."""
        return DataLoader(self._validation, batch_size=None)  # type: ignore[arg-type]

    @cached_property
    def _validation(self) -> list[tuple[Tensor, Tensor]]:
        """Made once: Lightning asks for the loaders again every epoch."""
        size = min(self.task.split_size("validation"), EXAMPLES)
        return [
            read_whole(self.task, "validation", start, min(start + BATCH, size), self.task.length)
            for start in range(0, size, BATCH)
        ]
