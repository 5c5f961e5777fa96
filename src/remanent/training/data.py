"""Batches by step number, so that a resumed run draws the batches that it would have drawn."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from remanent.distributed.ranks import Ranks
from remanent.records.training_config import TrainingConfig
from remanent.tasks import Task
from remanent.tasks.base import PaddedBatch, derive_seed, read_whole
from remanent.tasks.metrics import IGNORED

EXAMPLES = 512
"""The most examples of the validation split that are scored before a checkpoint."""
BATCH = 64
"""The number of examples that are scored at a time."""
Batch = tuple[Tensor, Tensor, int] | tuple[Tensor, Tensor, int, Tensor]
"""Inputs, targets, the seed of the batch, and, where sequences differ in length, how many steps of each are real."""


class StepBatches(Dataset[Batch]):
    """This process's examples of the training batches of steps `start` to `stop`, each drawn from seeds of its own.

    A step has `accumulate` batches, one after another; all are drawn from what `task_at` gives for the step, if it is
    given. Together they are the batch of as many examples and parts that would make up the step alone. With
    `carry_state`, a step's batches are the next windows of the task's streams.
    """

    def __init__(
        self,
        task: Task,
        config: TrainingConfig,
        start: int,
        stop: int,
        ranks: Ranks,
        task_at: Callable[[int], Task] | None = None,
    ) -> None:
        self.task, self.config, self.start, self.stop, self.ranks = task, config, start, stop, ranks
        self.task_at = task_at or (lambda step: task)

    def __len__(self) -> int:
        return (self.stop - self.start) * self.config.accumulate

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be in [0, {len(self)}), got {index}")
        config = self.config
        step, number = self.start + index // config.accumulate, index % config.accumulate
        place = (step,) if config.accumulate == 1 else (step, number)
        x, y, lengths = self._examples(step, number)
        seed = derive_seed("batch", config.seed, *place)
        return (x, y, seed) if lengths is None else (x, y, seed, lengths)

    def _examples(self, step: int, number: int) -> PaddedBatch:
        """This process's examples of a step's batch."""
        config = self.config
        rows, size = self.ranks.rows(config.batch_size), config.batch_size // config.batch_parts
        if config.carry_state:
            generator = torch.Generator().manual_seed(derive_seed("streams", config.seed))
            mine = [number * config.batch_size + row for row in rows]
            return PaddedBatch(
                *self.task.stream_windows(step, mine, config.batch_size * config.accumulate, generator), None
            )
        first, last = rows.start // size, (rows.stop - 1) // size
        before = number * config.batch_parts
        parts = [self._draw(step, before + part, size) for part in range(first, last + 1)]
        kept = slice(rows.start - first * size, rows.stop - first * size)
        x, y, lengths = parts[0] if len(parts) == 1 else _joined(parts)
        return PaddedBatch(x[kept], y[kept], None if lengths is None else lengths[kept])

    def _draw(self, step: int, part: int, size: int) -> PaddedBatch:
        """Draws a part of a step's batches; where a step has one part in all, it has the seed of the step itself."""
        place = (step,) if self.config.batch_parts * self.config.accumulate == 1 else (step, part)
        seed = derive_seed("batch", self.config.seed, *place)
        return self.task_at(step).padded_batch(size, torch.Generator().manual_seed(seed))


def _joined(parts: list[PaddedBatch]) -> PaddedBatch:
    """The parts of a batch below one another, filled up to the longest where sequences differ in length."""
    if all(part.lengths is None for part in parts) and len({part.x.shape[1] for part in parts}) == 1:
        return PaddedBatch(torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]), None)
    T = max(part.x.shape[1] for part in parts)
    lengths = [torch.full((len(x),), x.shape[1]) if known is None else known for x, _, known in parts]
    x = torch.cat([_filled_up(part.x, T, 0) for part in parts])
    steps = parts[0].y.dim() > 1 and all(part.y.shape[1] == part.x.shape[1] for part in parts)
    unasked = torch.nan if parts[0].y.is_floating_point() else IGNORED
    y = torch.cat([_filled_up(part.y, T, unasked) if steps else part.y for part in parts])
    return PaddedBatch(x, y, torch.cat(lengths))


def _filled_up(values: Tensor, steps: int, filling: float) -> Tensor:
    wide = values.new_full((values.shape[0], steps, *values.shape[2:]), filling)
    wide[:, : values.shape[1]] = values
    return wide


class TaskData(pl.LightningDataModule):
    """The batches of a task for Lightning; an epoch is the steps from one regular checkpoint to the next."""

    def __init__(
        self, task: Task, config: TrainingConfig, ranks: Ranks, task_at: Callable[[int], Task] | None = None
    ) -> None:
        super().__init__()
        self.task, self.config, self.ranks, self.task_at = task, config, ranks, task_at

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches from the next step on, those of as many steps as an epoch has.

        In an epoch that was interrupted, Lightning reads only as many as are left of it.
        """
        epoch, step = (self.trainer.current_epoch, self.trainer.global_step) if self.trainer else (0, 0)
        size = min(self.config.checkpoint_every, self.config.steps - epoch * self.config.checkpoint_every)
        batches = StepBatches(self.task, self.config, step, step + size, self.ranks, self.task_at)
        return DataLoader(batches, batch_size=None)  # in this process, and each batch just before its step

    def val_dataloader(self) -> DataLoader[Any]:
        """The first examples of the validation split, at the training length."""
        return DataLoader(self._validation, batch_size=None)  # type: ignore[arg-type]

    @cached_property
    def _validation(self) -> list[tuple[Tensor, ...]]:
        """The batches of the validation split, made once, since Lightning asks for its loader in every epoch."""
        mine, batches = self.ranks.rows(seen_examples(self.task)), []
        for start in mine[::BATCH]:
            place = "validation", start, min(start + BATCH, mine.stop)
            lengths = self.task.lengths(*place)
            batches.append(read_whole(self.task, *place, self.task.length) + (() if lengths is None else (lengths,)))
        return batches


def seen_examples(task: Task) -> int:
    """The number of examples of the validation split that are scored before a checkpoint."""
    return min(task.split_size("validation"), EXAMPLES)
