"""A short causal convolution over time, each channel alone, with the interface of a unit: its window is its state."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from remanent._options import check_at_least
from remanent.models._shards import window_before
from remanent.ops.elementwise import weighted_sum, weighted_taps
from remanent.units import Recurrence, RecurrentUnit
from remanent.units._checks import check_state
from remanent.units.recurrence import Params

SPREAD = 0.3
"""The standard deviation of the weights of all steps but the present one, whose weight is 1."""


@dataclass(eq=False)
class ConvRecurrence(Recurrence):
    """A weighted sum of the last `taps` inputs of each channel.

    The state (B, `taps` D) holds the inputs of the last `taps` steps, the oldest first, so that an output is read from
    the state after its step. The oldest one is not read again, and `CausalConv1d` leaves it out.
    """

    taps: int
    shares_time: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least("taps", self.taps, 2)

    @property
    def state_parts(self) -> int:  # type: ignore[override]
        """One tensor (B, D) for each step in the window."""
        return self.taps

    @property
    def exact_states(self) -> bool:
        """True: a window holds inputs as they are, and every output is added up in one order."""
        return True

    @property
    def why_endless(self) -> str | None:
        """None: a window holds a few inputs."""
        return None

    def shapes(self, M: int, D: int, bias: bool) -> dict[str, tuple[int, ...]]:
        """The shape of the weight, which is that of `torch.nn.Conv1d` with as many groups as channels."""
        return {"weight": (D, 1, self.taps)}

    def initialise(self, p: Params) -> None:
        """See `CausalConv1d`."""
        p["weight"].normal_(0, SPREAD)
        p["weight"][..., -1] = 1

    def state_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """The dtype of the weights."""
        return dtype

    def run(
        self,
        p: Params,
        x: Tensor,
        h: Tensor,
        reset: Tensor | None,
        lengths: Tensor | None,
        group: Any = None,
        *,
        reset_state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `Recurrence`; with a `group`, the window before this process's steps comes from the others."""
        T, x, window = x.shape[1], x.to(p["weight"].dtype), h.unflatten(1, (self.taps, -1))
        episodes = None if reset is None else _Episodes.of(reset, reset_state, self.taps)
        if group is not None:
            tail = _last_window(torch.cat([torch.zeros_like(window), x], dim=1), episodes, None, self.taps)[:, 1:]
            cut = x.new_zeros(x.shape[0], dtype=torch.bool) if reset is None else reset.any(1)
            window = F.pad(window_before(window[:, 1:], tail, cut, T, group), (0, 0, 1, 0))
        inputs = torch.cat([window, x], dim=1)
        last = _last_window(inputs, episodes, lengths, self.taps).flatten(1)
        if episodes is None:
            return weighted_taps(inputs[:, 1:], p["weight"].squeeze(1)), last
        steps = [inputs[:, start : start + T] for start in range(1, self.taps + 1)]
        now = torch.arange(T, device=x.device).expand(x.shape[0], T)
        steps = [episodes.cut(step, now, self.taps - 1 - i) for i, step in enumerate(steps)]
        return weighted_sum(steps, p["weight"].squeeze(1)), last

    def advance(self, p: Params, x: Tensor, h: Tensor) -> Tensor:
        """See `Recurrence`."""
        return torch.cat([h[:, x.shape[1] :], x.to(h.dtype)], dim=1)

    def readout(self, p: Params, states: Tensor, x: Tensor) -> Tensor:
        """The weighted sum of the window."""
        return weighted_sum(states.chunk(self.taps, dim=-1), p["weight"].squeeze(1))


