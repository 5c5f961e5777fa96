"""A trained model as a machine over letters: its own step, for many states at once, with every state as bytes."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from remanent.analysis.automata.finite import check_finite
from remanent.models import ModelState, SequenceModel
from remanent.models.state import BlockState
from remanent.ops.checks import check_tensor
from remanent.units._stack import own_state

SHARED_FROM = 2**15
"""From so many numbers on, torch shares an elementwise operation among threads, and may round by the place."""
VECTOR = 64
"""Rows of a multiple of so many numbers are rounded alike wherever they lie in a batch; see `_rows_at_once`."""


class Stepped(NamedTuple):
    """What every letter does in some states.

    Attributes:
        logits: what the model answers after each letter, (N, V, C) for V letters and C answers.
        states: the states that the letters lead to, uint8 (N, V, W).
    """

    logits: Tensor
    states: Tensor


class Part(NamedTuple):
    """A tensor of a model's state.

    Attributes:
        name: its name in `ModelState.named`, such as "layers.0.0".
        dtype: its dtype.
        shape: its shape without the batch, such as (1, D).
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """How many bytes it has in a state."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize


class Machine:
    """A model that reads tokens, as a finite automaton: its states, and what its own step does in them.

    A state is a row of W bytes, uint8: the numbers of everything that the model carries from step to step, bit by bit.
    Two states are the same if their bytes are. A row has the same bits among others as alone.

    Args:
        model: a model in evaluation mode that is a finite automaton (`check_finite`). It must not change meanwhile.

    Attributes:
        model: the model.
        num_letters: V, how many tokens it reads.
        num_answers: C, how many logits it gives.
        start: the state before the first letter, uint8 (W,).
        parts: the tensors of a state, in the order in which their bytes lie.

    Raises:
        ValueError: the model is none, or is in training mode; the message names every part that is at fault.

    >>> from remanent import ModelConfig
    >>> config = ModelConfig(3, 2, unit="mru", encoder="table", num_layers=1, state_size=4, num_states=2, head="every")
    >>> machine = Machine(SequenceModel(config).eval())
    >>> machine.step(machine.start[None]).logits.shape
    torch.Size([1, 3, 2])
    """

    def __init__(self, model: SequenceModel) -> None:
        check_finite(model)
        if any(module.training for module in model.modules()):
            raise ValueError("`model` must be in evaluation mode (`model.eval()`), got one in training mode")
        self.model = model
        self.num_letters = model.config.input_size
        self.num_answers = model.config.output_size
        self._device = model.head.weight.device
        self._form = _start(model)
        named = self._form.named().items()
        self.parts = tuple(Part(name, part.dtype, (part.shape[0], part.shape[2])) for name, part in named)
        self.start = self.pack(self._form)[0]
        self._rows = _rows_at_once(model)
        self._check_start()

    @property
    def width(self) -> int:
        """W, the bytes of a state."""
        return len(self.start)

    @torch.no_grad()
    def step(self, states: Tensor) -> Stepped:
        """Runs the model's own step on every letter in every one of some states.

        Args:
            states: N of them, uint8 (N, W).

        Returns:
            The logits (N, V, C) and the next states, uint8 (N, V, W), on the CPU.

        Raises:
            ValueError: the shape is another one.
            TypeError: they are not uint8.
        """
        check_tensor("states", states)
        if states.dim() != 2 or states.shape[1] != self.width:
            raise ValueError(f"`states` must have shape (N, W={self.width}), got {tuple(states.shape)}")
        if states.dtype != torch.uint8:
            raise TypeError(f"`states` must have dtype torch.uint8, got {states.dtype}")
        N, V = len(states), self.num_letters
        logits = torch.empty(N * V, self.num_answers, dtype=self.model.head.weight.dtype)
        after = torch.empty(N * V, self.width, dtype=torch.uint8)
        for begin in range(0, N * V, self._rows):
            rows = torch.arange(begin, min(begin + self._rows, N * V))
            before = self.unpack(states[rows // V])
            y, state = self.model.step((rows % V).to(self._device), before)
            logits[rows], after[rows] = y.cpu(), self.pack(state)
        return Stepped(logits.unflatten(0, (N, V)), after.unflatten(0, (N, V)))

    def pack(self, state: ModelState) -> Tensor:
        """The states of N sequences as rows of bytes, uint8 (N, W), on the CPU."""
        rows = [part.cpu().transpose(0, 1).flatten(1).contiguous() for part in state.named().values()]
        return torch.cat([part.view(torch.uint8) for part in rows], dim=1)

    def unpack(self, states: Tensor) -> ModelState:
        """The state of the model from rows of bytes, uint8 (N, W), on the model's device."""
        parts = zip(self.parts, states.split([part.bytes for part in self.parts], dim=1), strict=True)

        def numbers(_: Tensor) -> Tensor:
            part, rows = next(parts)  # in the order of `named`, which is that of the tuple
            return rows.clone().view(part.dtype).unflatten(1, part.shape).transpose(0, 1).to(self._device)

        return tree_map_only(Tensor, numbers, self._form)

    @torch.no_grad()
    def _check_start(self) -> None:
        """Raises unless the start state is what the model starts from where it is given none."""
        given = self.step(self.start[None])
        for letter in range(self.num_letters):
            y, state = self.model.step(torch.tensor([letter], device=self._device))
            if not _same(y[0].cpu(), given.logits[0, letter]) or not _same(
                self.pack(state)[0], given.states[0, letter]
            ):
                raise ValueError(f"`model` must step from its start state as without a state, got letter {letter}")


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether the bits are the same, those of NaN as well."""
    return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


def _start(model: SequenceModel) -> ModelState:
    """The state of one sequence before its first step."""
    blocks: list[Any] = list(model.blocks)
    return ModelState.of(
        [
            BlockState(
                tuple(_unit_start(unit) for unit in block.layer.units),
                None if block.conv is None else _unit_start(block.conv),
            )
            for block in blocks
        ]
    )


def _unit_start(unit: Any) -> Any:
    """A unit's own initial state, in the form of its users."""
    p = unit._params("_l0")
    weight = next(iter(p.values()))
    with torch.no_grad():
        return unit._write_state(own_state(unit.recurrence, p, weight.new_empty(1, 1), unit.hidden_size)[None], True)


def _rows_at_once(model: SequenceModel) -> int:
    """How many rows go through the model's step together, so that each has the bits that it has alone.

    On a CPU `row_linear` gives products whose rows do not depend on their number. torch's sigmoid and GELU may round
    otherwise in the last, incomplete vector of a tensor, and where threads divide it.
    """
    config = model.config
    inner = round(config.hidden_size * config.mlp_ratio) or 1
    widths = [config.hidden_size] * config.gate + [inner] * (config.mlp == "gelu")
    if model.head.weight.device.type != "cpu" or any(width % VECTOR for width in widths):
        return 1
    widest = max(parameter.shape[0] for parameter in model.parameters() if parameter.dim() > 1)
    return max(1, (SHARED_FROM - 1) // max(widest, config.input_size))
