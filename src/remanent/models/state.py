"""What a model carries from one chunk of a sequence to the next, also as named tensors for other processes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from remanent.models import _shards
from remanent.models.attention import AttentionState
from remanent.models.hybrid import LayerState
from remanent.ops.checks import check_tensor
from remanent.units._layout import real_steps

HEAD_PARTS = ("total", "steps", "time")
"""The parts of a model's state besides those of its blocks."""


class BlockState(NamedTuple):
    """What a block carries from one chunk of a sequence to the next.

    Attributes:
        layer: one state per unit; None at the start.
        window: that of its convolution, (conv_size - 1, B, hidden_size); None at the start, or where it has none.
    """

    layer: LayerState | None = None
    window: Tensor | None = None


class ModelState(NamedTuple):
    """Everything that a model carries from one chunk of a sequence to the next.

    Attributes:
        layers: for each block, one state per unit: (1, B, D), two of them for an LSTM, or an
            `AttentionState`.
        total: the sum of what the head read so far, float64 (B, hidden_size), where it takes the mean.
        steps: over how many steps, float64 (B, 1), where it takes the mean.
        time: steps since the sequence's start, int64 (B,), where the model has a clock; no more than its span.
        windows: for each block, the inputs of the last steps of its convolution, the oldest first,
            (conv_size - 1, B, hidden_size), where the model has convolutions.
    """

    layers: tuple[LayerState, ...]
    total: Tensor | None = None
    steps: Tensor | None = None
    time: Tensor | None = None
    windows: tuple[Tensor, ...] | None = None

    @classmethod
    def of(
        cls,
        blocks: Sequence[BlockState],
        *,
        total: Tensor | None = None,
        steps: Tensor | None = None,
        time: Tensor | None = None,
    ) -> "ModelState":
        """The state of a model from those of its blocks and, by name, its other parts."""
        windows = tuple(block.window for block in blocks if block.window is not None)
        return cls(tuple(block.layer or () for block in blocks), total, steps, time, windows or None)

    def block(self, i: int) -> BlockState:
        """The state of a block, by its number from 0."""
        windows = self.windows or ()
        first = len(self.layers) - len(windows)  # one that reads letters has none
        return BlockState(self.layers[i], windows[i - first] if i >= first else None)

    def detach(self) -> "ModelState":
        """The same state, through which no gradient flows, for truncated back-propagation."""
        return tree_map_only(Tensor, Tensor.detach, self)

    def named(self) -> dict[str, Tensor]:
        """The tensors by name: "layers.0.0" for the first block's first unit, "windows.0" for the first convolution."""
        named: dict[str, Tensor] = {}
        for i, layer in enumerate(self.layers):
            for j, unit in enumerate(layer):
                parts = {f".{k}": part for k, part in enumerate(unit)} if isinstance(unit, tuple) else {"": unit}
                named |= {f"layers.{i}.{j}{k}": part for k, part in parts.items() if part is not None}
        named |= {name: getattr(self, name) for name in HEAD_PARTS if getattr(self, name) is not None}
        return named | {f"windows.{i}": window for i, window in enumerate(self.windows or ())}


def head_of_one_step(state: ModelState | None) -> ModelState | None:
    """A state whose parts besides those of the blocks have an axis of one step after that of the batch."""
    if state is None:
        return None
    parts = (state.total, state.steps, state.time)
    total, steps, time = (None if part is None else part[:, None] for part in parts)
    return state._replace(total=total, steps=steps, time=time)


