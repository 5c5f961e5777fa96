"""The machine around every recurrence: layers, directions, batches, packing and checks, as `torch.nn.GRU` has them."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.checkpoint import checkpoint

from remanent.units import _time
from remanent.units._checks import (
    ShapeError,
    check_dropout,
    check_flag,
    check_input,
    check_rank,
    check_size,
    check_step_reset,
    checked_lengths,
    checked_reset,
)
from remanent.units._forms import run_packed, run_shard
from remanent.units._hooks import HookedLayers
from remanent.units._state import State, join_state, own_state, split_state
from remanent.units.recurrence import Params, Recurrence, describe


class RecurrentUnit(HookedLayers):
    r"""Stacked, optionally bidirectional layers of a recurrence, with the interface of `torch.nn.GRU`.

    Parameters are named as in torch: `weight_ih_l0`, `bias_ih_l0`, ..., with `_reverse` after the layer
    in the second direction; gates lie one below the other. Below, $M$ is `input_size`, $D$ is
    `hidden_size`, $L$ the layers and $R$ the directions, 1 or 2.

    Args:
        recurrence: the equations; a class for each unit gives its own.
        input_size: M, at least 1.
        hidden_size: D, at least 1.
        num_layers: L, at least 1; each layer reads the outputs of the one before.
        bias: whether the gates have biases.
        batch_first: inputs are (B, T, M) where true, else (T, B, M).
        dropout: the probability in [0, 1] that an output of any layer but the last is zeroed in training.
        bidirectional: whether a second direction reads the sequence backwards, its outputs beside the first's.
        device: where the parameters are made.
        dtype: their dtype.
        checkpoint: whether a training step keeps only inputs and outputs of every layer, and computes the rest
            again for the backward pass; it changes no bit. Kept else, for each element (B, T, D) of a layer of
            float32, beside its input (B, T, M), a model's largest part by far: of a BMRU or CMRU 8.06 bytes
            (candidate, threshold, a state in 64 steps), of an AlphaCMRU 12.06, of an LRU 8 (the complex
            states), of the others more.

    Raises:
        ValueError: a size or option is out of its range; the message names the argument.
        TypeError: a size is not an int, or a flag not a bool.
    """

    recurrence_type: ClassVar[type[Recurrence]]
    """The class of a unit's equations, which says what the unit is and which options a model fills."""

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
        self._shapes = {}
        for i, suffix in enumerate(self._suffixes()):
            M = input_size if i < self._directions else hidden_size * self._directions
            for name, shape in recurrence.shapes(M, hidden_size, bias).items():
                self.register_parameter(name + suffix, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
                self._shapes[name] = shape
        self.reset_parameters()

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        group: Any = None,
    ) -> tuple[Tensor | PackedSequence, State]:
        """Runs whole sequences.

        Args:
            input: (T, B, M), or (B, T, M) if `batch_first`; or (T, M), one sequence; or a `PackedSequence`.
            hx: the state before the first step, (L R, B, D), or (L R, D) for one sequence, layer by layer
                and in each the forward direction first; a tuple of two for an LSTM. The unit's own initial
                state, zeros or learned, if None.
            reset: bool (B, T), whatever `batch_first` says, or (T,) for one sequence: where true, a new
                sequence starts at that step. The unit's own initial state takes the place of the carried
                one, in both directions, and nothing crosses.
            lengths: int64 or int32 (B,), or a list of B ints, in [0, T]: how many steps of each sequence are
                real. Outputs beyond are zero, what stands there in `input` is never read, and the state
                returned is that at the last real step. Not for a `PackedSequence`, which has its own.
            group: the processes that hold a part of the time each, in the order of their ranks: a
                `torch.distributed` process group, or a mesh of one dimension. `input` and `reset` are then this
                process's steps, of which there may be none, and `hx` is the state before the first step of all.
                Not for units whose gates see the state, two directions, or `lengths`. See `ops.latch_scan`.

        Returns:
            The outputs, in the form of `input` with R D in place of M, and the state after the last step, in
            the form of `hx`, which continues the sequence as the next call's `hx`; with a `group`, on every process
            that after the last step of all, whose gradient is summed over the processes. The outputs of FQBMRU,
            MinGRU and MinLSTM may be what the backward pass needs: changed in place, it raises.

        Raises:
            ValueError: a shape, a range or a device does not fit; the message names the argument.
            TypeError: a type or dtype does not fit.
        """
        if group is not None:
            return run_shard(self, input, hx, reset, lengths, group)
        if isinstance(input, PackedSequence):
            return run_packed(self, input, hx, reset, lengths)
        batched, x, *others = self._read_inputs(input, hx, reset, lengths)
        if x.shape[1] == 0:
            raise ShapeError(
                "`input` must have at least one time step, got T=0: Expected sequence length to be larger than 0 in RNN"
            )
        return self._write_outputs(*self._run(x, *others), batched)

    def step(self, x_t: Tensor, h: State | None = None, *, reset: Tensor | None = None) -> tuple[Tensor, State]:
        """Runs one step of every layer, at the same cost at any time; for a unit of one direction.

        Args:
            x_t: one input for each sequence, (B, M), or (M,) for one sequence.
            h: the state before the step, (L, B, D) or (L, D); the unit's own initial state if None.
            reset: bool (B,): where true, the unit's own initial state takes the place of `h`.

        Returns:
            The output (B, D) or (D,), and the state after the step, in the form of `h`.

        Raises:
            ValueError: a shape or device does not fit, or the unit is bidirectional.
            TypeError: a type or dtype does not fit.
        """
        if self.bidirectional:
            raise ValueError("`step` must be called on a unit of one direction, got bidirectional=True")
        batched = check_rank(type(self).__name__, "x_t", x_t, (1, 2))
        check_input("x_t", x_t, ("B", "M") if batched else ("M",), self.input_size, self._weight())
        x = x_t if batched else x_t[None]
        before = self._read_state("h", h, x.shape[0], batched, x)
        if reset is not None:
            check_step_reset(reset, x)
        after = []
        for i, suffix in enumerate(self._suffixes()):
            p = self._params(suffix)
            state = None if before is None else before[i]
            if state is None or reset is not None:
                own = own_state(self.recurrence, p, x, self.hidden_size)
                state = own if state is None or reset is None else torch.where(reset[:, None], own, state)
            if i > 0:
                x = F.dropout(x, self.dropout, self.training)
            self._call_layer_hooks(suffix, p, x)
            state = self.recurrence.advance(p, x, state)
            x = self.recurrence.readout(p, state, x)
            after.append(state)
        return x if batched else x[0], self._write_state(torch.stack(after), batched)

    def reset_parameters(self) -> None:
        """Draws all parameters anew."""
        with torch.no_grad():
            for suffix in self._suffixes():
                self.recurrence.initialise(self._params(suffix))

    def flatten_parameters(self) -> None:
        """Does nothing; there for code written against `torch.nn.GRU`."""

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer and direction, as `torch.nn.GRU` lists them."""
        return [list(self._params(suffix).values()) for suffix in self._suffixes()]

    @property
    def state_dtype(self) -> torch.dtype:
        """The dtype of the states."""
        return self.recurrence.state_dtype(self._weight().dtype)

    def extra_repr(self) -> str:
        """The sizes, and the options that are not at their defaults."""
        options: dict[str, tuple[object, object]] = {
            "num_layers": (self.num_layers, 1),
            "bias": (self.bias, True),
            "batch_first": (self.batch_first, False),
            "dropout": (self.dropout, 0.0),
            "bidirectional": (self.bidirectional, False),
            "checkpoint": (self.checkpoint, False),
        }
        return describe(self.input_size, self.hidden_size, options, self.recurrence)

    def _read_inputs(
        self, input: Tensor, hx: State | None, reset: Tensor | None, lengths: Tensor | Sequence[int] | None
    ) -> tuple[bool, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Whether there is a batch; and what is given, checked, batch first."""
        batched = check_rank(type(self).__name__, "input", input, (2, 3))
        axes = ("T", "M") if not batched else ("B", "T", "M") if self.batch_first else ("T", "B", "M")
        check_input("input", input, axes, self.input_size, self._weight())
        if not batched and lengths is not None:
            raise ValueError(f"`lengths` must come with a batch of sequences, got one of shape {tuple(input.shape)}")
        x = input if batched and self.batch_first else input.transpose(0, 1) if batched else input[None]
        h = self._read_state("hx", hx, x.shape[0], batched, x)
        if reset is not None:
            reset = checked_reset(reset, x, batched)
        return batched, x, h, reset, None if lengths is None else checked_lengths(lengths, x)

    def _write_outputs(self, y: Tensor, h_n: Tensor, batched: bool) -> tuple[Tensor, State]:
        y = y if batched and self.batch_first else y.transpose(0, 1).contiguous() if batched else y[0]
        return y, self._write_state(h_n, batched)

    def _run(
        self, x: Tensor, h: Tensor | None, reset: Tensor | None, lengths: Tensor | None, group: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Batch-first outputs (B, T, R D) and the states (L R, B, W) at the last real steps; of a shard, at its end."""
        real = None if lengths is None else _time.real_steps(lengths, x.shape[1])[..., None]
        if real is not None:
            x = torch.where(real, x, 0)
        reset_back = _time.reset_backwards(reset, lengths) if reset is not None and self.bidirectional else None
        suffixes = self._suffixes()
        outputs, last = [], []
        run: Callable[..., tuple[Tensor, Tensor]] = self.recurrence.run
        if group is not None:
            run = partial(run, group=group)
        if self.checkpoint and torch.is_grad_enabled():  # a layer draws no random numbers
            run = partial(checkpoint, run, use_reentrant=False, preserve_rng_state=False)
        for i, suffix in enumerate(suffixes):
            p, backward = self._params(suffix), i % self._directions == 1
            state = own_state(self.recurrence, p, x, self.hidden_size) if h is None else h[i]
            source, cuts = (_time.backwards(x, lengths), reset_back) if backward else (x, reset)
            self._call_layer_hooks(suffix, p, source)
            y, state = run(p, source, state, cuts, lengths)
            last.append(state)
            outputs.append(_time.backwards(y, lengths) if backward else y)
            if len(outputs) == self._directions:
                x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
                x = x if real is None else torch.where(real, x, 0)
                if i < len(suffixes) - 1:
                    x = F.dropout(x, self.dropout, self.training)
                outputs = []
        return x, torch.stack(last)

    def _read_state(self, name: str, hx: State | None, B: int, batched: bool, like: Tensor) -> Tensor | None:
        """The state given, checked, as one tensor (L R, B, W)."""
        if hx is None:
            return None
        LR, D = len(self._suffixes()), self.hidden_size
        shape, axes = ((LR, B, D), f"({LR}, B={B}, D={D})") if batched else ((LR, D), f"({LR}, D={D})")
        kind = None if name == "h" else "batched 3-D" if batched else "unbatched 2-D"
        parts = self.recurrence.state_parts
        h = join_state(name, hx, shape, axes, like, dtype=self.state_dtype, parts=parts, input_kind=kind)
        return h if batched else h[:, None]

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
        return {name: getattr(self, name + suffix) for name in self._shapes}

    def _weight(self) -> Tensor:
        return getattr(self, next(iter(self._shapes)) + "_l0")
