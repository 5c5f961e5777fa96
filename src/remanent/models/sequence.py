"""The sequence model: an encoder, a stack of blocks, a head; run whole, in chunks, or step by step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from remanent._options import check_range
from remanent.models import _shards
from remanent.models.blocks import Block, last_real, make_encoder, make_head, make_norm
from remanent.models.clock import Clock
from remanent.models.config import ModelConfig
from remanent.models.inputs import check_direction, check_input, check_lengths, check_state, fits_model
from remanent.models.session import Session
from remanent.models.shared.saved_model import SavedModel
from remanent.models.state import ModelState
from remanent.ops.checks import check_reset
from remanent.ops.collectives import refusal_announced
from remanent.units import Recurrence, RecurrentUnit
from remanent.units._checks import check_step_reset, fits_step
from remanent.units._layout import real_steps


class SequenceModel(SavedModel):
    r"""A stack of recurrent blocks between an encoder and a head.

    Args:
        config: sizes and choices.

    >>> model = SequenceModel(ModelConfig(input_size=3, output_size=2, head="every"))
    >>> y, state = model(torch.randn(1, 5, 3))
    >>> y.shape
    torch.Size([1, 5, 2])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
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
        lengths: Tensor | Sequence[int] | None = None,
        group: Any = None,
    ) -> tuple[Tensor, ModelState]:
        """Runs a sequence, or one chunk of it.

        Args:
            x: inputs, (B, T, input_size); or tokens (B, T), int64.
            state: what the chunk before returned; None at the start, and for a bidirectional model.
            reset: bool (B, T): where true, a new sequence starts at that step.
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
        if group is None:
            check_direction(self, state)
            check_input(self, "x", x, ("B", "T"))
            check_state(self, state, x)
            check_reset(reset, None, x if x.dim() == 3 else x[..., None])
        else:
            with refusal_announced(group):
                self._check_shard(x, state, reset, lengths, group)
        if lengths is not None:
            lengths = check_lengths(self, lengths, x)
            reset = None if reset is None else reset & real_steps(lengths, x.shape[1])
        clock, time = self._read_clock(x, x.shape[1], state, reset, group)
        if time is not None and lengths is not None:
            time = self.clock.time_after(lengths, state.time if state else None, reset)  # type: ignore[union-attr]
        x = self.encoder(x)
        blocks = []
        only_last = self.config.head == "last" and group is None and not (self.training and self.config.dropout)
        for i, block in enumerate(self.blocks):
            ends = only_last and i == len(self.blocks) - 1  # with dropout, every step draws
            before = state.block(i) if state else None
            x, after = block(x, before, reset=reset, clock=clock, group=group, lengths=lengths, only_last=ends)
            blocks.append(after)
        if self.config.head == "mean":
            x, total, count = _mean_so_far(self.norm(x), state, reset, group, lengths)
            return self.head(x), ModelState.of(blocks, total=total, steps=count, time=time)
        if self.config.head == "last" and not only_last:
            x = last_real(x, lengths) if group is None else _shards.last_step(x, group)
        return self.head(self.norm(x)), ModelState.of(blocks, time=time)

    def step(
        self, x_t: Tensor, state: ModelState | None = None, *, reset: Tensor | None = None
    ) -> tuple[Tensor, ModelState]:
        """Runs one step, at the same cost at any time; with attention, at one that grows with time.

        Args:
            x_t: one input for each sequence, (B, input_size); or tokens (B,), int64.
            state: what the step before returned; None at the start.
            reset: bool (B,): where true, a new sequence starts at this step.

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
        return self.advance(x_t, state, reset)

    def advance(self, x_t: Tensor, state: ModelState | None, reset: Tensor | None) -> tuple[Tensor, ModelState]:
        """`step` of what is checked: an input that `check_input` accepts, and a state of the model's own."""
        cuts = None if reset is None else reset[:, None]
        features, time = self._read_clock(x_t, 1, state, cuts)
        clock = None if features is None else features[:, 0]
        x = self.encoder(x_t)
        blocks = []
        for i, block in enumerate(self.blocks):
            before = state.block(i) if state else None
            x, after = block.step(x, before, reset=reset, clock=clock)  # type: ignore[operator]
            blocks.append(after)
        if self.config.head == "mean":
            x, total, count = _mean_so_far(self.norm(x)[:, None], state, cuts)
            return self.head(x), ModelState.of(blocks, total=total, steps=count, time=time)
        return self.head(self.norm(x)), ModelState.of(blocks, time=time)

    def stream(self, batch_size: int = 1, *, engine: str = "torch") -> Session:
        """A session that holds the state of endless streams, `batch_size` of them: see `Session`.

        Args:
            batch_size: B, at least 1.
            engine: "torch", or "native" for the model's own C, compiled at the first use on this machine.

        Returns:
            The session, at the start of all streams.

        Raises:
            ValueError: `batch_size` or `engine` is out of its range, the model is bidirectional, would drop values, or
                has no C.
            TypeError: an argument is of another type.
        """
        return Session(self, batch_size, engine=engine)

    def generate(
        self, prompt: Tensor, steps: int, *, temperature: float = 1.0, top_k: int | None = None, seed: int | None = None
    ) -> Tensor:
        """Draws the tokens that follow a prompt, from the start of the streams: see `Session.generate`.

        Args:
            prompt: the tokens that are read first, int64 (B, T), at least one step.
            steps: how many tokens are drawn, at least 1.
            temperature: what logits are divided by, at least 0; at 0 the largest is taken, the first where several are.
            top_k: from how many of the likeliest tokens is drawn, at least 1; None for all.
            seed: of the draws, at least 0; None for torch's global generator.

        Returns:
            The tokens that were drawn, int64 (B, `steps`).

        Raises:
            ValueError: the model does not answer tokens with tokens, is bidirectional, would drop values, or a value is
                out of its range.
            TypeError: an argument is of another type.

        >>> model = SequenceModel(ModelConfig(5, 5, encoder="embedding", head="every")).eval()
        >>> model.generate(torch.tensor([[0, 3]]), 4, temperature=0.5, top_k=3, seed=0).shape
        torch.Size([1, 4])
        """
        return self.stream(len(prompt)).generate(prompt, steps, temperature=temperature, top_k=top_k, seed=seed)

    @property
    def recurrences(self) -> list[Recurrence]:
        """The equations of every recurrent unit, block by block, which declare what the unit is; attention has none."""
        units = [unit for block in self.blocks for unit in block.layer.units]  # type: ignore[union-attr]
        return [unit.recurrence for unit in units if isinstance(unit, RecurrentUnit)]

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

    def _annealed(self) -> list[tuple[Recurrence, str]]:
        """Every recurrence that training can anneal, with the name of the option."""
        return [(recurrence, option) for recurrence in self.recurrences if (option := recurrence.annealed_option)]

    def _read_clock(
        self, x: Tensor, steps: int, state: ModelState | None, reset: Tensor | None, group: Any = None
    ) -> tuple[Tensor | None, Tensor | None]:
        if self.clock is None:
            return None, None
        if group is not None:
            return _shards.read_clock(self.clock, x, state.time if state else None, reset, group)
        return self.clock(x.shape[0], steps, state.time if state else None, reset=reset, device=x.device)

    def _check_shard(self, x: Tensor, state: ModelState | None, reset: Tensor | None, lengths: Any, group: Any) -> None:
        check_direction(self, state, group)
        if lengths is not None:
            raise ValueError("`lengths` must be None with a `group`, whose processes share whole sequences, got some")
        if self.attends:
            raise ValueError("`group` must be None for a model with attention, whose time is not shared, got one")
        check_input(self, "x", x, ("B", "T"), empty=True)
        check_state(self, state, x)
        check_reset(reset, None, x if x.dim() == 3 else x[..., None])


