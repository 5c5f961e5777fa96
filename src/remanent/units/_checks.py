"""Checks of what a unit is given, in torch's words and our own, before anything is computed."""

import numbers
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from remanent.ops.checks import check_reset, check_tensor
from remanent.ops.operators import is_traced


class ShapeError(ValueError, RuntimeError):
    """A shape does not fit: a ValueError as everywhere here, and a RuntimeError as torch's units raise."""


class DtypeError(TypeError, ValueError):
    """A dtype does not fit: a TypeError as everywhere here, and a ValueError as torch's units raise."""


def check_size(name: str, value: int) -> None:
    """Raises unless a size is an int above zero."""
    if not isinstance(value, int) or isinstance(value, bool):
        found = type(value).__name__
        raise TypeError(f"`{name}` must be an int, got {found}: {name} should be of type int, got: {found}")
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1, got {value}: {name} must be greater than zero")


def check_flag(name: str, value: bool) -> None:
    """Raises unless an option is a bool."""
    if not isinstance(value, bool):
        found = type(value).__name__
        raise TypeError(f"`{name}` must be a bool, got {found}: {name} should be of type bool, got: {found}")


def check_dropout(value: float) -> None:
    """Raises unless a probability is a number in [0, 1]."""
    if not isinstance(value, numbers.Number) or isinstance(value, bool) or not 0 <= value <= 1:  # type: ignore[operator]
        raise ValueError(
            f"`dropout` must be in [0, 1], got {value!r}: dropout should be a number in range [0, 1] "
            "representing the probability of an element being zeroed"
        )


def check_rank(unit: str, name: str, value: Tensor, ranks: tuple[int, int]) -> bool:
    """Raises unless a dense tensor has one of two ranks, and returns whether it has the larger."""
    check_tensor(name, value)
    if value.dim() not in ranks:
        low, high = ranks
        raise ShapeError(
            f"`{name}` must have {low} or {high} axes, got {tuple(value.shape)}: "
            f"{unit}: Expected input to be {low}D or {high}D, got {value.dim()}D instead"
        )
    return value.dim() == ranks[1]


def check_input(name: str, value: Tensor, axes: tuple[str, ...], M: int, weight: Tensor, *, cell: bool = False) -> None:
    """Raises unless an input of the right rank fits the weights: its last axis, dtype and device.

    Args:
        name: the argument's name.
        value: the input.
        axes: the names of its axes.
        M: the size of the last one.
        weight: any of the weights.
        cell: whether torch's words are those of its cells.
    """
    if value.shape[-1] != M:
        expected = ", ".join((*axes[:-1], f"M={M}")) if len(axes) > 1 else f"M={M},"
        words = f"input.size(-1) must be equal to input_size. Expected {M}, got {value.shape[-1]}"
        if cell:
            words = f"input has inconsistent input_size: got {value.shape[-1]} expected {M}"
        raise ShapeError(f"`{name}` must have shape ({expected}), got {tuple(value.shape)}: {words}")
    if value.dtype != weight.dtype and not (value.is_floating_point() and _autocast(value)):
        raise DtypeError(
            f"`{name}` must have the dtype of the weights, {weight.dtype}, got {value.dtype}: "
            f"RNN input dtype ({value.dtype}) does not match weight dtype ({weight.dtype}). "
            f"Convert input: input.to({weight.dtype}), or convert model: model.to({value.dtype})"
        )
    if value.device != weight.device:
        raise ValueError(f"`{name}` must be on the device of the weights, {weight.device}, got {value.device}")


def check_gates(recurrence: object, gates: object, count: int, rule: str) -> None:
    """Raises unless a unit's own `gates` returned a tuple of so many tensors, which `rule` describes."""
    if isinstance(gates, Tensor) or len(gates) != count:  # type: ignore[arg-type]
        found = "one tensor that is in no tuple" if isinstance(gates, Tensor) else f"{len(gates)} tensors"  # type: ignore[arg-type]
        raise ValueError(f"`gates` of {type(recurrence).__name__} must return a tuple of {rule}, got {found}")


def check_state(
    name: str,
    value: object,
    shape: tuple[int, ...],
    axes: str,
    dtype: torch.dtype,
    like: Tensor,
    input_kind: str | None,
    cell: str | None = None,
) -> Tensor:
    """Returns a state in its dtype, unless it has not its shape, dtype, and the device of the input.

    For a complex state a real one will do, since code written for other units begins with real zeros.

    Args:
        name: the argument's name.
        value: the state.
        shape: its shape.
        axes: how the shape is written.
        dtype: its dtype.
        like: the input.
        input_kind: what torch calls a unit's input, "batched 3-D" or "unbatched 2-D"; None where it has no words.
        cell: the name of the cell that the state is for; None for a unit.
    """
    check_tensor(name, value)
    assert isinstance(value, Tensor)
    if value.dim() != len(shape) or any(size != wanted for size, wanted in zip(value.shape, shape, strict=True)):
        words = _cell_words(name, value, shape, cell) if cell else _unit_words(name, value, shape, input_kind)
        rule = f"`{name}` must have shape {axes}, got {tuple(value.shape)}"
        raise ShapeError(f"{rule}: {words}" if words else rule)
    if value.dtype != dtype and not (dtype.is_complex and value.is_floating_point()):
        raise DtypeError(f"`{name}` must have dtype {dtype}, got {value.dtype}")
    if value.device != like.device:
        raise ValueError(f"`{name}` must be on the device of the input, {like.device}, got {value.device}")
    return value.to(dtype)


