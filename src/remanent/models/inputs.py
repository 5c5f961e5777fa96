"""What a model knows of its inputs: checks before anything is computed, and the statistics of data.

Each unit checks its own state beside.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from remanent.models.clock import Clock
from remanent.models.config import ModelConfig
from remanent.models.row_linear import Restored, RowLinear, Standardised
from remanent.models.state import ModelState, check_head_part
from remanent.ops.checks import check_tensor
from remanent.ops.operators import is_traced
from remanent.units._checks import checked_lengths


class Statistics(NamedTuple):
    """Means and deviations of data, by which a model that standardises reads its inputs and gives its values.

    Attributes:
        mean: of each feature, (M,).
        deviation: of each feature, (M,), above 0.
        target_mean: of each value that is asked for, (O,); None where classes are.
        target_deviation: of each value, (O,), above 0; None where classes are asked for.
    """

    mean: Tensor
    deviation: Tensor
    target_mean: Tensor | None = None
    target_deviation: Tensor | None = None


class Checked(Protocol):
    """What the checks read of a model, which is a `SequenceModel`."""

    config: ModelConfig
    head: RowLinear
    clock: Clock | None
    blocks: nn.ModuleList


def check_input(model: Any, name: str, x: Tensor, axes: tuple[str, ...], *, empty: bool = False) -> None:
    """Raises unless a value is an input of a model.

    Args:
        model: a `SequenceModel`.
        name: the argument's name.
        x: its value.
        axes: the names of the axes before the features: ("B", "T"), or ("B",) for a step.
        empty: whether there may be no step.

    Raises:
        ValueError: the shape or device does not fit, or a token is out of range.
        TypeError: it is no tensor, or of another dtype.
    """
    check_tensor(name, x)
    config: ModelConfig = model.config
    tokens = config.reads_tokens
    size = () if tokens else (f"M={config.input_size}",)
    rank = len(axes) + len(size)
    if x.dim() != rank or (not tokens and x.shape[-1] != config.input_size):
        expected = ", ".join((*axes, *size)) + ("," if rank == 1 else "")
        raise ValueError(f"`{name}` must have shape ({expected}), got {tuple(x.shape)}")
    weight = model.head.weight
    dtype = torch.int64 if tokens else weight.dtype
    if x.dtype != dtype and (tokens or not x.is_floating_point() or not torch.is_autocast_enabled(x.device.type)):
        raise TypeError(f"`{name}` must have dtype {dtype}, got {x.dtype}")
    if x.device != weight.device:
        raise ValueError(f"`{name}` must be on device {weight.device}, got {x.device}")
    if len(axes) == 2 and x.shape[1] == 0 and not empty:
        raise ValueError(f"`{name}` must have at least one time step, got T=0")
    if tokens and x.device.type == "cpu" and x.numel() > 0 and not is_traced():  # elsewhere torch checks them later
        low, high = (int(value) for value in x.aminmax())
        if low < 0 or high >= config.input_size:
            rule = f"`{name}` must hold tokens in [0, input_size={config.input_size})"
            raise ValueError(f"{rule}, got {low if low < 0 else high}")


def fits_model(model: Checked, state: Any) -> bool:
    """Whether a state certainly has the parts of a model's own; `check_state` accepts others as well, and is slower."""
    if state is None:
        return True
    if type(state) is not ModelState or state[1:] != (None,) * len(state[1:]):
        return False
    if model.config.head == "mean" or model.config.conv_size or model.clock is not None:
        return False
    return [len(layer) for layer in state.layers] == _units(model)


def check_state(
    model: Checked, state: ModelState | None, x: Tensor, *, name: str = "state", steps: tuple[int, ...] = ()
) -> None:
    """Raises unless a state has the parts of a model's own, for a batch of its inputs (B, ...).

    Args:
        model: a `SequenceModel`.
        state: the state.
        x: the inputs.
        name: the argument's name.
        steps: (T,) for states of every step, which have an axis for time after that of the batch.
    """
    if state is None:
        return
    if not isinstance(state, ModelState):
        raise TypeError(f"`{name}` must be a ModelState, got {type(state).__name__}")
    units, found = _units(model), [len(layer) for layer in state.layers]
    if found != units:
        raise ValueError(f"`{name}` must have a state for each unit, {units} in the blocks, got {found}")
    windows, given = sum(block.conv is not None for block in model.blocks), len(state.windows or ())
    if given != windows:
        raise ValueError(f"`{name}` must have {windows} windows, one for each convolution of the model, got {given}")
    rows, mean = (x.shape[0], *steps), model.config.head == "mean"
    shapes = {
        "total": ("a mean over the steps", (*rows, model.config.hidden_size) if mean else None),
        "steps": ("a mean over the steps", (*rows, 1) if mean else None),
        "time": ("a clock", None if model.clock is None else rows),
    }
    for part, (what, shape) in shapes.items():
        check_head_part(f"{name}.{part}", getattr(state, part), what, shape, x)