def _mean_so_far(
    x: Tensor, state: ModelState | None, reset: Tensor | None, group: Any = None, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The mean over the real steps since the last start, with the sum and the count that continue it.

    They are added up one step after another, in float64: any cut gives the same bits, and a stream may be
    longer than a smaller type can count. Shards are added up each alone, and then together.
    """
    B, T, _ = x.shape
    wide = x.to(torch.float64, copy=True)
    count = wide.new_full((B, 1), T)
    if lengths is not None:
        real = real_steps(lengths, T)
        wide, count = torch.where(real[..., None], wide, 0), lengths[:, None].double()
    carries = torch.ones_like(count, dtype=torch.bool)
    if reset is not None:
        after = reset.flip(1).cumsum(1).flip(1) - reset.long() == 0  # no reset later than this step
        wide = torch.where(after[..., None], wide, 0)
        after = after if lengths is None else after & real
        count = after.sum(1, keepdim=True).double()
        carries = ~reset.any(1, keepdim=True)
    before = (state.total, state.steps) if state else (None, None)
    if group is not None:
        total, count = _shards.mean_of_all(wide.sum(1), count, carries, before, group)
        return (total / count).to(x.dtype), total, count
    if before[0] is not None and before[1] is not None:
        wide[:, 0] += torch.where(carries, before[0], 0)
        count = count + torch.where(carries, before[1], 0)
    total = wide.cumsum(1)[:, -1]
    return (total / count).to(x.dtype), total, count