def checked_lengths(lengths: Tensor | Sequence[int], x: Tensor) -> Tensor:
    """Lengths on the input's device, unless they are not ints (B,) in [0, T].

    While tracing, or in transforms, their values are not read.
    """
    B, T, _ = x.shape
    if isinstance(lengths, list | tuple) and all(type(length) is int for length in lengths):
        lengths = torch.tensor(lengths, dtype=torch.int64)
    if not isinstance(lengths, Tensor):
        raise TypeError(f"`lengths` must be a torch.Tensor or a list of ints, got {lengths!r:.50}")
    check_tensor("lengths", lengths)
    if lengths.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"`lengths` must have dtype int64 or int32, got {lengths.dtype}")
    if lengths.dim() != 1 or lengths.shape[0] != B:
        raise ValueError(f"`lengths` must have shape (B={B},), got {tuple(lengths.shape)}")
    if not (is_traced() or B == 0 or lengths.is_meta):
        low, high = int(lengths.min()), int(lengths.max())
        if low < 0 or high > T:
            raise ValueError(f"`lengths` must be in [0, T={T}], got {low if low < 0 else high}")
    return lengths.to(x.device)


def checked_reset(reset: Tensor, x: Tensor, batched: bool) -> Tensor:
    """Resets (B, T), after a check against the sequence."""
    if not batched:
        check_tensor("reset", reset)
        if reset.dim() != 1:
            raise ValueError(f"`reset` must have shape (T={x.shape[1]},), got {tuple(reset.shape)}")
        reset = reset[None]
    check_reset(reset, None, x)
    return reset


def fits_step(x: object, weight: Tensor, M: int) -> bool:
    """Whether an input is certainly one step of rows (B, M) for the weights; what is not may be right all the same.

    The checks of a unit say what is wrong, and take longer than a small step does.
    """
    return (
        (type(x) is Tensor or type(x) is Parameter)
        and x.layout is torch.strided
        and not x.is_nested
        and x.dim() == 2
        and x.shape[1] == M
        and x.dtype is weight.dtype
        and x.device == weight.device
    )


def fits_state(h: object, shape: tuple[int, ...], dtype: torch.dtype, x: Tensor) -> bool:
    """Whether a value is certainly a state of this shape and dtype, on the device of an input that fits."""
    return (
        (type(h) is Tensor or type(h) is Parameter)
        and h.layout is torch.strided
        and not h.is_nested
        and h.shape == shape
        and h.dtype is dtype
        and h.device == x.device
    )


def check_step_reset(reset: Tensor, x: Tensor) -> None:
    """Raises unless the resets of one step are bool (B,)."""
    check_tensor("reset", reset)
    if reset.dim() != 1 or reset.shape[0] != x.shape[0]:
        raise ValueError(f"`reset` must have shape (B={x.shape[0]},), got {tuple(reset.shape)}")
    check_reset(reset[:, None], None, x[:, None])


def _unit_words(name: str, value: Tensor, shape: tuple[int, ...], input_kind: str | None) -> str:
    """How torch's units say that a state has not its shape; empty where they have no words."""
    if value.dim() == len(shape):
        return f"Expected hidden size {shape}, got {list(value.shape)}"
    ranks = f"{name} should also be {len(shape)}-D but got {value.dim()}-D tensor"
    return f"For {input_kind} input, {ranks}" if input_kind else ""


def _cell_words(name: str, value: Tensor, shape: tuple[int, ...], cell: str) -> str:
    """How torch's cells say that a state has not its shape; empty where their words would mislead."""
    if value.dim() not in (1, 2):
        part = "hidden" if name == "hx" else name
        return f"{cell}: Expected {part} to be 1D or 2D, got {value.dim()}D instead"
    if value.dim() != len(shape):
        return ""
    hidden = "hidden1" if name == "hx[1]" else "hidden0"
    if value.shape[-1] != shape[-1]:
        return f"{hidden} has inconsistent hidden_size: got {value.shape[-1]}, expected {shape[-1]}"
    return f"Input batch size {shape[0]} doesn't match {hidden} batch size {value.shape[0]}"


def _autocast(value: Tensor) -> bool:
    return torch.is_autocast_enabled(value.device.type)
