"""The running score of a training's batches, by which its lengths grow and it settles."""

import torch
from torch import Tensor

from remanent.distributed.ranks import Ranks
from remanent.records.training_config import TrainingConfig
from remanent.tasks import Task
from remanent.tasks.metrics import IGNORED, METRICS

WINDOW = 20
"""The number of steps that a running score looks back, and at least so many are seen before it counts."""


class RunningScore:
    """The mean score of the batches so far, which forgets those of more than some 20 steps ago.

    Args:
        task: the task, whose metric is scored.
        config: the training's configuration, which says whether the last answers are scored instead.

    Attributes:
        value: the running mean.
        steps: how many steps it has seen.
    """

    def __init__(self, task: Task, config: TrainingConfig) -> None:
        self.more_is_better = config.curriculum_score == "last" or METRICS[task.metric].more_is_better
        self.value, self.steps = 0.0, 0

    def add(self, score: float) -> None:
        """Takes the score of a step in."""
        self.steps += 1
        self.value += (score - self.value) / min(self.steps, WINDOW)

    def reaches(self, threshold: float) -> bool:
        """Whether the running score is as good as a threshold, and has seen enough steps to count."""
        good = self.value >= threshold if self.more_is_better else self.value <= threshold
        return self.steps >= WINDOW and good


def batch_score(output: Tensor, target: Tensor, task: Task, kind: str, ranks: Ranks) -> float:
    """The score of a batch over all processes; NaN where nothing is asked.

    Args:
        output: this process's answers.
        target: their targets.
        task: the task.
        kind: what is scored, one of `TrainingConfig.curriculum_score`.
        ranks: the processes of the run.
    """
    if kind == "last":
        last = target[:, -1:]  # no step where a short sequence leaves this process none
        right, asked = output[:, -1:].argmax(-1) == last, last != IGNORED
        counts = (int(right.sum()), int(asked.sum())) if last.shape[1] else None
        # of the processes that share sequences, the last one with a step has their ends
        ends = {place: found for place, found in ranks.gather((ranks.data.place, counts)) if found is not None}
        total, weights = (sum(numbers) for numbers in zip(*ends.values(), strict=True))
    else:
        metric = METRICS[task.metric]
        tally = metric.tally(output, target)
        if task.head == "every":
            tally = ranks.sum_over_time(tally)
        value, weight = (torch.as_tensor(v, dtype=torch.float64) for v in metric.finish(tally))
        total, weights = ranks.sum((value * weight).sum().item(), weight.expand_as(value).sum().item())
    return total / weights if weights else float("nan")
