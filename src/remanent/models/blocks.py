"""The encoder, and the residual block around a layer of units, with its parts."""

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from remanent.models.attention import Attention
from remanent.models.config import ModelConfig
from remanent.models.convolution import CausalConv1d
from remanent.models.hybrid import Hybrid
from remanent.models.row_linear import ExactLinear, Restored, RowLinear, Standardised
from remanent.models.state import BlockState
from remanent.ops.elementwise import SumAndNorm, add_rms_norm
from remanent.units import UNITS, RecurrentUnit, recurrence_of


class Letters(nn.Module):
    """Tokens as one-hot vectors, in the dtype of the model; it has no parameters.

    Args:
        size: the number of different tokens.
    """

    like: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("like", torch.empty(0), persistent=False)  # has the dtype that the model has

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (...) to (..., size)."""
        return (x[..., None] == torch.arange(self.size, device=x.device)).to(self.like.dtype)


class RMSNorm(nn.RMSNorm):
    """`torch.nn.RMSNorm` over the last axis, whose rows have the same bits alone as among many; see `add_rms_norm`."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., size) to (..., size)."""
        return add_rms_norm(x, None, self.weight, self.eps).normed

    def of_sum(self, x: Tensor, added: Tensor) -> SumAndNorm:
        """The sum of both, and its norm, in one pass over memory."""
        return add_rms_norm(x, added, self.weight, self.eps)


class MLP(nn.Module):
    r"""Two linear maps around $u \odot \sigma(v)$ ("glu") or $\mathrm{GELU}(u)$ ("gelu").

    Args:
        size: the width in and out.
        inner: the width between.
        kind: "glu" or "gelu".
    """

    def __init__(self, size: int, inner: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.rise = RowLinear(size, 2 * inner if kind == "glu" else inner)
        self.fall = RowLinear(inner, size)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., size) to (..., size)."""
        u = self.rise(x)
        return self.fall(F.glu(u) if self.kind == "glu" else F.gelu(u))


class Block(nn.Module):
    r"""Residual block: $x \leftarrow x + P\,U(N(x))$, optionally gated, then $x \leftarrow x + \mathrm{MLP}(N(x))$.

    With `conv_size`, the units see $C(N(x))$, a causal convolution; the gate sees $N(x)$. A block that reads letters
    begins with $x \leftarrow P\,U(x)$.

    Args:
        config: the model's configuration.
        names: the units of this block, side by side.
        reads_letters: whether its inputs are letters, one-hot vectors.
    """

    def __init__(self, config: ModelConfig, names: tuple[str, ...], *, reads_letters: bool = False) -> None:
        super().__init__()
        size, widths = config.hidden_size, config.widths(names)
        self.norm = nn.Identity() if reads_letters else make_norm(config)
        convolves, gates = (wanted and not reads_letters for wanted in (config.conv_size, config.gate))
        self.conv = CausalConv1d(size, config.conv_size, batch_first=True) if convolves else None
        units = [_make_unit(name, width, config, reads_letters) for name, width in zip(names, widths, strict=True)]
        self.layer = Hybrid(units, join=config.join, bidirectional=config.bidirectional)
        self.gate = RowLinear(size, size) if gates else None
        joined = widths[0] if config.join == "sum" else sum(widths)
        self.project = ExactLinear(joined * config.directions, size)
        self.is_residual = not reads_letters
        self.mlp_norm = make_norm(config) if config.mlp != "none" else None
        self.mlp = MLP(size, round(size * config.mlp_ratio) or 1, config.mlp) if config.mlp != "none" else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        state: BlockState | None = None,
        *,
        reset: Tensor | None = None,
        reset_state: BlockState | None = None,
        clock: Tensor | None = None,
        group: Any = None,
        lengths: Tensor | None = None,
        only_last: bool = False,
    ) -> tuple[Tensor, BlockState]:
        """Runs (B, T, hidden_size), with the block's state in and out; `clock` has a clock's features (B, T, C).

        With `only_last`, what treats each step alone after the units is left out but for the last real step: the output
        is (B, hidden_size).
        """
        (layer, window), (start, start_window) = state or BlockState(), reset_state or BlockState()
        seen = normed = self.norm(x)
        if self.conv is not None:
            seen, window = self.conv(
                normed, window, reset=reset, reset_state=start_window, group=group, lengths=lengths
            )
        inputs = _beside(seen, clock)
        y, layer = self.layer(inputs, layer, reset=reset, reset_state=start, group=group, lengths=lengths)
        if only_last:
            x, normed, y = (last_real(part, lengths) for part in (x, normed, y))
        return self._add(x, normed, y), BlockState(layer, window)

    def step(
        self,
        x_t: Tensor,
        state: BlockState | None = None,
        *,
        reset: Tensor | None = None,
        reset_state: BlockState | None = None,
        clock: Tensor | None = None,
    ) -> tuple[Tensor, BlockState]:
        """Runs one step, (B, hidden_size); `clock` has a clock's features (B, C)."""
        (layer, window), (start, start_window) = state or BlockState(), reset_state or BlockState()
        seen = normed = self.norm(x_t)
        if self.conv is not None:
            seen, window = self.conv.step(normed, window, reset=reset, reset_state=start_window)  # type: ignore[assignment]
        y, layer = self.layer.step(_beside(seen, clock), layer, reset=reset, reset_state=start)
        return self._add(x_t, normed, y), BlockState(layer, window)

    def initial_state(self, batch_size: int) -> BlockState:
        """The block's own state at the start of B sequences."""
        layer = tuple(unit.initial_state(batch_size) for unit in self.layer.units)  # type: ignore[operator]
        return BlockState(layer, None if self.conv is None else self.conv.initial_state(batch_size))  # type: ignore[arg-type]

    def _add(self, x: Tensor, normed: Tensor, y: Tensor) -> Tensor:
        added = self.project(y)
        if self.gate is not None:
            added = added * torch.sigmoid(self.gate(normed))
        drops = self.training  # in evaluation, a call of a dropout takes as long as it takes to add
        added = self.dropout(added) if drops else added
        if not self.is_residual:
            x, added = added, None
        if self.mlp is None or self.mlp_norm is None:
            return x if added is None else x + added
        x, normed = sum_and_norm(self.mlp_norm, x, added)
        added = self.mlp(normed)
        return x + (self.dropout(added) if drops else added)


