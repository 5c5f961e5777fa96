"""How answers are scored and how a score is written: sums over chunks, so that any length needs the same memory."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100
"""The target class of a step that is not scored; a target value that is not scored is NaN."""


class Metric(NamedTuple):
    """A score of whole sequences that can be added up in pieces, and how it is written.

    Attributes:
        tally: outputs and targets of a chunk to sums, (B, K), which add up over chunks.
        finish: the sums of whole sequences, (B, K), to a value and a weight for each, both (B,); the
            score is the mean of values by weights.
        best: the score of a perfect model: 0 where less is better, 1 for a share of right answers, which is written in
            percent, and any other number above 0 where more is better.
        title: its name in a sentence.
        digits: behind the point, where it is written; of a share, those of its percentage.
    """

    tally: Callable[[Tensor, Tensor], Tensor]
    finish: Callable[[Tensor], tuple[Tensor, Tensor]]
    best: float
    title: str
    digits: int = 4

    @property
    def is_share(self) -> bool:
        """Whether the score is a share of right answers, in [0, 1], of which more is better."""
        return self.best == 1.0

    @property
    def more_is_better(self) -> bool:
        """Whether the higher of two scores is the better one."""
        return self.best > 0

    @property
    def scale(self) -> int:
        """What a score is multiplied by where it is written or drawn: 100 for a share."""
        return 100 if self.is_share else 1

    @property
    def label(self) -> str:
        """The title with its unit, as a column or an axis has it."""
        return self.title + (", %" if self.is_share else "")


def _squared_errors(output: Tensor, target: Tensor) -> Tensor:
    asked = ~target.isnan()
    errors = torch.where(asked, output - target, 0).double().square()
    return torch.stack([errors.flatten(1).sum(1), asked.flatten(1).sum(1).double()], dim=1)


def _right_answers(output: Tensor, target: Tensor) -> Tensor:
    target = target.reshape(len(target), -1)
    asked = target != IGNORED
    right = (output.argmax(-1).reshape(target.shape) == target) & asked
    return torch.stack([right.sum(1), asked.sum(1)], dim=1).double()


def _votes(output: Tensor, target: Tensor) -> Tensor:
    """How often each class was answered, and how often it was the target."""
    asked = target != IGNORED
    classes = output.shape[-1]
    said, wanted = (F.one_hot(c, classes) for c in (output.argmax(-1), torch.where(asked, target, 0)))
    return torch.cat([(counts * asked[..., None]).sum(1) for counts in (said, wanted)], dim=1).double()


def _bits(output: Tensor, target: Tensor) -> Tensor:
    losses = F.cross_entropy(output.flatten(0, -2), target.flatten(), ignore_index=IGNORED, reduction="none")
    bits = losses.double().reshape(len(target), -1).sum(1) / math.log(2)
    return torch.stack([bits, (target != IGNORED).reshape(len(target), -1).sum(1).double()], dim=1)


def _outcomes(output: Tensor, target: Tensor) -> Tensor:
    """What each episode of an agent has scored; there is nothing to compare it with."""
    return torch.stack([output, torch.ones_like(output)], dim=1).double()


def _mean(tally: Tensor) -> tuple[Tensor, Tensor]:
    return tally[:, 0] / tally[:, 1].clamp(min=1), tally[:, 1]


def _all_right(tally: Tensor) -> tuple[Tensor, Tensor]:
    return (tally[:, 0] == tally[:, 1]).double(), torch.ones_like(tally[:, 0])


def _majority(tally: Tensor) -> tuple[Tensor, Tensor]:
    said, wanted = tally.chunk(2, dim=1)
    return (said.argmax(1) == wanted.argmax(1)).double(), torch.ones_like(tally[:, 0])


METRICS: dict[str, Metric] = {
    "mse": Metric(_squared_errors, _mean, 0.0, "mean squared error"),
    "accuracy": Metric(_right_answers, _mean, 1.0, "accuracy", digits=1),
    "sequence_accuracy": Metric(_right_answers, _all_right, 1.0, "sequences right at every step", digits=1),
    "vote_accuracy": Metric(_votes, _majority, 1.0, "accuracy by majority vote over frames", digits=1),
    "success": Metric(_outcomes, _mean, 1.0, "episodes that succeed", digits=1),
    "return": Metric(_outcomes, _mean, math.inf, "return of an episode", digits=3),
    "bits": Metric(_bits, _mean, 0.0, "bits per character", digits=3),
}
"""Name to metric. A task names its own; tables, figures and pages write its scores as it says here."""


def largest_share(classes: Tensor) -> float:
    """The share of the most frequent class, which is the accuracy of always answering with it.

    >>> largest_share(torch.tensor([0, 2, 2, 1]))
    0.5
    """
    return classes.bincount().max().item() / len(classes)
