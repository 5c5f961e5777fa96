"""What every recurrent unit shares: checks, batch order, initial states, forward and step.

A unit is gates, one scan, a readout; a family implements these and nothing else.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

INITIAL_STATES = ("zeros", "learned")


class RecurrentUnit(nn.Module, ABC):
    r"""Base of all units: $y, h_n = f(x, h_0)$ over a sequence, or one step at a time.

    A family provides four functions, the first and last of which must treat each step alone:

    - `_gates(x)`: (..., M) to a tuple of tensors (..., D);
    - `_scan(gates, h, reset, start)`: states (B, T, D) from gates (B, T, D), the state h (B, D) and
      the state after a reset (D,), the last three or None;
    - `_advance(gates, h)`: the state (B, D) after one step with gates (B, D);
    - `_readout(states, x)`: (..., D) and (..., M) to outputs (..., D).

    Args:
        input_size: M, at least 1.
        hidden_size: D, at least 1.
        batch_first: inputs are (B, T, M) where true, else (T, B, M), as in `torch.nn.GRU`.
    """

    def __init__(self, input_size: int, hidden_size: int, batch_first: bool) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(size, int) or isinstance(size, bool):
                raise TypeError(f"`{name}` must be an int, got {type(size).__name__}")
            if size < 1:
                raise ValueError(f"`{name}` must be at least 1, got {size}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.batch_first = batch_first

    def forward(self, x: Tensor, hx: Tensor | None = None, *, reset: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Runs a whole sequence as one scan.

        Args:
            x: inputs, (B, T, M) if `batch_first`, else (T, B, M).
            hx: the state before the first step, (1, B, D); the unit's own initial state if None.
            reset: bool (B, T), whatever `batch_first` says: where true, the unit's own initial state
                takes the place of the carried one before that step.

        Returns:
            The outputs, in the order of `x` with D in place of M, and the state after the last step,
            (1, B, D), which continues the sequence as the next call's `hx`.

        Raises:
            ValueError: a shape or device does not fit; the message names the argument.
            TypeError: a dtype does not fit.
        """
        self._check_input("x", x, ("B", "T", "M") if self.batch_first else ("T", "B", "M"))
        x = x if self.batch_first else x.transpose(0, 1)
        B, T, _ = x.shape
        if T == 0:
            raise ValueError("`x` must have at least one time step, got T=0")
        h = self._own_state(B) if hx is None else self._check_state("hx", hx, B)
        start = None if reset is None else self._start()
        states = self._scan(self._gates(x), h, reset, start)
        y = self._readout(states, x)
        return y if self.batch_first else y.transpose(0, 1), states[:, -1].clone()[None]

    def step(self, x_t: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Runs one step.

        Args:
            x_t: one input for each sequence, (B, M).
            h: the state before the step, (1, B, D); the unit's own initial state if None.

        Returns:
            The output (B, D), and the state after the step, (1, B, D).

        Raises:
            ValueError: a shape or device does not fit; the message names the argument.
            TypeError: a dtype does not fit.
        """
        self._check_input("x_t", x_t, ("B", "M"))
        B = x_t.shape[0]
        before = self._own_state(B) if h is None else self._check_state("h", h, B)
        if before is None:
            before = torch.zeros(B, self.hidden_size, dtype=self.state_dtype, device=x_t.device)
        state = self._advance(self._gates(x_t), before)
        return self._readout(state, x_t), state[None]

    @property
    @abstractmethod
    def state_dtype(self) -> torch.dtype:
        """The dtype of the states."""

    @abstractmethod
    def _gates(self, x: Tensor) -> tuple[Tensor, ...]: ...

    @abstractmethod
    def _scan(
        self, gates: tuple[Tensor, ...], h: Tensor | None, reset: Tensor | None, start: Tensor | None
    ) -> Tensor: ...

    @abstractmethod
    def _advance(self, gates: tuple[Tensor, ...], h: Tensor) -> Tensor: ...

    @abstractmethod
    def _readout(self, states: Tensor, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _start(self) -> Tensor | None:
        """The learned initial state (D,), or None for zeros."""

    def _own_state(self, B: int) -> Tensor | None:
        start = self._start()
        return None if start is None else start.expand(B, -1)

    def _check_input(self, name: str, x: Tensor, axes: tuple[str, ...]) -> None:
        if not isinstance(x, Tensor):
            raise TypeError(f"`{name}` must be a torch.Tensor, got {type(x).__name__}")
        if x.dim() != len(axes) or x.shape[-1] != self.input_size:
            expected = ", ".join((*axes[:-1], f"M={self.input_size}"))
            raise ValueError(f"`{name}` must have shape ({expected}), got {tuple(x.shape)}")
        weight = next(self.parameters())
        if x.dtype != weight.dtype:
            raise TypeError(f"`{name}` must have the dtype of the weights, {weight.dtype}, got {x.dtype}")
        if x.device != weight.device:
            raise ValueError(f"`{name}` must be on the device of the weights, {weight.device}, got {x.device}")

    def _check_state(self, name: str, h: Tensor, B: int) -> Tensor:
        if not isinstance(h, Tensor):
            raise TypeError(f"`{name}` must be a torch.Tensor, got {type(h).__name__}")
        D = self.hidden_size
        if tuple(h.shape) != (1, B, D):
            raise ValueError(f"`{name}` must have shape (1, B={B}, D={D}), got {tuple(h.shape)}")
        if h.dtype != self.state_dtype:
            raise TypeError(f"`{name}` must have dtype {self.state_dtype}, got {h.dtype}")
        return h[0]