class CausalConv1d(RecurrentUnit):
    r"""Causal convolution of each channel over the last few steps: $y_t = \sum_{k=0}^{K-1} w_k \odot x_{t-k}$.

    Gates see the input of one step alone; with this in front of a unit, they see the last K steps of each channel.
    What lies before a sequence's first step, or before a reset, counts as 0 unless it is given. The state `hx` is the
    window: one tensor (K - 1, B, size) with the inputs of the last steps, the oldest first. A sequence that is cut into
    chunks or steps, in any way, gives the same bits.

    Attributes:
        weight_l0: (size, 1, K), as in `torch.nn.Conv1d` with `groups=size`: the present step's weight last. At first
            that is 1, and the others are drawn from N(0, 0.3²).

    Args:
        size: D, the channels of input and output, at least 1.
        taps: K, the steps that an output sees, the present one included, at least 2.
        batch_first: whether inputs and outputs are (B, T, ...) rather than (T, B, ...).
        device: the device of the weight.
        dtype: the dtype of the weight.

    Raises:
        ValueError: a size is out of its range; the message names the argument.
        TypeError: a size is not an int, or `batch_first` not a bool.

    >>> y, window = CausalConv1d(8, 4)(torch.randn(100, 2, 8))
    >>> y.shape, window.shape
    (torch.Size([100, 2, 8]), torch.Size([3, 2, 8]))
    """

    recurrence_type = ConvRecurrence
    recurrence: ConvRecurrence

    def __init__(
        self,
        size: int,
        taps: int = 4,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_at_least("size", size, 1)
        recurrence = ConvRecurrence(taps)
        super().__init__(recurrence, size, size, bias=False, batch_first=batch_first, device=device, dtype=dtype)

    def extra_repr(self) -> str:
        """The sizes, and `batch_first` where it is true."""
        return f"{self.hidden_size}, taps={self.recurrence.taps}" + (", batch_first=True" if self.batch_first else "")

    def _read_state(self, name: str, hx: Any, B: int, batched: bool, like: Tensor) -> Tensor | None:
        """The window given, checked, as one tensor (1, B, taps D), with zeros for the step that is not read again."""
        if hx is None:
            return None
        K, D = self.recurrence.taps - 1, self.hidden_size
        shape, axes = ((K, B, D), f"({K}, B={B}, D={D})") if batched else ((K, D), f"({K}, D={D})")
        window = check_state(name, hx, shape, axes, self.state_dtype, like, None)
        rows = window.transpose(0, 1) if batched else window[None]
        return F.pad(rows, (0, 0, 1, 0)).flatten(1)[None]

    def _read_reset_state(self, state: Any, reset: Tensor | None, steps: dict[str, int], like: Tensor) -> Tensor | None:
        """The windows after resets, checked, as one tensor (1, ..., taps D), with zeros for the step not read again."""
        if state is None:
            return None
        if reset is None:
            raise ValueError("`reset_state` must come with `reset`, got `reset_state` alone")
        sizes = {"": self.recurrence.taps - 1} | steps | {"D": self.hidden_size}
        axes = ", ".join(f"{name}={size}" if name else str(size) for name, size in sizes.items())
        window = check_state("reset_state", state, tuple(sizes.values()), f"({axes})", self.state_dtype, like, None)
        return F.pad(window.movedim(0, -2), (0, 0, 1, 0)).flatten(-2)[None]

    def _write_state(self, h: Tensor, batched: bool) -> Tensor:
        window = h[0].unflatten(1, (self.recurrence.taps, -1))[:, 1:]
        return window.transpose(0, 1).contiguous() if batched else window[0]


class _Episodes(NamedTuple):
    """Where the last reset lies, and what the window holds after it.

    Attributes:
        began: the step of the last reset up to each step, -1 where there is none, int64 (B, T).
        windows: the windows of the states after resets, (B, T taps, D), the oldest step of each first; None for zeros.
        taps: the steps of a window.
    """

    began: Tensor
    windows: Tensor | None
    taps: int

    @classmethod
    def of(cls, reset: Tensor, reset_state: Tensor | None, taps: int) -> "_Episodes":
        """From the resets (B, T), and the states after them (B, T, taps D)."""
        step = torch.arange(reset.shape[1], device=reset.device)
        began = torch.where(reset, step, -1).cummax(1).values if reset.shape[1] else torch.where(reset, 0, -1)
        return cls(began, None if reset_state is None else reset_state.unflatten(2, (taps, -1)).flatten(1, 2), taps)

    def cut(self, inputs: Tensor, now: Tensor, back: int) -> Tensor:
        """The inputs (B, N, D) of `back` steps before the steps `now` (B, N), as they are seen across a reset."""
        if self.began.shape[1] == 0:
            return inputs
        began = torch.where(now >= 0, self.began.gather(1, now.clamp(min=0)), -1)
        before = began - (now - back)  # how many steps before the reset the input lies
        crosses = ((began >= 0) & (before > 0))[..., None]
        if self.windows is None:
            return torch.where(crosses, 0, inputs)
        place = (began * self.taps + self.taps - before).clamp(0, self.windows.shape[1] - 1)
        given = self.windows.gather(1, place[..., None].expand(-1, -1, inputs.shape[2]))
        return torch.where(crosses, given, inputs)


def _last_window(inputs: Tensor, episodes: _Episodes | None, lengths: Tensor | None, taps: int) -> Tensor:
    """The window (B, taps, D) at each sequence's last real step, from inputs (B, taps + T, D) with what lies before."""
    B, T = inputs.shape[0], inputs.shape[1] - taps
    if lengths is None:
        window, now = inputs[:, T:], torch.full((B, 1), T - 1, device=inputs.device)
    else:
        order = (lengths[:, None] + torch.arange(taps, device=inputs.device))[..., None]
        window, now = inputs.gather(1, order.expand(-1, -1, inputs.shape[2])), lengths[:, None] - 1
    if episodes is None:
        return window
    rows = [episodes.cut(row[:, None], now, taps - 1 - i) for i, row in enumerate(window.unbind(1))]
    return torch.cat(rows, dim=1)
