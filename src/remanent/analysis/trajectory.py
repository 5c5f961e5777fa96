"""States over time under a given input."""

import torch
from torch import Tensor

from remanent.models import SequenceModel


@torch.no_grad()
def state_trajectory(model: SequenceModel, x: Tensor, *, block: int = 0, unit: int = 0) -> Tensor:
    """What one unit of a model puts out at every step.

    Args:
        model: any model.
        x: inputs, (B, T, M).
        block: which block, counted from the input.
        unit: which of its units, as `ModelConfig.unit` names them.

    Returns:
        The unit's outputs, (B, T, D); of a BMRU these are its states.

    Raises:
        ValueError: there is no such block or unit.
    """
    if not 0 <= block < len(model.blocks):
        raise ValueError(f"`block` must be in [0, {len(model.blocks)}), got {block}")
    units = model.blocks[block].layer.units  # type: ignore[union-attr]
    if not 0 <= unit < len(units):  # type: ignore[arg-type]
        raise ValueError(f"`unit` must be in [0, {len(units)}), got {unit}")  # type: ignore[arg-type]
    seen: list[Tensor] = []
    handle = units[unit].register_forward_hook(lambda _, __, output: seen.append(output[0]))  # type: ignore
    try:
        model.eval()
        model(x)
    finally:
        handle.remove()
    return seen[0]
