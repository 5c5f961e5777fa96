"""The comparison of another runtime with torch: the inputs, the difference, and how large it may be."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent.models import SequenceModel
from remanent.models.inputs import in_units

TIPPED = 1
"""How many sequences may differ in a model that chooses, as latches do: a sum in another order may tip a choice."""


class Check(NamedTuple):
    """How close the outputs of a file are to those of torch.

    Attributes:
        file: its name.
        sequences: how many sequences were compared.
        steps: how many steps they have in all.
        tipped: how many of them differ by more than is allowed somewhere.
        largest: the largest difference of an output in the others, over the larger of 1 and the largest output.
    """

    file: str
    sequences: int
    steps: int
    tipped: int
    largest: float


def inputs(model: SequenceModel, B: int, T: int) -> Tensor:
    """Random inputs in the model's units, the same for the same sizes: (B, T, input_size), or tokens (B, T)."""
    generator = torch.Generator().manual_seed(B * T)
    if model.config.reads_tokens:
        return torch.randint(model.config.input_size, (B, T), generator=generator)
    return in_units(model, torch.randn(B, T, model.config.input_size, generator=generator))


def difference(name: str, found: np.ndarray, expected: Tensor, *, axis: int) -> np.ndarray:
    """How far each sequence, along an axis, is from torch at the most, over the larger of 1 and the largest value."""
    if found.shape != expected.shape:
        raise RuntimeError(f"{name} must give {tuple(expected.shape)}, as torch does, got {found.shape}")
    difference = np.abs(found - expected.numpy()) / max(1.0, expected.abs().max().item())
    return difference.max(tuple(i for i in range(found.ndim) if i != axis))


def judge(model: SequenceModel, name: str, largest: np.ndarray, steps: int, tolerance: float) -> Check:
    """The differences of sequences, one each, as a `Check`.

    Raises:
        RuntimeError: more of them than may be tipped are beyond the tolerance.
    """
    tipped = ~(largest <= tolerance)  # what is not a number is not near
    allowed = TIPPED if any(recurrence.chooses for recurrence in model.recurrences) else 0
    if tipped.sum() > allowed:
        rule = f"{name} must give what torch does to {tolerance:g} in all of {len(largest)} sequences but {allowed}"
        raise RuntimeError(f"{rule}, got {tipped.sum()} further away, at most {largest.max():.2g}")
    return Check(name, len(largest), steps, int(tipped.sum()), largest[~tipped].max().item())
