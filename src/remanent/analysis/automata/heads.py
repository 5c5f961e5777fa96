"""What the K-state heads of a model of tokens are: a table for each letter, and the maps that these generate."""

import copy
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.models import SequenceModel
from remanent.models.letters import letter_tables, letters_read, why_not_letters
from remanent.ops.arguments import HeadSizes
from remanent.ops.checks import check_tensor
from remanent.units import RecurrentUnit

COMPOSED = 2**14
"""About how many maps are composed at a time, so that what is left is not composed once enough are found."""


class Head(NamedTuple):
    """Where a K-state head of a model is.

    Attributes:
        block: the number of its block, from 0.
        unit: the place of its unit among those of the block, from 0.
        number: its number in the unit, from 0.
    """

    block: int
    unit: int
    number: int


@torch.no_grad()
def tables_of(model: SequenceModel, unit: int | None = None) -> Tensor:
    r"""The tables of the K-state heads in a model's first block: $\tau_v[k, j]$ is where letter v moves head k from j.

    They are taken from the logits that the model's own encoder and norm give for each letter. At an `epsilon` above 0
    they are the tables that it would have at 0.

    Args:
        model: a model of tokens, whose first block sees the present letter alone.
        unit: the place of the unit among those of the block, from 0; the first one that has heads if None.

    Returns:
        The tables, uint8 (V, H, K): for each letter and head, from each state to the next.

    Raises:
        TypeError: `model` is not a SequenceModel.
        ValueError: it does not read tokens, its first block also sees other steps or a clock, or the unit has no heads.

    >>> from remanent import ModelConfig
    >>> config = ModelConfig(2, 2, unit="mru", num_layers=1, encoder="table", num_states=2, state_size=12)
    >>> tables_of(SequenceModel(config)).shape
    torch.Size([2, 3, 2])
    """
    check_model(model)
    why_not = why_not_letters(model)
    if why_not is not None:
        raise ValueError(why_not)
    tables = letter_tables(unit_of_letters(model, unit), letters_read(model))
    assert tables is not None
    return tables


def maps_reached(tables: Tensor, most: int = 1000) -> list[int]:
    """How many maps of its states each head reaches: those of all words of letters, the empty word included.

    A head that learned a group reaches as many as the group has elements; one that did not wanders through thousands.

    Args:
        tables: uint8 (V, H, K), for each letter and head from each state to the next.
        most: counting ends here, at least 1; a head that reaches more maps gets this number.

    Returns:
        The number for each head, from 1 to `most`.

    Raises:
        TypeError: `tables` is not a tensor of bytes.
        ValueError: its shape is another one, an entry is no state, or `most` is below 1.

    >>> flip_or_hold = torch.tensor([[[0, 1]], [[1, 0]]], dtype=torch.uint8)
    >>> maps_reached(flip_or_hold)
    [2]
    """
    check_tables(tables)
    check_at_least("most", most, 1)
    return [_count(np.unique(head, axis=0), most) for head in tables.cpu().numpy().swapaxes(0, 1)]


def all_heads(model: SequenceModel) -> list[Head]:
    """All K-state heads of a model, in the order of the data; the heads of a block that only repeats one are others."""
    check_model(model)
    return [
        Head(i, j, number)
        for i, block in enumerate(model.blocks)
        for j, unit in enumerate(block.layer.units)  # type: ignore[union-attr, arg-type]
        if has_heads(unit)
        for number in range(num_heads(unit))
    ]


@torch.no_grad()
def freeze(model: SequenceModel, heads: Iterable[Head]) -> SequenceModel:
    """A copy of a model in which some K-state heads stay in their start states for ever.

    Args:
        model: the model, which is left as it is.
        heads: the heads, of those that `all_heads` gives.

    Returns:
        The copy, of the same configuration, in which the table of these heads is the identity for every input.

    Raises:
        TypeError: `model` is not a SequenceModel.
        ValueError: it has no such head, or no biases that could hold one.

    >>> from remanent import ModelConfig
    >>> config = ModelConfig(2, 2, unit="mru", num_layers=1, encoder="table", num_states=2, state_size=12)
    >>> frozen = freeze(SequenceModel(config), [Head(0, 0, 1)])
    >>> tables_of(frozen)[:, 1].tolist()
    [[0, 1], [0, 1]]
    """
    known = all_heads(model)
    frozen = copy.deepcopy(model)
    blocks: Any = frozen.blocks
    for head in heads:
        if head not in known:
            raise ValueError(f"`heads` must be those of the model, {len(known)} of them, got {head}")
        _hold(
            blocks[head.block].layer.units[head.unit],
            head.number,
            reads_letters=head.block == 0 and model.config.encoder == "table",
        )
    return frozen


