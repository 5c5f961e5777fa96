"""The layers of a unit: parameters, hooks and states, and how they run on tensors that are checked, batch first."""

import copy
import warnings
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from remanent.units._checks import (
    ShapeError,
    check_dropout,
    check_flag,
    check_input,
    check_rank,
    check_size,
    check_state,
    checked_lengths,
    checked_reset,
)
from remanent.units._epsilon import NotesEpsilon
from remanent.units._layout import backwards, real_steps, reset_backwards, reset_state_backwards
from remanent.units.recurrence import Params, Recurrence

State = Tensor | tuple[Tensor, ...]
"""One tensor, or two where a unit has two states, as an LSTM has."""
LayerHook = Callable[[str, Params, Tensor], None]
"""What is called before a layer runs, with the layer's name, its parameters and its inputs."""


class Sequences(NamedTuple):
    """What a unit is given, checked, batch first.

    Attributes:
        x: inputs, (B, T, M).
        h: the state before the first step, (L R, B, W); the unit's own initial state if None.
        reset: bool (B, T); no reset if None.
        reset_state: the state after a reset, (L R, B, T, W); the unit's own initial state if None.
        lengths: the numbers of real steps, (B,); T for all if None.
    """

    x: Tensor
    h: Tensor | None = None
    reset: Tensor | None = None
    reset_state: Tensor | None = None
    lengths: Tensor | None = None


