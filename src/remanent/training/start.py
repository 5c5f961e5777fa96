"""The start of a training: write rates of the latches, set on the whole first batch."""

from typing import Any

import torch

from remanent.distributed.ranks import Ranks
from remanent.latches import WriteRates, set_write_rates
from remanent.models import SequenceModel
from remanent.records.configuration import TrainingConfig
from remanent.tasks import Task
from remanent.training.data import StepBatches


def begin_with_rates(model: SequenceModel, task: Task, config: TrainingConfig) -> dict[str, Any]:
    """Sets the write rates of a model on the whole first batch, which every process draws, and says what was set.

    Args:
        model: the model, before its first step.
        task: the task at the length of the first step.
        config: the training's configuration.

    Returns:
        For each layer of latches the rates before, wanted and after, as plain numbers.
    """
    x, _, _ = StepBatches(task, config, 0, 1, Ranks())[0]
    with torch.no_grad():
        found = set_write_rates(model, x)
    return {layer.name: _plain(layer) for layer in found}


def _plain(layer: WriteRates) -> dict[str, list[float]]:
    rates = {"before": layer.before, "wanted": layer.wanted, "after": layer.after}
    return {name: [round(rate, 6) for rate in values.tolist()] for name, values in rates.items()}
