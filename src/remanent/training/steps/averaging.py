"""Averaged weights: a mean over the steps, kept beside the weights, with which a run is validated and ends."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from remanent.records.training_config import TrainingConfig
from remanent.training.steps.step_callback import StepCallback


class AverageWeights(StepCallback):
    """Averages the weights, and the statistics of norms, after each step from some step on.

    That is once epsilon is 0, since weights of another epsilon are those of another model, the length is full, and
    the training, or the part of it that settles, has lasted for a share of `average_from`. Validation scores the
    average from then on. The state is part of every checkpoint.

    Lightning's own callback would copy the model, whose epsilon would not follow, and hide the trained weights.

    Args:
        model: the model of the training.
        config: the training's configuration.

    Attributes:
        average: the averages by name, as in the model's `state_dict`; empty before the first.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self.model, self.begins = model, config.average_from
        equal = config.average == "equal"
        self.update = get_swa_multi_avg_fn() if equal else get_ema_multi_avg_fn(config.average_decay)
        self.average: dict[str, Tensor] = {}
        self.count = 0

    @torch.no_grad()
    def on_step_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Takes the weights after the step in."""
        settling = module.settling
        if not module.is_final or settling.falls_from is None or settling.share(trainer.global_step) < self.begins:
            return
        weights = self._weights()
        if self.average:
            self.update(list(self.average.values()), list(weights.values()), self.count)
        else:
            self.average = {name: value.clone() for name, value in weights.items()}
        self.count += 1

    def on_validation_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Puts the average in the place of the weights."""
        self._swap()

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Puts the weights back."""
        self._swap()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run continues from."""
        return {"average": self.average, "count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave."""
        self.average, self.count = state_dict["average"], state_dict["count"]

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Takes what a checkpoint held to the device on which the model is by now."""
        weights = self._weights()
        self.average = {name: value.to(weights[name].device) for name, value in self.average.items()}

    def _weights(self) -> dict[str, Tensor]:
        """The model's own tensors that are averaged: all but those that count, such as the batches of a norm."""
        return {name: value for name, value in self.model.state_dict().items() if value.is_floating_point()}

    @torch.no_grad()
    def _swap(self) -> None:
        weights = self._weights()
        for name, value in self.average.items():
            kept = weights[name].clone()
            weights[name].copy_(value)
            value.copy_(kept)