class StackedLayers(NotesEpsilon):
    """Stacked layers of a recurrence in one or two directions, with the arguments of `RecurrentUnit`."""

    def __init__(
        self,
        recurrence: Recurrence,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            check_size(name, size)
        flags = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional, "checkpoint": checkpoint}
        for name, flag in flags.items():
            check_flag(name, flag)
        check_dropout(dropout)
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers=1",
                stacklevel=3,
            )
        self.recurrence = recurrence
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.checkpoint = checkpoint
        self.statistics_group: Any = None
        self._layer_hooks: OrderedDict[int, LayerHook] = OrderedDict()
        self._shapes = {}
        self._buffer_names = tuple(recurrence.buffers(hidden_size))
        for i, suffix in enumerate(self._suffixes()):
            M = input_size if i < self._directions else hidden_size * self._directions
            for name, shape in recurrence.shapes(M, hidden_size, bias).items():
                self.register_parameter(name + suffix, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
                self._shapes[name] = shape
            for name, value in recurrence.buffers(hidden_size).items():
                self.register_buffer(name + suffix, value.to(device=device, dtype=dtype))
        self.reset_parameters()

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draws all parameters."""

    def _read_inputs(
        self,
        input: Tensor,
        hx: State | None,
        reset: Tensor | None,
        reset_state: State | None,
        lengths: Tensor | Sequence[int] | None,
    ) -> tuple[bool, Sequences]:
        """Whether there is a batch; and what is given."""
        batched = check_rank(type(self).__name__, "input", input, (2, 3))
        axes = ("T", "M") if not batched else ("B", "T", "M") if self.batch_first else ("T", "B", "M")
        check_input("input", input, axes, self.input_size, self._weight())
        if not batched and lengths is not None:
            raise ValueError(f"`lengths` must come with a batch of sequences, got one of shape {tuple(input.shape)}")
        x = input if batched and self.batch_first else input.transpose(0, 1) if batched else input[None]
        h = self._read_state("hx", hx, x.shape[0], batched, x)
        steps = {"B": x.shape[0], "T": x.shape[1]} if batched else {"T": x.shape[1]}
        start = self._read_reset_state(reset_state, reset, steps, x)
        if reset is not None:
            reset = checked_reset(reset, x, batched)
        start = start if start is None or batched else start[:, None]
        return batched, Sequences(x, h, reset, start, None if lengths is None else checked_lengths(lengths, x))

    def _write_outputs(self, y: Tensor, h_n: Tensor, batched: bool) -> tuple[Tensor, State]:
        y = y if batched and self.batch_first else y.transpose(0, 1).contiguous() if batched else y[0]
        return y, self._write_state(h_n, batched)

    def _run(self, given: Sequences, group: Any = None) -> tuple[Tensor, Tensor]:
        """Batch-first outputs (B, T, R D) and the states (L R, B, W) at the last real steps; of a shard, at its end."""
        x, h, reset, reset_state, lengths = given
        real = None if lengths is None else real_steps(lengths, x.shape[1])[..., None]
        reset_back = reset_backwards(reset, lengths) if reset is not None and self.bidirectional else None

        def run_layer(i: int, p: Params, x: Tensor, run: Callable[..., tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
            backward = i % self._directions == 1
            state = own_state(self.recurrence, p, x, self.hidden_size) if h is None else h[i]
            source, cuts = (backwards(x, lengths), reset_back) if backward else (x, reset)
            if self.training:
                shared = group if self.statistics_group is None else self.statistics_group
                p = self.recurrence.observed(p, source, None if real is None else real[..., 0], shared)
            if self._layer_hooks:
                seen = source if real is None else source[real[..., 0]][None]
                self._call_layer_hooks(self._suffixes()[i], p, seen)
            more = {} if group is None else {"group": group}
            if reset_state is not None:
                start = reset_state[i]
                more["reset_state"] = reset_state_backwards(start, lengths) if backward else start
            y, state = run(p, source, state, cuts, lengths, **more)
            return backwards(y, lengths) if backward else y, state

        def mask(x: Tensor) -> Tensor:
            return x if real is None else torch.where(real, x, 0)

        return self._run_layers(mask(x), lambda recurrence: recurrence.run, run_layer, mask)

    def _run_layers(
        self,
        x: Tensor,
        pick: Callable[[Recurrence], Callable[..., tuple[Tensor, Tensor]]],
        run_layer: Callable[..., tuple[Tensor, Tensor]],
        mask: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> tuple[Tensor, Tensor]:
        """The outputs of the last layer, its directions side by side, and the last states of all layers.

        Args:
            x: the inputs of the first layer.
            pick: from the equations to the method of them that runs a layer.
            run_layer: from (index, parameters, inputs, that method) to the outputs and the last state of one layer in
                one direction.
            mask: sets outputs beyond a sequence's end to zero.
        """
        suffixes, outputs, last = self._suffixes(), [], []
        run = pick(self.recurrence)
        if self.checkpoint and torch.is_grad_enabled():  # a layer draws no random numbers
            if not torch.compiler.is_compiling():  # its options may change before it is computed again
                run = pick(copy.copy(self.recurrence))
            run = partial(checkpoint, run, use_reentrant=False, preserve_rng_state=False)
        for i, suffix in enumerate(suffixes):
            y, state = run_layer(i, self._params(suffix), x, run)
            last.append(state)
            outputs.append(y)
            if len(outputs) == self._directions:
                x = mask(outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1))
                if i < len(suffixes) - 1:
                    x = F.dropout(x, self.dropout, self.training)
                outputs = []
        return x, torch.stack(last)

    def _call_layer_hooks(self, suffix: str, p: Params, x: Tensor) -> None:
        for hook in list(self._layer_hooks.values()):
            hook(suffix[1:], p, x if x.dim() == 3 else x[:, None])

    def _read_state(self, name: str, hx: State | None, B: int, batched: bool, like: Tensor) -> Tensor | None:
        """The state given, checked, as one tensor (L R, B, W)."""
        if hx is None:
            return None
        LR, D = len(self._suffixes()), self.hidden_size
        shape, axes = ((LR, B, D), f"({LR}, B={B}, D={D})") if batched else ((LR, D), f"({LR}, D={D})")
        kind = None if name == "h" else "batched 3-D" if batched else "unbatched 2-D"
        parts, dtype = self.recurrence.state_parts, self.recurrence.state_dtype(self._weight().dtype)
        h = join_state(name, hx, shape, axes, like, dtype=dtype, parts=parts, input_kind=kind)
        return h if batched else h[:, None]

    def _read_reset_state(
        self, state: State | None, reset: Tensor | None, steps: dict[str, int], like: Tensor
    ) -> Tensor | None:
        """The states after resets, checked, as one tensor (L R, ..., W); `steps` names the axes between, with sizes."""
        if state is None:
            return None
        if reset is None:
            raise ValueError("`reset_state` must come with `reset`, got `reset_state` alone")
        sizes = steps | {"D": self.hidden_size}
        shape = (len(self._suffixes()), *sizes.values())
        axes = f"({shape[0]}, {', '.join(f'{name}={size}' for name, size in sizes.items())})"
        for part in state if isinstance(state, tuple | list) else (state,):
            if isinstance(part, Tensor) and (part.dim() != len(shape) or part.shape != shape):
                raise ShapeError(f"`reset_state` must have shape {axes}, got {tuple(part.shape)}")
        parts, dtype = self.recurrence.state_parts, self.recurrence.state_dtype(self._weight().dtype)
        return join_state("reset_state", state, shape, axes, like, dtype=dtype, parts=parts)

    def _write_state(self, h: Tensor, batched: bool) -> State:
        return split_state(h if batched else h[:, 0], self.recurrence.state_parts)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self) -> list[str]:
        """What follows a parameter's name, for each layer and direction in torch's order."""
        ends = ("", "_reverse")[: self._directions]
        return [f"_l{layer}{end}" for layer in range(self.num_layers) for end in ends]

    def _params(self, suffix: str) -> Params:
        own = self._parameters
        if not self._buffer_names and all(name + suffix in own for name in self._shapes):
            return {name: own[name + suffix] for name in self._shapes}  # type: ignore[misc]
        # a parametrization computes some of them
        return {name: getattr(self, name + suffix) for name in (*self._shapes, *self._buffer_names)}

    def _weight(self) -> Tensor:
        name = next(iter(self._shapes)) + "_l0"
        weight = self._parameters.get(name)
        return getattr(self, name) if weight is None else weight


def join_state(
    name: str,
    state: State,
    shape: tuple[int, ...],
    axes: str,
    like: Tensor,
    *,
    dtype: torch.dtype,
    parts: int,
    input_kind: str | None = None,
    cell: str | None = None,
) -> Tensor:
    """One tensor (..., W) from a user's state, whose parts are checked as `check_state` does."""
    if parts == 1:
        return check_state(name, state, shape, axes, dtype, like, input_kind, cell)
    if not isinstance(state, tuple | list) or len(state) != parts:
        raise TypeError(f"`{name}` must be a tuple of {parts} tensors, got {type(state).__name__}")
    named = [(f"{name}[{i}]", part) for i, part in enumerate(state)]
    return torch.cat([check_state(n, part, shape, axes, dtype, like, input_kind, cell) for n, part in named], dim=-1)


def split_state(h: Tensor, parts: int) -> State:
    """A user's state from one tensor (..., W)."""
    return h if parts == 1 else tuple(part.clone() for part in h.chunk(parts, dim=-1))


def own_state(recurrence: Recurrence, p: Params, x: Tensor, D: int) -> Tensor:
    """A unit's own initial state (B, W): learned, or zeros."""
    B, W = x.shape[0], D * recurrence.state_parts
    start = recurrence.start(p)
    if start is not None:
        return start.expand(B, W)
    weight = next(iter(p.values()))
    return x.new_zeros(B, W, dtype=recurrence.state_dtype(weight.dtype))