def unit_of_letters(model: SequenceModel, place: int | None = None) -> RecurrentUnit:
    """The unit at a place of the first block, or the first one of it that has K-state heads; raises where none has."""
    units: list[RecurrentUnit] = list(model.blocks[0].layer.units)  # type: ignore[union-attr, arg-type]
    if place is not None and not 0 <= place < len(units):
        raise ValueError(f"`unit` must be a place from 0 to {len(units) - 1}, got {place}")
    for unit in units if place is None else [units[place]]:
        if has_heads(unit):
            return unit
    names = "+".join(model.config.layers[0]) if place is None else model.config.layers[0][place]
    raise ValueError(f"`model` must have K-state heads in its first block, got {names}")


def has_heads(unit: object) -> bool:
    """Whether a part of a block has K-state heads."""
    return isinstance(unit, RecurrentUnit) and unit.recurrence.scan_kind == "transition"


def num_heads(unit: RecurrentUnit) -> int:
    """How many heads a unit with heads has."""
    sizes: HeadSizes = unit.recurrence.sizes  # type: ignore[attr-defined]
    return sizes.heads(unit._params("_l0")["weight_ih"].shape[0])


def check_model(model: object) -> None:
    """Raises unless this is a sequence model."""
    if not isinstance(model, SequenceModel):
        raise TypeError(f"`model` must be a SequenceModel, got {type(model).__name__}")


def check_tables(tables: Tensor) -> None:
    """Raises unless these are tables of heads by letter, bytes (V, H, K) of which each is a state."""
    check_tensor("tables", tables)
    if tables.dtype != torch.uint8:
        raise TypeError(f"`tables` must have dtype uint8, got {str(tables.dtype).removeprefix('torch.')}")
    if tables.dim() != 3 or tables.numel() == 0:
        raise ValueError(f"`tables` must have shape (V, H, K), at least one of each, got {tuple(tables.shape)}")
    if int(tables.max()) >= tables.shape[2]:
        raise ValueError(f"`tables` must have entries below K={tables.shape[2]}, got {int(tables.max())}")


def _hold(unit: RecurrentUnit, number: int, *, reads_letters: bool) -> None:
    """Makes the table of a head the identity, by biases, or in every column where an input picks one."""
    p, K = unit._params("_l0"), unit.recurrence.sizes.states  # type: ignore[attr-defined]
    weight, bias = p["weight_ih"], p.get("bias_ih")
    rows = slice(number * K**2, (number + 1) * K**2)
    identity = torch.eye(K, dtype=weight.dtype, device=weight.device).flatten()
    if bias is not None:
        weight[rows], bias[rows] = 0, identity
    elif reads_letters:
        weight[rows] = identity[:, None]
    else:
        raise ValueError("`model` must have biases in units that do not read letters, got bias=False")


def _count(letters: np.ndarray, most: int) -> int:
    """How many maps the tables of a head, (V, K), generate from the identity, breadth first, up to `most`."""
    V, K = letters.shape
    todo = np.arange(K, dtype=np.uint8)[None]
    found = set(_as_bytes(todo))
    piece = max(1, COMPOSED // V)
    while len(todo):
        fresh: list[bytes] = []
        for left in range(0, len(todo), piece):
            new = set(_as_bytes(letters[:, todo[left : left + piece]])) - found
            found |= new
            fresh += new
            if len(found) >= most:
                return most
        todo = np.frombuffer(b"".join(fresh), np.uint8).reshape(-1, K)
    return len(found)


def _as_bytes(maps: np.ndarray) -> list[bytes]:
    """Maps (..., K) as one byte string each."""
    return np.ascontiguousarray(maps).view(f"V{maps.shape[-1]}").ravel().tolist()  # type: ignore[no-any-return]
