"""The sequence model: an encoder, a stack of blocks, a head; run whole, in chunks, or step by step."""

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from remanent._options import check_range
from remanent.models import _shards
from remanent.models.blocks import Block, make_encoder, make_norm
from remanent.models.clock import Clock
from remanent.models.config import ModelConfig
from remanent.models.inputs import check_input, check_reset_state, check_state, fits_model
from remanent.models.row_linear import RowLinear
from remanent.models.saved import read_model, write_saved
from remanent.models.session import Session
from remanent.models.state import BlockState, ModelState, head_of_one_step, mean_so_far
from remanent.ops.checks import check_reset
from remanent.ops.collectives import refusal_announced
from remanent.units import Recurrence, RecurrentUnit
from remanent.units._checks import check_step_reset, fits_step


class SequenceModel(nn.Module):
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
        self.head = RowLinear(config.hidden_size, config.output_size)

    def forward(
        self,
        x: Tensor,
        state: ModelState | None = None,
        *,
        reset: Tensor | None = None,
        reset_state: ModelState | None = None,
        group: Any = None,
    ) -> tuple[Tensor, ModelState]:
        """Runs a sequence, or one chunk of it.

        Args:
            x: inputs, (B, T, input_size); or tokens (B, T), int64.
            state: what the chunk before returned; None at the start.
            reset: bool (B, T): where true, a new sequence starts at that step.
            reset_state: the states that resets lead to, of the form of `state` with an axis of T after that of the
                batch in every tensor: (1, B, T, D) for a unit. What stands at a step with a reset replaces the state
                before that step, and the rest is not read. The model's own start if None. Not for attention.
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
            check_input(self, "x", x, ("B", "T"), empty=group is not None)
            check_state(self, state, x)
            check_reset(reset, None, x if x.dim() == 3 else x[..., None])
            check_reset_state(self, reset_state, reset, x)
        clock, time = self._read_clock(x, x.shape[1], state, reset, reset_state, group)
        x = self.encoder(x)
        blocks = []
        only_last = self.config.head == "last" and group is None and not (self.training and self.config.dropout)
        for i, block in enumerate(self.blocks):
            ends = only_last and i == len(self.blocks) - 1  # with dropout, every step draws
            before, start = _of_block(i, state), _of_block(i, reset_state)
            options = {"reset": reset, "reset_state": start, "clock": clock, "group": group, "only_last": ends}
            x, after = block(x, before, **options)
            blocks.append(after)
        if self.config.head == "mean":
            x, total, count = mean_so_far(self.norm(x), state, reset, reset_state, group)
            return self.head(x), ModelState.of(blocks, total=total, steps=count, time=time)
        if self.config.head == "last" and not only_last:
            x = x[:, -1] if group is None else _shards.last_step(x, group)
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

    def stream(self, batch_size: int = 1, *, engine: str = "torch") -> Session:
        """A session that holds the state of endless streams, `batch_size` of them: see `Session`.

        Args:
            batch_size: B, at least 1.
            engine: "torch", or "native" for the model's own C, compiled at the first use on this machine.

        Returns:
            The session, at the start of all streams.

        Raises:
            ValueError: `batch_size` or `engine` is out of its range, the model would drop values, or it has no C.
            TypeError: an argument is of another type.
        """
        return Session(self, batch_size, engine=engine)

    @property
    def recurrences(self) -> list[Recurrence]:
        """The equations of every recurrent unit, block by block, which declare what the unit is; attention has none."""
        return [unit.recurrence for unit in self._recurrent_units()]

    @property
    def shares_time(self) -> bool:
        """Whether several processes can share the time of a sequence: see `forward`."""
        return not self.attends and all(recurrence.shares_time for recurrence in self.recurrences)

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

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Writes `model.json` and `model.safetensors` into a folder, which is made if need be.

        The configuration is written with the `epsilon` that the annealed units have now.

        Args:
            folder: where the files go.
            overwrite: whether a model that is there already is replaced. Whenever the process ends, the folder holds
                one of the two models whole, or, between two renames, none that `load` would read.

        Raises:
            ValueError: a parameter is on the meta device, without a value.
            FileExistsError: the folder holds a model, and `overwrite` is False.
            OSError: the folder cannot be made or written; nothing was replaced.
        """
        config = self.config if self.epsilon is None else dataclasses.replace(self.config, epsilon=self.epsilon)
        write_saved(Path(folder), config, self.state_dict(), overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | Path) -> "SequenceModel":
        """Reads what `save` wrote, onto the CPU, each parameter in the dtype that it was saved in.

        Nothing in the files is ever executed. They are compared with each other before anything of their sizes is
        allocated. No default device or dtype changes the result, and torch's global generator is left as it was.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is corrupt, a key is unknown, a weight is of a dtype that no parameter has, or weights
                and configuration do not fit.
        """
        model = read_model(Path(folder), cls)
        assert isinstance(model, cls)
        return model

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
