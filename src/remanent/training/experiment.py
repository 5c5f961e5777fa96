"""The LightningModule: a model, its loss, its optimiser; no choice that is not in the configuration."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import MeanMetric

from remanent.models import SequenceModel
from remanent.tasks.base import derive_seed
from remanent.tasks.metrics import METRICS
from remanent.training.config import Experiment
from remanent.training.data import Batch


class ExperimentModule(pl.LightningModule):
    """Trains the model of an experiment on its task.

    Args:
        experiment: the whole configuration; its seed fixes the first weights.
    """

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        self.experiment = experiment
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("weights", experiment.training.seed))
            self.model = SequenceModel(experiment.model)
        self.score = MeanMetric()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch.

        Raises:
            FloatingPointError: the loss is not finite; the message names the step and the batch's seed.
        """
        x, y, seed = batch
        torch.manual_seed(seed)  # dropout: a resumed run drops what it would have dropped
        output, _ = self.model(x)
        loss = self.experiment.task.loss(output, y)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss must be finite, got {loss.item()} in step {self.global_step} (batch seed {seed})"
            )
        self.log("loss", loss)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forgets the last validation's score."""
        self.score.reset()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Adds one batch to the score."""
        x, y = batch
        metric = METRICS[self.experiment.task.metric]
        self.score.update(*metric.finish(metric.tally(self.model(x)[0], y)))

    def on_validation_epoch_end(self) -> None:
        """Logs the score of the whole split."""
        self.log(f"validation_{self.experiment.task.metric}", self.score.compute())

    def configure_optimizers(self) -> Any:
        """AdamW, its rate rising in a line and falling as a cosine, changed at every step.

        Only matrices decay: biases, norms, a latch's alpha or an LRU's time constants mean something at other
        values than 0.
        """
        config = self.experiment.training
        matrices = [p for p in self.model.parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() <= 1]
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)

        def factor(step: int) -> float:
            rising = round(config.warmup * config.steps)
            if step < rising:
                return (step + 1) / rising
            return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, config.steps - rising)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