def mean_so_far(
    x: Tensor,
    state: ModelState | None,
    reset: Tensor | None,
    reset_state: ModelState | None = None,
    group: Any = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The mean over the real steps since the last start, with the sum and the count that continue it.

    They are added up one step after another, in float64: any cut gives the same bits, and a stream may be
    longer than a smaller type can count. Shards are added up each alone, and then together.
    """
    B, T, _ = x.shape
    wide = x.to(torch.float64, copy=True)
    count = wide.new_full((B, 1), T)
    if lengths is not None:
        real = real_steps(lengths, T)
        wide, count = torch.where(real[..., None], wide, 0), lengths[:, None].double()
    carries = torch.ones_like(count, dtype=torch.bool)
    if reset is not None:
        after = reset.flip(1).cumsum(1).flip(1) - reset.long() == 0  # no reset later than this step
        wide = torch.where(after[..., None], wide, 0)
        after = after if lengths is None else after & real
        count = after.sum(1, keepdim=True).double()
        carries = ~reset.any(1, keepdim=True)
        if reset_state is not None and reset_state.total is not None and reset_state.steps is not None:
            last = (reset & after)[..., None]
            wide = wide + torch.where(last, reset_state.total, 0)
            count = count + torch.where(last, reset_state.steps, 0).sum(1)
    before = (state.total, state.steps) if state else (None, None)
    if group is not None:
        total, count = _shards.mean_of_all(wide.sum(1), count, carries, before, group)
        return (total / count).to(x.dtype), total, count
    if before[0] is not None and before[1] is not None:
        wide[:, 0] += torch.where(carries, before[0], 0)
        count = count + torch.where(carries, before[1], 0)
    total = wide.cumsum(1)[:, -1]
    return (total / count).to(x.dtype), total, count


def batch_axis(name: str) -> int:
    """The axis of the batch in a tensor of `ModelState.named`, other than one of attention."""
    return 0 if name in HEAD_PARTS else 1


def take_state(named: dict[str, Tensor], like: ModelState) -> ModelState:
    """A state of the form of another, from copies of tensors that are taken out of a dict by their names.

    Raises:
        ValueError: a name is missing, or a shape does not fit; the message calls the dict `state`.
        TypeError: a value is not a tensor, or of another dtype.
    """
    layers = tuple(
        tuple(_take_unit(named, f"layers.{i}.{j}", unit) for j, unit in enumerate(layer))
        for i, layer in enumerate(like.layers)
    )
    parts = {name: getattr(like, name) for name in HEAD_PARTS}
    rest = {name: None if part is None else take_tensor(named, name, part) for name, part in parts.items()}
    windows = [take_tensor(named, f"windows.{i}", window) for i, window in enumerate(like.windows or ())]
    return ModelState(layers, **rest, windows=tuple(windows) or None)


def take_tensor(named: dict[str, Tensor], name: str, like: Tensor, *, grows: int | None = None) -> Tensor:
    """A copy of a tensor that is taken out of a dict, checked to be like another, except along the axis that grows."""
    if name not in named:
        raise ValueError(f"`state` must hold {name!r} for this model, got {', '.join(named) or 'nothing'}")
    value = named.pop(name)
    check_like(f"state[{name!r}]", value, like, grows=grows)
    return value.detach().clone().to(like.device)


def check_head_part(name: str, value: Tensor | None, what: str, shape: tuple[int, ...] | None, x: Tensor) -> None:
    """Raises unless a part of a model's state besides those of its layers is that of the model.

    Args:
        name: the argument, a dot, and the part's name, one of `HEAD_PARTS`.
        value: the part.
        what: what a model has that carries this part.
        shape: its shape; None where the model carries no such part.
        x: the model's input, on whose device the part must be.

    Raises:
        ValueError: the part is missing or superfluous, or its shape or device does not fit.
        TypeError: it is no tensor, or of another dtype.
    """
    state, part = name.split(".")
    if (value is None) != (shape is None):
        has = f"no {what.removeprefix('a ')}" if shape is None else what
        found = "None" if value is None else "one"
        raise ValueError(f"`{state}` must be that of this model, which has {has}, got `{part}` {found}")
    if shape is not None:
        dtype = torch.int64 if part == "time" else torch.float64
        check_like(name, value, torch.empty(shape, dtype=dtype, device="meta"))
        assert value is not None
        if value.device != x.device:
            raise ValueError(f"`{name}` must be on the device of the input, {x.device}, got {value.device}")


def check_like(name: str, value: Any, like: Tensor, *, grows: int | None = None) -> None:
    """Raises unless a value is a tensor of the dtype and shape of another, except along the axis that grows."""
    check_tensor(name, value)
    if value.dtype != like.dtype:
        raise TypeError(f"`{name}` must have dtype {like.dtype}, got {value.dtype}")
    expected = list(like.shape)
    if grows is not None and value.dim() == like.dim():
        expected[grows] = value.shape[grows]
    if list(value.shape) != expected:
        raise ValueError(f"`{name}` must have shape {tuple(expected)}, got {tuple(value.shape)}")


def _take_unit(named: dict[str, Tensor], name: str, like: Any) -> Any:
    if isinstance(like, AttentionState):
        key = take_tensor(named, f"{name}.0", like.key, grows=2)
        value = take_tensor(named, f"{name}.1", key)
        rows = key[:, 0, :, 0]
        if f"{name}.2" not in named:
            return AttentionState(key, value)
        return AttentionState(key, value, take_tensor(named, f"{name}.2", torch.ones_like(rows, dtype=torch.bool)))
    if isinstance(like, Tensor):
        return take_tensor(named, name, like)
    return tuple(take_tensor(named, f"{name}.{k}", part) for k, part in enumerate(like))
