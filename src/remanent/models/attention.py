"""Causal self-attention with a cache of keys and values, behind the interface of a unit, as a baseline."""

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from remanent._options import check_at_least
from remanent.models.row_linear import RowLinear
from remanent.ops.checks import check_reset, check_tensor
from remanent.units._checks import check_input, check_step_reset

BASE = 10_000.0
"""The rotary angles' longest wavelength is 2 pi times this many steps."""


class AttentionState(NamedTuple):
    """What attention carries from one chunk to the next: every step so far, so that it grows with time.

    Attributes:
        key: rotated keys, (B, H, S, E), for H heads of width E and S steps so far.
        value: (B, H, S, E).
        visible: bool (B, S), false for steps before a reset; None where there was none.
    """

    key: Tensor
    value: Tensor
    visible: Tensor | None = None


class Attention(nn.Module):
    r"""Causal multi-head attention with rotary positions: $y_t = W_o \sum_{s \le t} a_{ts} v_s$.

    Args:
        input_size: M, at least 1.
        hidden_size: D, a multiple of twice `num_heads`.
        num_heads: H, at least 1.

    Raises:
        ValueError: a size is out of its range.
        TypeError: a size is not an int.

    Source: Vaswani et al. (2017), arXiv 1706.03762; rotary positions: Su et al. (2021), arXiv 2104.09864.

    >>> y, state = Attention(4, 8, num_heads=2)(torch.randn(2, 100, 4))
    >>> y.shape, state.key.shape
    (torch.Size([2, 100, 8]), torch.Size([2, 2, 100, 4]))
    """

    why_endless: ClassVar[str | None] = "whose state holds every step so far"
    """Why it is no finite automaton; see `Recurrence`."""

    def __init__(self, input_size: int, hidden_size: int, *, num_heads: int = 1) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_heads", num_heads)):
            check_at_least(name, size, 1)
        if hidden_size % (2 * num_heads):
            raise ValueError(f"`hidden_size` must be a multiple of twice the {num_heads} heads, got {hidden_size}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.project_in = RowLinear(input_size, 3 * hidden_size)
        self.project_out = RowLinear(hidden_size, hidden_size)

    def forward(
        self, x: Tensor, state: AttentionState | None = None, *, reset: Tensor | None = None
    ) -> tuple[Tensor, AttentionState]:
        """Runs a sequence, or one chunk of it.

        Args:
            x: inputs, (B, T, M).
            state: what the chunk before returned; None at the start.
            reset: bool (B, T): where true, a new sequence starts at that step, and sees nothing before it.

        Returns:
            Outputs (B, T, D), and the state that continues the sequence.

        Raises:
            ValueError: a shape does not fit; the message names the argument.
            TypeError: a dtype does not fit.
        """
        self._check(x, state, reset)
        B, T, _ = x.shape
        past = 0 if state is None else state.key.shape[2]
        parts = self.project_in(x).chunk(3, dim=-1)
        query, key, value = (v.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for v in parts)
        query, key = _rotate(query, past), _rotate(key, past)
        seen = None
        if state is not None:
            key, value = torch.cat([state.key, key], dim=2), torch.cat([state.value, value], dim=2)
            seen = state.visible
        if reset is None and seen is None:
            mask = None if past == 0 or T == 1 else _causal(past, T, x.device)
            y = F.scaled_dot_product_attention(query, key, value, mask, is_causal=past == 0)
            after = AttentionState(key, value)
        else:
            mask, visible = _segments(seen, reset, past, T, B, x.device)
            y = _attend_within(query, key, value, mask)
            hidden = ~visible[:, None, :, None]
            after = AttentionState(key.masked_fill(hidden, 0), value.masked_fill(hidden, 0), visible)
        return self.project_out(y.transpose(1, 2).flatten(-2)), after

    def step(
        self, x_t: Tensor, state: AttentionState | None = None, *, reset: Tensor | None = None
    ) -> tuple[Tensor, AttentionState]:
        """Runs one step, (B, M) to (B, D), at a cost that grows with the steps so far; `reset` is (B,)."""
        check_tensor("x_t", x_t)
        if x_t.dim() != 2:
            raise ValueError(f"`x_t` must have shape (B, M={self.input_size}), got {tuple(x_t.shape)}")
        if reset is not None:
            check_step_reset(reset, x_t)
        y, state = self(x_t[:, None], state, reset=None if reset is None else reset[:, None])
        return y[:, 0], state

    def _check(self, x: Tensor, state: AttentionState | None, reset: Tensor | None) -> None:
        check_tensor("x", x)
        if x.dim() != 3:
            raise ValueError(f"`x` must have shape (B, T, M={self.input_size}), got {tuple(x.shape)}")
        check_input("x", x, ("B", "T", "M"), self.input_size, self.project_in.weight)
        if x.shape[1] == 0:
            raise ValueError("`x` must have at least one time step, got T=0")
        if state is not None:
            self._check_state(state, x)
        if reset is not None:
            check_reset(reset, None, x)

    def _check_state(self, state: AttentionState, x: Tensor) -> None:
        if not isinstance(state, AttentionState):
            raise TypeError(f"`state` must be an AttentionState, got {type(state).__name__}")
        for name, part in zip(state._fields, state, strict=True):
            if part is not None or name != "visible":
                check_tensor(f"state.{name}", part)
        B, H, E = x.shape[0], self.num_heads, self.hidden_size // self.num_heads
        key, value, visible = state
        if key.dim() != 4 or (key.shape[0], key.shape[1], key.shape[3]) != (B, H, E):
            raise ValueError(f"`state` must have keys (B={B}, H={H}, S, E={E}), got {tuple(key.shape)}")
        if value.shape != key.shape:
            raise ValueError(
                f"`state` must have values of its keys' shape {tuple(key.shape)}, got {tuple(value.shape)}"
            )
        if visible is not None and (visible.dim() != 2 or visible.shape != (B, key.shape[2])):
            raise ValueError(f"`state` must have `visible` (B={B}, S={key.shape[2]}), got {tuple(visible.shape)}")
        dtype = self.project_in.weight.dtype
        for name, part, kind in (("key", key, dtype), ("value", value, dtype), ("visible", visible, torch.bool)):
            if part is not None and part.dtype != kind:
                raise TypeError(f"`state.{name}` must have dtype {kind}, got {part.dtype}")
            if part is not None and part.device != x.device:
                raise ValueError(f"`state.{name}` must be on the device of the input, {x.device}, got {part.device}")


def _rotate(x: Tensor, past: int) -> Tensor:
    """Turns pairs of features by an angle that grows with the position; angles in float64, for long sequences."""
    E, T = x.shape[-1], x.shape[-2]
    rate = BASE ** (-torch.arange(0, E, 2, device=x.device, dtype=torch.float64) / E)
    angle = torch.arange(past, past + T, device=x.device, dtype=torch.float64)[:, None] * rate
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def _causal(past: int, T: int, device: torch.device) -> Tensor:
    """Which of the steps so far each new step may see, bool (T, past + T)."""
    step = torch.arange(past + T, device=device)
    return step <= past + torch.arange(T, device=device)[:, None]


def _segments(
    seen: Tensor | None, reset: Tensor | None, past: int, T: int, B: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The mask with resets, bool (B, T, past + T), and what the last step sees, bool (B, past + T)."""
    new = torch.zeros(B, T, dtype=torch.int64, device=device) if reset is None else reset.cumsum(1)
    old = torch.zeros(B, past, dtype=torch.int64, device=device)
    if seen is not None:
        old = torch.where(seen, old, -1)
    segment = torch.cat([old, new], dim=1)
    mask = (segment[:, None] == new[:, :, None]) & _causal(past, T, device)
    return mask, segment == new[:, -1:]


def _attend_within(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attention where a mask holds; NaN and inf stay in their segment, though zero times NaN is NaN."""
    bad_key = ~(key.isfinite() & value.isfinite()).all(-1).all(1)
    bad_query = ~query.isfinite().all(-1).all(1)
    query = query.masked_fill(bad_query[:, None, :, None], 0)
    key, value = (v.masked_fill(bad_key[:, None, :, None], 0) for v in (key, value))
    y = F.scaled_dot_product_attention(query, key, value, mask[:, None])
    bad = bad_query | (mask & bad_key[:, None]).any(-1)
    return y.masked_fill(bad[:, None, :, None], torch.nan)
