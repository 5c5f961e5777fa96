"""What the units of a model's first block read for each letter, and the tables that this gives K-state heads."""

from typing import Any

import torch
from torch import Tensor

from remanent.models.blocks import Block
from remanent.models.sequence import SequenceModel
from remanent.units import RecurrentUnit


def why_not_letters(model: SequenceModel) -> str | None:
    """What a model must do for the units of its first block to read the present letter alone; None where they do.

    >>> from remanent import ModelConfig
    >>> why_not_letters(SequenceModel(ModelConfig(3, 2, encoder="embedding", conv_size=2)))
    '`model` must show its first block one letter at a time, got conv_size=2'
    """
    config = model.config
    if not config.reads_tokens:
        return f"`model` must read tokens, got encoder={config.encoder!r}"
    if _first_block(model).conv is not None:
        return f"`model` must show its first block one letter at a time, got conv_size={config.conv_size}"
    if model.clock is not None:
        return f"`model` must show its first block letters alone, got clock={config.clock!r}"
    return None


def letters_read(model: SequenceModel) -> Tensor | None:
    """What the units of a model's first block read for each of V letters, (V, M); None where they read more."""
    if why_not_letters(model) is not None:
        return None
    letters = torch.arange(model.config.input_size, device=model.head.weight.device)
    return _first_block(model).norm(model.encoder(letters))  # type: ignore[no-any-return]


def letter_tables(unit: object, letters: Tensor | None) -> Tensor | None:
    """Where each letter moves each state of the K-state heads of a unit.

    Args:
        unit: a part of the first block.
        letters: what it reads for each letter, (V, M), as `letters_read` gives it.

    Returns:
        The tables, uint8 (V, H, K); None where the unit has no heads, or reads more than letters.
    """
    if letters is None or not isinstance(unit, RecurrentUnit):
        return None
    return unit.recurrence.tables(unit._params("_l0"), letters)


def _first_block(model: SequenceModel) -> Block:
    block: Any = model.blocks[0]
    return block  # type: ignore[no-any-return]
