"""A model whose packed states are bits: what a state is multiplied by goes into the weights that read it."""

import copy
from typing import Any

import torch

from remanent.models import Hybrid, SequenceModel
from remanent.units import BMRU, FQBMRU


def is_packed(unit: object) -> bool:
    """Whether a unit's states are one of two values, which a bit says."""
    return isinstance(unit, FQBMRU) or (isinstance(unit, BMRU) and unit.epsilon == 0)


def fold_states(model: SequenceModel) -> SequenceModel:
    r"""A copy in which packed states are $\pm 1/2$ (BMRU) or 0 and 1 (FQ-BMRU), and which gives the same outputs.

    The width of their range, $2 \alpha$ or $\alpha$, becomes a factor of the columns that read them. Units whose
    outputs are summed share columns, and keep theirs.

    Raises:
        ValueError: a learned initial state cannot be told in units of an $\alpha$ of 0.
    """
    model = copy.deepcopy(model).eval()
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
                if is_packed(unit):
                    alpha: torch.Tensor = unit.alpha_l0
                    size = alpha.abs() if isinstance(unit, FQBMRU) else 2 * alpha
                    if hasattr(unit, "h0_l0"):
                        if (size == 0).any():
                            raise ValueError(f"`alpha` of block {i} must not be 0 where states start as learned, got 0")
                        unit.h0_l0 /= size
                    block.project.weight[:, columns] *= size
                    unit.alpha_l0.fill_(1 if isinstance(unit, FQBMRU) else 0.5)
    return model
