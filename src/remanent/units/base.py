"""The interface of every unit, that of `torch.nn.GRU`: batches, packing, steps and checks around its layers."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from remanent.units._checks import ShapeError, check_input, check_rank, check_step_reset, fits_state, fits_step
from remanent.units._forms import run_packed, run_shard
from remanent.units._stack import LayerHook, StackedLayers, State, own_state
from remanent.units.recurrence import Recurrence


class RecurrentUnit(StackedLayers):
    r"""Stacked, optionally bidirectional layers of a recurrence, with the interface of `torch.nn.GRU`.

    Parameters are named as in torch: `weight_ih_l0`, `bias_ih_l0`, ..., with `_reverse` after the layer
    in the second direction; gates lie one below the other. Below, $M$ is `input_size`, $D$ is
    `hidden_size`, $L$ the layers and $R$ the directions, 1 or 2.

    Args:
        recurrence: the equations, which the class of each unit gives.
        input_size: M, the features of a step, at least 1.
        hidden_size: D, the channels, at least 1.
        num_layers: how many layers are stacked, at least 1; each reads the outputs of the one before.
        bias: whether the gates have biases.
        batch_first: whether inputs and outputs are (B, T, ...) rather than (T, B, ...).
        dropout: the probability, in [0, 1], that an output of any layer but the last is zeroed in training.
        bidirectional: whether a second direction reads the sequence backwards, with its outputs beside the first's.
        device: the device of the parameters.
        dtype: the dtype of the parameters.
        checkpoint: whether training keeps only the inputs and outputs of each layer, and computes the rest again in
            the backward pass; no bit changes. Without it, autograd keeps, beside the inputs (B, T, M) of a
            layer, for each element (B, T, D) in float32: 8.06 bytes for a BMRU or CMRU (candidate, threshold, a state
            in 64 steps), 12.06 for an AlphaCMRU, 8 for an LRU (the complex states); on a CPU 8 for an FQBMRU, 12 for a
            MinGRU and 16 for a MinLSTM (gates and states); and more for the others.

    Attributes:
        statistics_group: the process group over whose inputs a layer that keeps statistics, as with
            `gate_norm="batch"`, takes them in training; None for this process's inputs, or with a `group` those of all
            processes in it. Processes that share a batch set it to a group of them all, as
            `torch.nn.SyncBatchNorm` has one.

    Raises:
        ValueError: a size or option is out of its range; the message names the argument.
        TypeError: a size is not an int, or a flag not a bool.
    """

    recurrence_type: ClassVar[type[Recurrence]]
    """The class of a unit's equations, which declares what the unit is and which options a model fills."""

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        *,
        reset: Tensor | None = None,
        reset_state: State | None = None,
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
                sequence starts at that step. `reset_state` replaces the carried one, in both directions, so that no
                information crosses this point.
            reset_state: the state that a reset leads to, (L R, B, T, D), or (L R, T, D) for one sequence; a tuple of
                two for an LSTM. What stands at a step with a reset replaces the state before that step, and in the
                second direction, which reads from the end, the state that would go on from it to the step before;
                the rest is not read. The unit's own initial state if None.
            lengths: int64 or int32 (B,), or a list of B ints, in [0, T]: how many steps of each sequence are
                real. Outputs beyond are zero, `input` is never read there, and the state returned is that at
                the last real step. Not for a `PackedSequence`, which has its own lengths.
            group: the processes that hold a part of the time each, in the order of their ranks: a
                `torch.distributed` process group, or a mesh of one dimension. `input` and `reset` are then this
                process's steps, of which there may be none, and `hx` is the state before the first step of all.
                Not for units whose gates see the state, two directions, or `lengths`. See `ops.latch_scan`.

        Returns:
            The outputs, in the form of `input` with R D in place of M, and the state after the last step, in
            the form of `hx`: given as the `hx` of the next call, it continues the sequence. With a `group`, every
            process gets the state after the last step of all, whose gradient is summed over the processes. Do not
            change the outputs of FQBMRU, MRU, MinGRU and MinLSTM in place before the backward pass, which may read
            them.

        Raises:
            ValueError: a shape, a range or a device does not fit; the message names the argument.
            TypeError: a type or dtype does not fit.
        """
        if group is not None:
            return run_shard(self, input, hx, reset, reset_state, lengths, group)
        if isinstance(input, PackedSequence):
            return run_packed(self, input, hx, reset, reset_state, lengths)
        batched, given = self._read_inputs(input, hx, reset, reset_state, lengths)
        if given.x.shape[1] == 0:
            raise ShapeError(
                "`input` must have at least one time step, got T=0: Expected sequence length to be larger than 0 in RNN"
            )
        return self._write_outputs(*self._run(given), batched)

    def step(
        self,
        x_t: Tensor,
        h: State | None = None,
        *,
        reset: Tensor | None = None,
        reset_state: State | None = None,
    ) -> tuple[Tensor, State]:
        """Runs one step of every layer, at the same cost at any time; for a unit of one direction.

        Args:
            x_t: one input for each sequence, (B, M), or (M,) for one sequence.
            h: the state before the step, (L, B, D) or (L, D); the unit's own initial state if None.
            reset: bool (B,): where true, `reset_state` takes the place of `h`.
            reset_state: the state that a reset leads to, (L, B, D), or (L, D) for one input; a tuple of two for an
                LSTM. The unit's own initial state if None.

        Returns:
            The output (B, D) or (D,), and the state after the step, in the form of `h`.

        Raises:
            ValueError: a shape or device does not fit, or the unit is bidirectional.
            TypeError: a type or dtype does not fit.
        """
        if self.bidirectional:
            raise ValueError("`step` must be called on a unit of one direction, got bidirectional=True")
        if reset is None and reset_state is None and self._fits_step(x_t, h):
            x, after = self._step_layers(x_t, h)  # type: ignore[arg-type]
            return x, torch.stack(after)
        batched = check_rank(type(self).__name__, "x_t", x_t, (1, 2))
        check_input("x_t", x_t, ("B", "M") if batched else ("M",), self.input_size, self._weight())
        x = x_t if batched else x_t[None]
        before = self._read_state("h", h, x.shape[0], batched, x)
        restart = self._read_reset_state(reset_state, reset, {"B": x.shape[0]} if batched else {}, x)
        if reset is not None:
            check_step_reset(reset, x)
        x, after = self._step_layers(x, before, reset, restart)
        return x if batched else x[0], self._write_state(torch.stack(after), batched)

    def _fits_step(self, x: Any, h: Any) -> bool:
        """Whether an input and a state certainly fit, batched; what the checks of `step` accept beside is slower."""
        weight = self._weight()
        if self.recurrence.state_parts != 1 or not fits_step(x, weight, self.input_size):
            return False
        if h is None:
            return True
        shape = (self.num_layers, x.shape[0], self.hidden_size)
        return fits_state(h, shape, self.recurrence.state_dtype(weight.dtype), x)

    def _step_layers(
        self, x: Tensor, before: Tensor | None, reset: Tensor | None = None, restart: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """The output (B, D) and the states (B, W) of all layers after a step, from what is checked."""
        recurrence, D = self.recurrence, self.hidden_size
        after = []
        for i, suffix in enumerate(self._suffixes()):
            p = self._params(suffix)
            state = own_state(recurrence, p, x, D) if before is None else before[i]
            if reset is not None:
                own = own_state(recurrence, p, x, D) if restart is None else restart[i]
                state = torch.where(reset[:, None], own, state)
            if i > 0 and self.training:
                x = F.dropout(x, self.dropout)
            if self._layer_hooks:
                self._call_layer_hooks(suffix, p, x)
            state = recurrence.advance(p, x, state)
            x = recurrence.readout(p, state, x)
            after.append(state)
        return x, after

    def register_layer_hook(self, hook: LayerHook) -> RemovableHandle:
        """Registers a function that is called before each layer and direction runs, in `forward` and in `step`.

        It is called once for each run, also where `checkpoint` computes the layer again for the backward pass.

        Args:
            hook: called as `hook(name, p, x)` with the layer's name ("l0", "l0_reverse", "l1", ...), its parameters as
                the recurrence reads them (computed ones under a parametrization), and its inputs (B, T, M) in the
                order in which the direction reads them; a step has T = 1, packed sequences may lie one after another in
                a few rows B, and with `lengths` the real steps of all sequences lie in one row. It must change none of
                them.

        Returns:
            A handle, whose `remove()` unregisters the hook.

        >>> from remanent import BMRU
        >>> unit = BMRU(3, 8, num_layers=2)
        >>> with unit.register_layer_hook(lambda name, p, x: print(name, tuple(x.shape))):
        ...     y, h = unit(torch.randn(10, 4, 3))
        l0 (4, 10, 3)
        l1 (4, 10, 8)
        """
        handle = RemovableHandle(self._layer_hooks)
        self._layer_hooks[handle.id] = hook
        return handle

    def reset_parameters(self) -> None:
        """Draws all parameters again."""
        with torch.no_grad():
            for i, suffix in enumerate(self._suffixes()):
                self.recurrence.initialise_layer(self._params(suffix), i // self._directions)

    def flatten_parameters(self) -> None:
        """Does nothing; it exists for code written against `torch.nn.GRU`."""

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer and direction, as `torch.nn.GRU` lists them."""
        return [[getattr(self, name + suffix) for name in self._shapes] for suffix in self._suffixes()]

    def undecayed(self) -> list[nn.Parameter]:
        """The matrices that training leaves out of its weight decay, as the unit's equations say."""
        names = {name + suffix for name in self.recurrence.undecayed for suffix in self._suffixes()}
        return [parameter for name, parameter in self.named_parameters(recurse=False) if name in names]

    def initial_state(self, batch_size: int) -> State:
        """The unit's own initial state, learned or zeros, in the form of `hx`: what the state None stands for.

        Args:
            batch_size: B, at least 0.

        Returns:
            (L R, B, D); a tuple of two for an LSTM.

        >>> from remanent import BMRU
        >>> BMRU(3, 8, num_layers=2).initial_state(4).shape
        torch.Size([2, 4, 8])
        """
        like = self._weight().new_empty(batch_size, 0)
        own = [own_state(self.recurrence, self._params(suffix), like, self.hidden_size) for suffix in self._suffixes()]
        return self._write_state(torch.stack(own), True)

    @property
    def starts_at_zeros(self) -> bool:
        """Whether the unit's own initial state is zeros, in every layer, whatever the parameters are."""
        return all(self.recurrence.start(self._params(suffix)) is None for suffix in self._suffixes())

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


def describe(M: int, D: int, options: dict[str, tuple[object, object]], recurrence: Recurrence) -> str:
    """The sizes, and those options, name to (value, default), that are not at their defaults."""
    assert dataclasses.is_dataclass(recurrence)
    own = {f.name: (getattr(recurrence, f.name), f.default) for f in dataclasses.fields(recurrence)}
    changed = [f"{name}={value!r}" for name, (value, default) in (options | own).items() if value != default]
    return ", ".join([f"{M}, {D}", *changed])
