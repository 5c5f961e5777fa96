"""The weights that a run ends with: its last ones, or those of its best checkpoint."""

from typing import Any

import torch

from remanent.records.configuration import Experiment
from remanent.tasks.metrics import METRICS
from remanent.training.checkpoints import Checkpoints
from remanent.training.steps.averaging import AverageWeights

PREFIX = "model."
"""What the names of a model's weights begin with in a checkpoint."""


def ending_weights(
    experiment: Experiment, checkpoints: Checkpoints, last: dict[str, Any], average: AverageWeights | None
) -> dict[str, Any]:
    """The weights that the configuration asks for, by name: those of the best or the last step, averaged if it says so.

    Args:
        experiment: the configuration of the run.
        checkpoints: the checkpoints of the run, among them the one after its last step.
        last: the weights after the last step.
        average: the average at the last step; None for a run without one.

    Raises:
        ValueError: the checkpoint with the best score is damaged.
    """
    best = None
    if experiment.training.keep == "best":
        best = checkpoints.best(METRICS[experiment.task.metric].more_is_better)
    if best is None:
        return last | _named({} if average is None else average.average)
    found = torch.load(best[0], map_location="cpu", weights_only=True)
    averaged = {} if average is None else found["callbacks"][average.state_key]["average"]
    return dict(found["state_dict"]) | _named(averaged)


def _named(weights: dict[str, Any]) -> dict[str, Any]:
    return {f"{PREFIX}{name}": value for name, value in weights.items()}