def sum_and_norm(norm: nn.Module, x: Tensor, added: Tensor | None) -> SumAndNorm:
    """What is added to x, where anything is, and the norm of the sum."""
    if added is not None and isinstance(norm, RMSNorm):
        return norm.of_sum(x, added)
    x = x if added is None else x + added
    return SumAndNorm(x, norm(x))


def last_real(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The last real step of each sequence (B, T, ...), which has so many; the last step if `lengths` is None."""
    return x[:, -1] if lengths is None else x[torch.arange(len(x), device=x.device), lengths - 1]


def _beside(normed: Tensor, clock: Tensor | None) -> Tensor:
    return normed if clock is None else torch.cat([normed, clock.to(normed.dtype)], dim=-1)


def make_encoder(config: ModelConfig) -> nn.Module:
    """The encoder that a configuration chooses."""
    if config.encoder == "table":
        return Letters(config.input_size)
    plain = Standardised if config.standardise else ExactLinear
    kind = nn.Embedding if config.encoder == "embedding" else plain
    return kind(config.input_size, config.hidden_size)


def make_head(config: ModelConfig) -> RowLinear:
    """The head that a configuration chooses."""
    return (Restored if config.standardise else ExactLinear)(config.hidden_size, config.output_size)


def make_norm(config: ModelConfig) -> nn.Module:
    """The norm over the width that a configuration chooses."""
    if config.norm == "rms":
        return RMSNorm(config.hidden_size)
    return nn.LayerNorm(config.hidden_size) if config.norm == "layer" else nn.Identity()


def _make_unit(
    name: str, hidden_size: int, config: ModelConfig, reads_letters: bool = False
) -> RecurrentUnit | Attention:
    input_size = config.clock_features + (config.input_size if reads_letters else config.hidden_size)
    if name == "attention":
        return Attention(input_size, hidden_size, num_heads=config.num_heads)
    kind = recurrence_of(name)
    options = config.options(name)
    if kind.annealed_option is not None:
        options[kind.annealed_option] = config.epsilon
    if reads_letters and not kind.reads_letters_with_bias:
        options["bias"] = False
    if config.bidirectional:
        options["bidirectional"] = True
    unit = _construct(name, input_size, hidden_size, {"batch_first": True, **options})
    made = type(unit.recurrence)
    if made is not kind and (made.config_fields or made.annealed_option):
        rule = f"`UNITS[{name!r}]` must declare `recurrence_type = {made.__name__}`, whose options a model fills"
        raise TypeError(f"{rule}, got {kind.__name__}")
    if reads_letters:
        with torch.no_grad():
            unit.recurrence.initialise_letters(unit._params("_l0"))
    return unit


def _construct(name: str, input_size: int, hidden_size: int, options: dict[str, Any]) -> RecurrentUnit:
    """Makes a unit; an option that its class does not take is rejected in words that name the class and the option."""
    make = UNITS[name]
    try:
        return make(input_size, hidden_size, **options)
    except TypeError:
        taken = inspect.signature(make).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
            raise
        missing = options.keys() - {parameter.name for parameter in taken}
        if not missing:
            raise
        words = ", ".join(f"`{option}`" for option in options if option in missing)
    raise TypeError(f"`UNITS[{name!r}]` must take the arguments that a model gives a unit, got no {words}")