def check_reset_state(model: Any, reset_state: ModelState | None, reset: Tensor | None, x: Tensor) -> None:
    """Raises unless states after resets are a model's own, for resets that fit inputs (B, T, ...) or (B, ...)."""
    if reset_state is None:
        return
    if reset is None:
        raise ValueError("`reset_state` must come with `reset`, got `reset_state` alone")
    if model.attends:
        raise ValueError("`reset_state` must be None for a model with attention, whose state grows, got one")
    check_state(model, reset_state, x, name="reset_state", steps=tuple(reset.shape[1:]))


def check_lengths(model: Any, lengths: Any, x: Tensor, group: Any = None) -> Tensor:
    """How many steps of each sequence are real, int64 (B,), in [1, T].

    Raises:
        ValueError: a shape or device does not fit, a length is out of its range, the model has attention, or processes
            share the time.
        TypeError: they are neither a tensor of ints nor a list of them.
    """
    if model.attends:
        raise ValueError("`lengths` must be None for a model with attention, whose state counts every step, got some")
    if group is not None:
        raise ValueError("`lengths` must be None with a `group`, whose processes share whole sequences, got some")
    checked = checked_lengths(lengths, x).long()
    if not (is_traced() or checked.is_meta) and len(checked) > 0 and int(checked.min()) < 1:
        raise ValueError(f"`lengths` must be in [1, T={x.shape[1]}], got {int(checked.min())}")
    return checked


def check_direction(model: Any, state: Any, reset_state: Any, group: Any) -> None:
    """Raises where a model that reads whole sequences is given a part of one."""
    if not model.config.bidirectional:
        return
    for name, value in (("state", state), ("reset_state", reset_state), ("group", group)):
        if value is not None:
            raise ValueError(f"`{name}` must be None for a bidirectional model, which reads whole sequences, got one")


def in_units(model: Any, z: Tensor) -> Tensor:
    """Standardised features (..., M) in the units that a model reads, which differ only where it standardises."""
    scales = isinstance(model.encoder, Standardised)
    return z * model.encoder.deviation + model.encoder.mean if scales else z


@torch.no_grad()
def set_statistics(model: Any, statistics: Statistics) -> None:
    """Sets the means and deviations by which a model standardises; they are saved and exported with it.

    Args:
        model: a `SequenceModel` whose configuration has `standardise`.
        statistics: of the training part of the data.

    Raises:
        ValueError: the model does not standardise, a shape does not fit, or a deviation is not above 0.
    """
    if not isinstance(model.encoder, Standardised) or not isinstance(model.head, Restored):
        raise ValueError("`model` must be one whose configuration has `standardise`, got one without")
    parts = {
        "mean": model.encoder,
        "deviation": model.encoder,
        "target_mean": model.head,
        "target_deviation": model.head,
    }
    given = {name: value for name, value in statistics._asdict().items() if value is not None}
    for name, value in given.items():
        kept = getattr(parts[name], name.removeprefix("target_"))
        if value.shape != kept.shape:
            raise ValueError(f"`statistics.{name}` must have shape {tuple(kept.shape)}, got {tuple(value.shape)}")
        if not value.isfinite().all() or (name.endswith("deviation") and not (value > 0).all()):
            above = " above 0" if name.endswith("deviation") else ""
            raise ValueError(f"`statistics.{name}` must hold finite numbers{above}, got {value.tolist()}")
    for name, value in given.items():
        getattr(parts[name], name.removeprefix("target_")).copy_(value)


def _units(model: Checked) -> list[int]:
    """How many units each block has."""
    return [len(block.layer.units) for block in model.blocks]  # type: ignore[union-attr, arg-type]
