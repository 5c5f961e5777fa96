"""The sequence model: an encoder, a stack of blocks, a head; run whole, in chunks, or step by step."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from remanent._options import check_range
from remanent.models import _shards
from remanent.models.blocks import Block, last_real, make_encoder, make_head, make_norm
from remanent.models.clock import Clock
from remanent.models.config import ModelConfig
from remanent.models.inputs import (
    check_direction,
    check_input,
    check_lengths,
    check_reset_state,
    check_state,
    fits_model,
)
from remanent.models.saved import Names
from remanent.models.shared.streamed_model import StreamedModel
from remanent.models.state import BlockState, ModelState, head_of_one_step, mean_so_far
from remanent.ops.checks import check_reset
from remanent.ops.collectives import refusal_announced
from remanent.units import Recurrence, RecurrentUnit
from remanent.units._checks import check_step_reset, fits_step
from remanent.units._layout import real_steps


class SequenceModel(StreamedModel):
    r"""A stack of recurrent blocks between an encoder and a head.

    Args:
        config: sizes and choices.

    Attributes:
        names: what its inputs and outputs are called, if they have names: saved with it, and spoken of by exports.

    >>> model = SequenceModel(ModelConfig(input_size=3, output_size=2, head="every"))
    >>> y, state = model(torch.randn(1, 5, 3))
    >>> y.shape
    torch.Size([1, 5, 2])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.names = Names()
        self.encoder = make_encoder(config)
        self.clock = (
            None if config.clock == "none" else Clock(config.clock, size=config.clock_size, span=config.clock_span)
        )
        table = config.encoder == "table"
        self.blocks = nn.ModuleList(
            Block(config, names, reads_letters=table and i == 0) for i, names in enumerate(config.layers)
        )
        self.norm = make_norm(config)
        self.head = make_head(config)

    def forward(
        self,
        x: Tensor,
        state: ModelState | None = None,
        *,
        reset: Tensor | None = None,
        reset_state: ModelState | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        group: Any = None,
    ) -> tuple[Tensor, ModelState]:
        """Runs a sequence, or one chunk of it.

        Args:
            x: inputs, (B, T, input_size); or tokens (B, T), int64.
            state: what the chunk before returned; None at the start, and for a bidirectional model.
            reset: bool (B, T): where true, a new sequence starts at that step.
            reset_state: the states that resets lead to, of the form of `state` with an axis of T after that of the
                batch in every tensor: (1, B, T, D) for a unit. What stands at a step with a reset replaces the state
                before that step, and the rest is not read. The model's own start if None. Not for attention.
            lengths: int64 or int32 (B,), or a list of B ints, in [1, T]: how many steps of each sequence are real. What
                comes after them is padding, which changes nothing: the last step is the last real one, the mean is
                that of the real steps, the state is that after the last of them, and outputs of padding say nothing.
                None where all are real. Not for attention, nor with a `group`.
            group: the processes that hold a part of the time each, in the order of their ranks: a
                `torch.distributed` process group, or a mesh of one dimension. `x` and `reset` are then this
                process's steps, of which there may be none, and `state` is that before the first step of all.
                Not for attention, nor for units whose gates see the state. See `ops.latch_scan`.

        Returns:
            The output, (B, T, output_size) where the head reads every step, else (B, output_size)
            after the last step; and the state that continues the sequence. With a `group`, the output of
            this process's steps, or, on every process, that after the last step of all; and, on every
            process, the state after it. The gradient of a value that all processes get is summed over them.

        Raises:
            ValueError: a shape or device does not fit; the message names the argument.
            TypeError: a dtype does not fit.
        """
        with nullcontext() if group is None else refusal_announced(group):
            if group is not None and self.attends:
                raise ValueError("`group` must be None for a model with attention, whose time is not shared, got one")
            check_direction(self, state, reset_state, group)
            check_input(self, "x", x, ("B", "T"), empty=group is not None)
            check_state(self, state, x)
            check_reset(reset, None, x if x.dim() == 3 else x[..., None])
            check_reset_state(self, reset_state, reset, x)
            if lengths is not None:
                lengths = check_lengths(self, lengths, x, group)
                reset = None if reset is None else reset & real_steps(lengths, x.shape[1])
        clock, time = self._read_clock(x, x.shape[1], state, reset, reset_state, group)
        if self.clock is not None and lengths is not None:
            times = [given.time if given else None for given in (state, reset_state)]
            time = self.clock.time_after(lengths, times[0], reset, times[1])
        x = self.encoder(x)
        blocks = []
        only_last = self.config.head == "last" and group is None and not (self.training and self.config.dropout)
        for i, block in enumerate(self.blocks):
            ends = only_last and i == len(self.blocks) - 1  # with dropout, every step draws
            held, start = _of_block(i, state), _of_block(i, reset_state)
            options = {"reset": reset, "reset_state": start, "clock": clock, "group": group}
            x, after = block(x, held, **options, lengths=lengths, only_last=ends)
            blocks.append(after)
        if self.config.head == "mean":
            x, total, count = mean_so_far(self.norm(x), state, reset, reset_state, group, lengths)
            return self.head(x), ModelState.of(blocks, total=total, steps=count, time=time)
        if self.config.head == "last" and not only_last:
            x = last_real(x, lengths) if group is None else _shards.last_step(x, group)
        return self.head(self.norm(x)), ModelState.of(blocks, time=time)

    def step(
        self,
        x_t: Tensor,
        state: ModelState | None = None,
        *,
        reset: Tensor | None = None,
        reset_state: ModelState | None = None,
    ) -> tuple[Tensor, ModelState]:
        """Runs one step, at the same cost at any time; with attention, at one that grows with time.

        Args:
            x_t: one input for each sequence, (B, input_size); or tokens (B,), int64.
            state: what the step before returned; None at the start.
            reset: bool (B,): where true, a new sequence starts at this step.
            reset_state: the state that takes the place of `state` where `reset` is true, of its form; the model's own
                start if None. Not for attention.

        Returns:
            The output after this step, (B, output_size), and the state that continues the sequence.

        Raises:
            ValueError: a shape or device does not fit; the message names the argument.
            TypeError: a dtype does not fit.
        """
        if self.config.reads_tokens or not fits_step(x_t, self.head.weight, self.config.input_size):
            check_input(self, "x_t", x_t, ("B",))
        if not fits_model(self, state):
            check_state(self, state, x_t)
        if reset is not None:
            check_step_reset(reset, x_t if x_t.dim() == 2 else x_t[:, None])
        check_reset_state(self, reset_state, reset, x_t)
        return self.advance(x_t, state, reset, reset_state)

    def advance(
        self, x_t: Tensor, state: ModelState | None, reset: Tensor | None, reset_state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """`step` of what is checked: an input that `check_input` accepts, and states of the model's own."""
        cuts = None if reset is None else reset[:, None]
        starts = head_of_one_step(reset_state)
        features, time = self._read_clock(x_t, 1, state, cuts, starts)
        clock = None if features is None else features[:, 0]
        x = self.encoder(x_t)
        blocks = []
        for i, block in enumerate(self.blocks):
            before, start = _of_block(i, state), _of_block(i, reset_state)
            x, after = block.step(x, before, reset=reset, reset_state=start, clock=clock)  # type: ignore[operator]
            blocks.append(after)
        if self.config.head == "mean":
            x, total, count = mean_so_far(self.norm(x)[:, None], state, cuts, starts)
            return self.head(x), ModelState.of(blocks, total=total, steps=count, time=time)
        return self.head(self.norm(x)), ModelState.of(blocks, time=time)

    def initial_state(self, batch_size: int) -> ModelState:
        """The model's own state at the start of a sequence: what the state None stands for.

        Args:
            batch_size: B, at least 0.

        Raises:
            ValueError: the model has attention, whose state at the start holds nothing.
        """
        if self.attends:
            raise ValueError("`initial_state` must be called on a model without attention, got one with attention")
        H, weight, mean = self.config.hidden_size, self.head.weight, self.config.head == "mean"
        blocks = [block.initial_state(batch_size) for block in self.blocks]  # type: ignore[operator]
        total, steps = (weight.new_zeros(batch_size, n, dtype=torch.float64) if mean else None for n in (H, 1))
        time = None if self.clock is None else weight.new_zeros(batch_size, dtype=torch.int64)
        return ModelState.of(blocks, total=total, steps=steps, time=time)

    @property
    def starts_at_zeros(self) -> bool:
        """Whether every recurrent unit's own initial state is zeros, whatever the parameters are."""
        return all(unit.starts_at_zeros for unit in self._recurrent_units())

    @property
    def recurrences(self) -> list[Recurrence]:
        """The equations of every recurrent unit, block by block, which declare what the unit is; attention has none."""
        return [unit.recurrence for unit in self._recurrent_units()]

    @property
    def shares_time(self) -> bool:
        """Whether several processes can share the time of a sequence: see `forward`."""
        return self.streams and all(recurrence.shares_time for recurrence in self.recurrences)

    @property
    def streams(self) -> bool:
        """Whether a state of constant size continues a sequence: not with attention, nor in two directions."""
        return not (self.attends or self.config.bidirectional)

    @property
    def attends(self) -> bool:
        """Whether any unit is attention, whose state grows with time."""
        return any("attention" in names for names in self.config.layers)

    @property
    def epsilon(self) -> float | None:
        """The value that `set_epsilon` changes; None for a model without a unit that can be annealed."""
        return next((getattr(recurrence, option) for recurrence, option in self._annealed()), None)

    def set_epsilon(self, epsilon: float) -> None:
        """Sets the annealed option of every unit that has one; annealing calls it between training steps.

        The option is `epsilon` for a BMRU. A CMRU has none: it stays cumulative.

        Raises:
            ValueError: `epsilon` is not in [0, 1].
        """
        check_range("epsilon", epsilon, 0, 1)
        for recurrence, option in self._annealed():
            recurrence.set_option(option, float(epsilon))

    def _recurrent_units(self) -> list[RecurrentUnit]:
        units = [unit for block in self.blocks for unit in block.layer.units]  # type: ignore[union-attr]
        return [unit for unit in units if isinstance(unit, RecurrentUnit)]

    def _annealed(self) -> list[tuple[Recurrence, str]]:
        """Every recurrence that training can anneal, with the name of the option."""
        return [(recurrence, option) for recurrence in self.recurrences if (option := recurrence.annealed_option)]

    def _read_clock(
        self,
        x: Tensor,
        steps: int,
        state: ModelState | None,
        reset: Tensor | None,
        reset_state: ModelState | None,
        group: Any = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        if self.clock is None:
            return None, None
        time, start = (given.time if given else None for given in (state, reset_state))
        if group is not None:
            return _shards.read_clock(self.clock, x, time, reset, start, group)
        return self.clock(x.shape[0], steps, time, reset=reset, reset_time=start, device=x.device)


def _of_block(i: int, state: ModelState | None) -> BlockState | None:
    return state.block(i) if state else None
