"""The weights that a run ends with: its last ones, or those of its best checkpoint."""

from typing import Any

import torch

from remanent.records.configuration import Experiment
from remanent.tasks.metrics import METRICS
from remanent.training.checkpoints import Checkpoints


def ending_weights(experiment: Experiment, checkpoints: Checkpoints, last: dict[str, Any]) -> dict[str, Any]:
    """The weights that the configuration asks for, by name.

    Args:
        experiment: the configuration of the run.
        checkpoints: the checkpoints of the run, among them the one after its last step.
        last: the weights after the last step.

    Raises:
        ValueError: the checkpoint with the best score is damaged.
    """
    if experiment.training.keep == "last":
        return last
    best = checkpoints.best(METRICS[experiment.task.metric].more_is_better)
    if best is None:
        return last
    path, _ = best
    return dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
