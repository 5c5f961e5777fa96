"""A session: one endless batch of streams through a model, which holds the state between pushes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from remanent._options import check_at_least
from remanent.models.attention import AttentionState

if TYPE_CHECKING:
    from remanent.models.sequence import ModelState, SequenceModel

RESTART = "restart"
HEAD_PARTS = ("total", "steps", "time")
"""What a model's state holds beside its layers, where it needs it."""


class Session:
    """Streams through a model, B of them side by side: push what came, get what the model says of it.

    Made by `SequenceModel.stream`. No gradient is kept. Memory is constant, however long a stream is (attention
    alone keeps every step). Cut into pushes in any way, a stream of set-or-hold units gives the same bits.

    Args:
        model: a model in evaluation mode; its weights are read at every push.
        batch_size: B, at least 1.

    Raises:
        ValueError: `batch_size` is out of its range, or the model would drop values.
        TypeError: `batch_size` is not an int.

    >>> from remanent import ModelConfig, SequenceModel
    >>> model = SequenceModel(ModelConfig(input_size=3, output_size=2, head="every"))
    >>> session = model.stream()
    >>> session.push(torch.randn(1, 5, 3)).shape
    torch.Size([1, 5, 2])
    """

    def __init__(self, model: SequenceModel, batch_size: int = 1) -> None:
        check_at_least("batch_size", batch_size, 1)
        if model.training and model.config.dropout > 0:
            raise ValueError("`model` must be in evaluation mode (`model.eval()`), got one in training, with dropout")
        self.model = model
        self.batch_size = batch_size
        self._state: ModelState | None = None
        self._restart = torch.ones(batch_size, dtype=torch.bool, device=model.head.weight.device)

    @torch.no_grad()
    def push(self, x: Tensor) -> Tensor:
        """Runs the next steps of every stream.

        Args:
            x: any number of steps, at least one, (B, T, input_size); for an embedding, tokens (B, T), int64.

        Returns:
            What the model's head says: (B, T, output_size) where it reads every step, else (B, output_size)
            after the last of these steps, of which "mean" takes all since the start.

        Raises:
            ValueError: a shape or device does not fit; nothing has changed then.
            TypeError: a dtype does not fit; likewise.
        """
        reset = None
        if isinstance(x, Tensor) and x.dim() > 1:
            if x.shape[0] != self.batch_size:
                raise ValueError(f"`x` must have the session's B={self.batch_size} streams, got {tuple(x.shape)}")
            if self._state is not None and self._restart.any():
                reset = self._restart.new_zeros(x.shape[:2])
                reset[:, :1] = self._restart[:, None]
        y, state = self.model(x, self._state, reset=reset)
        self._state = state
        self._restart = torch.zeros_like(self._restart)
        return y

    def reset(self, which: Tensor | None = None) -> None:
        """Lets streams start anew at their next step, as if nothing had come before.

        Args:
            which: bool (B,), true for those that start anew; all of them if None.

        Raises:
            ValueError: the shape or device does not fit.
            TypeError: it is not a bool tensor.
        """
        if which is None:
            which = torch.ones_like(self._restart)
        _check_like("which", which, self._restart)
        self._restart = self._restart | which
        if self._restart.all():
            self._state = None

    def state(self) -> dict[str, Tensor]:
        """Everything that the streams carry, as named tensors, to be sent or kept (with safetensors, for one).

        Returns:
            "restart", bool (B,): which streams start anew at their next step; and, unless all do, the model's
            state: "layers.0.0" for the first unit of the first block, (1, B, D), and so on. They are copies.
        """
        named = {RESTART: self._restart.clone()}
        if self._state is not None:
            contiguous = torch.contiguous_format
            named |= {name: value.clone(memory_format=contiguous) for name, value in _flatten(self._state)}
        return named

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Goes on from what `state` gave, in this process or another, with the same model and batch size.

        Args:
            state: the named tensors; copied.

        Raises:
            ValueError: a name is missing or unknown, or a shape does not fit; nothing has changed then.
            TypeError: a value is not a tensor, or of another dtype; likewise.
        """
        if not isinstance(state, dict):
            raise TypeError(
                f"`state` must be a dict of tensors, as `Session.state` gives it, got {type(state).__name__}"
            )
        left = dict(state)
        restart = _take(left, RESTART, self._restart)
        after = None if restart.all() else _unflatten(left, self.model(self._one_step())[1])
        if left:
            raise ValueError(f"`state` must be that of a session of this model, got the unknown {', '.join(left)}")
        self._restart, self._state = restart, after

    def _one_step(self) -> Tensor:
        """An input of one step, whatever it holds."""
        size, weight = self.model.config.input_size, self.model.head.weight
        if self.model.config.encoder == "embedding":
            return torch.zeros(self.batch_size, 1, dtype=torch.int64, device=weight.device)
        return weight.new_zeros(self.batch_size, 1, size)


def _flatten(state: ModelState) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a state, and their names."""
    for i, layer in enumerate(state.layers):
        for j, unit in enumerate(layer):
            if isinstance(unit, Tensor):
                yield f"layers.{i}.{j}", unit
            else:
                yield from ((f"layers.{i}.{j}.{k}", part) for k, part in enumerate(unit) if part is not None)
    yield from ((name, getattr(state, name)) for name in HEAD_PARTS if getattr(state, name) is not None)


def _unflatten(named: dict[str, Tensor], like: ModelState) -> ModelState:
    """A state of the form of another, from tensors that are taken out of a dict."""
    layers = tuple(
        tuple(_take_unit(named, f"layers.{i}.{j}", unit) for j, unit in enumerate(layer))
        for i, layer in enumerate(like.layers)
    )
    parts = (getattr(like, name) for name in HEAD_PARTS)
    rest = [None if part is None else _take(named, name, part) for name, part in zip(HEAD_PARTS, parts, strict=True)]
    return type(like)(layers, *rest)


def _take_unit(named: dict[str, Tensor], name: str, like: Any) -> Any:
    if isinstance(like, AttentionState):
        key = _take(named, f"{name}.0", like.key, grows=2)
        value = _take(named, f"{name}.1", key)
        rows = key[:, 0, :, 0]
        visible = _take(named, f"{name}.2", torch.ones_like(rows, dtype=torch.bool)) if f"{name}.2" in named else None
        return AttentionState(key, value, visible)
    if isinstance(like, Tensor):
        return _take(named, name, like)
    return tuple(_take(named, f"{name}.{k}", part) for k, part in enumerate(like))


def _take(named: dict[str, Tensor], name: str, like: Tensor, *, grows: int | None = None) -> Tensor:
    """A copy of a tensor that is taken out of a dict, checked to be like another, but for the axis that grows."""
    if name not in named:
        raise ValueError(f"`state` must hold {name!r} for this model, got {', '.join(named) or 'nothing'}")
    value = named.pop(name)
    _check_like(f"state[{name!r}]", value, like, grows=grows)
    return value.detach().clone().to(like.device)


def _check_like(name: str, value: Any, like: Tensor, *, grows: int | None = None) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"`{name}` must be a torch.Tensor, got {type(value).__name__}")
    if value.dtype != like.dtype:
        raise TypeError(f"`{name}` must have dtype {like.dtype}, got {value.dtype}")
    expected = list(like.shape)
    if grows is not None and value.dim() == like.dim():
        expected[grows] = value.shape[grows]
    if list(value.shape) != expected:
        raise ValueError(f"`{name}` must have shape {tuple(expected)}, got {tuple(value.shape)}")
