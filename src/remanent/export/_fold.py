"""A model as it is exported: its parameters as numbers; the factor of a packed state in the weights that read it."""

import copy
from typing import Any, NamedTuple

import torch

from remanent.latches import fold_gate_norm
from remanent.models import Hybrid, SequenceModel
from remanent.models.imprecise import quantized
from remanent.models.letters import letter_tables, letters_read
from remanent.units import RecurrentUnit, StepData


class Levels(NamedTuple):
    """The two states of a packed unit, as multiples of its `alpha`."""

    low: int
    high: int


PACKED = {"latch": Levels(-1, 1), "latch_between": Levels(0, 1)}
"""Kind of step to the two states that a bit stands for."""


def step_data(unit: object) -> StepData | None:
    """One step of a unit of one layer as plain data; None for attention and for units that have no such form."""
    return unit.recurrence.step_data(unit._params("_l0")) if isinstance(unit, RecurrentUnit) else None


def packed_levels(step: StepData | None) -> Levels | None:
    """The two states that a bit stands for; None where states are floats."""
    return None if step is None else PACKED.get(step.kind)


@torch.no_grad()
def in_bytes(model: SequenceModel) -> SequenceModel:
    """A copy whose matrices are whole numbers with a scale for each row, except those of which C has tables."""
    rounded, letters = quantized(model, 8), letters_read(model)
    units: Any = [each.blocks[0].layer.units for each in (rounded, model)]  # type: ignore[union-attr]
    for unit, exact in zip(*units, strict=True):
        if letter_tables(exact, letters) is not None:
            unit.load_state_dict(exact.state_dict())
    return rounded


def fold_statistics(model: SequenceModel) -> SequenceModel:
    """The model itself, in which gates that running statistics normalise are folded into weights and biases."""
    if any(getattr(recurrence, "gate_norm", None) == "batch" for recurrence in model.recurrences):
        fold_gate_norm(model)
    return model


def fold_states(model: SequenceModel) -> SequenceModel:
    r"""A copy in which packed states are $\pm 1/2$ (BMRU) or 0 and 1 (FQ-BMRU), and which gives the same outputs.

    The width of their range, $2 \alpha$ or $\alpha$, becomes a factor of the columns that read them. Units whose
    outputs are summed share columns, and are left as they are.

    Raises:
        ValueError: a learned initial state cannot be expressed in units of an $\alpha$ of 0.
    """
    model = fold_statistics(copy.deepcopy(model).eval())
    with torch.no_grad():
        block: Any
        for i, block in enumerate(model.blocks):
            layer: Hybrid = block.layer
            if layer.join == "sum" and len(layer.units) > 1:
                continue
            start = 0
            unit: Any
            for unit in layer.units:
                columns = slice(start, start + unit.hidden_size)
                start = columns.stop
                step = step_data(unit)
                levels = packed_levels(step)
                if step is None or levels is None:
                    continue
                width = levels.high - levels.low
                size = width * step.values["alpha"]
                if hasattr(unit, "h0_l0"):
                    if (size == 0).any():
                        raise ValueError(f"`alpha` of block {i} must not be 0 where states start as learned, got 0")
                    unit.h0_l0 /= size
                block.project.weight[:, columns] *= size
                unit.alpha_l0.fill_(1 / width)
    return model


def frozen(model: SequenceModel) -> SequenceModel:
    """A copy whose recurrences hold as numbers what their parameters determine, with statistics folded into weights."""
    model = fold_statistics(copy.deepcopy(model).eval())
    for unit in model.modules():
        if isinstance(unit, RecurrentUnit):
            unit.recurrence = unit.recurrence.frozen(unit._params("_l0"))
    return model
