"""A unit or a model as a recurrent module of TorchRL, for policies that collect and losses that replay."""

import math
from typing import Any

import torch
from tensordict import TensorDictBase, unravel_key_list
from tensordict.nn import TensorDictModuleBase, dispatch
from torch import Tensor
from torchrl.data import Unbounded
from torchrl.envs import TensorDictPrimer
from torchrl.modules import recurrent_mode

from remanent.models import SequenceModel
from remanent.rl.module_state import Memory, StateForm, own_where_zeros
from remanent.units import RecurrentUnit

INIT_KEY = "is_init"
"""The key of where an episode starts, which TorchRL's `InitTracker` writes."""
STATE_KEY = "recurrent_state"
"""How the default keys of states begin, as those of TorchRL's modules do."""
NestedKey = str | tuple[str, ...]
"""A key of a tensordict."""


class MissingKeyError(KeyError, ValueError):
    """A tensordict lacks a key: a KeyError as TorchRL's modules raise, and a ValueError as everywhere here."""

    def __str__(self) -> str:
        return str(self.args[0])


class RecurrentModule(TensorDictModuleBase):  # type: ignore[misc]
    r"""A unit or a model with the contract of TorchRL's `GRUModule` and `LSTMModule`.

    A call reads an observation, the state and `is_init` from a tensordict, and writes an output and the next state.
    Outside the recurrent mode, every entry is one step, as a collector calls a policy. In the recurrent mode, as in
    TorchRL's losses, the last axis of the batch is time, and a row is one scan, whatever episodes begin in it. For
    units whose states are set or held (`exact_states`), both give the same bits.

    Where `is_init` is true, a step starts at the unit's own initial state. In the recurrent mode, the state that the
    tensordict holds there counts instead, unless all its tensors are zeros, which a primer writes: a replay buffer
    marks the first step of a slice by `is_init` as well, and its stored state continues an episode. Without any state,
    every row starts at the unit's own; a single step needs one unless `is_init` is true everywhere.

    Args:
        memory: a unit of one direction; or a model whose head reads every step, without attention. Either `batch_first`
            will do.
        in_key: the key of the observation, (..., M), or of tokens, int64 (...) or (..., 1), for a model that reads
            tokens.
        in_keys: in place of `in_key`: the key of the observation and those of the state's tensors, and, if wanted,
            "is_init" at the end.
        out_key: the key of the output, (..., D), or (..., output_size) for a model.
        out_keys: in place of `out_key`: the key of the output, and those of the next state's tensors, ("next", key)
            for each key of the state.
        state_key: with `in_key` and `out_key`, the key of a state of one tensor, and how the keys of others begin:
            "recurrent_state_h" and "recurrent_state_c" for an LSTM, "recurrent_state_layers_0_0" for the first unit of
            a model's first block. Modules of one policy need different ones.
        default_recurrent_mode: whether the module is in the recurrent mode where no `set_recurrent_mode` of TorchRL is
            in force; None for False.

    Attributes:
        memory: the unit or model.
        state_keys: the keys of the state's tensors, (..., L, D) for a unit of L layers; complex ones are pairs of real
            numbers, (..., L, D, 2). In the recurrent mode, the next state is that after the last step, at the last
            step, with zeros at the others, as with TorchRL's modules.

    Raises:
        ValueError: a unit of two directions, a model with attention or another head, or keys that do not fit the state.
        TypeError: `memory` is neither a unit nor a model.

    >>> from remanent import BMRU
    >>> from tensordict import TensorDict
    >>> module = RecurrentModule(BMRU(3, 8), in_key="observation", out_key="embed")
    >>> step = TensorDict({"observation": torch.randn(4, 3), "is_init": torch.ones(4, 1, dtype=torch.bool)}, [4])
    >>> module(step)["next", "recurrent_state"].shape
    torch.Size([4, 1, 8])
    """

    def __init__(
        self,
        memory: Memory,
        *,
        in_key: NestedKey | None = None,
        in_keys: list[NestedKey] | None = None,
        out_key: NestedKey | None = None,
        out_keys: list[NestedKey] | None = None,
        state_key: str = STATE_KEY,
        default_recurrent_mode: bool | None = None,
    ) -> None:
        super().__init__()
        _check_memory(memory)
        self.memory = memory
        self._form, self._dtype = StateForm.of(memory), _dtype(memory)
        states = [state_key + part.ending for part in self._form.parts]
        read = _keys("in", in_key, in_keys, list(states))
        wrote = _keys("out", out_key, out_keys, [("next", key) for key in states])
        read = read if INIT_KEY in read else [*read, INIT_KEY]
        _check_keys("in_keys", read[:-1] if read[-1] == INIT_KEY else read, self._form)
        _check_keys("out_keys", wrote, self._form)
        self.in_keys = read
        self.out_keys = wrote
        self.state_keys = read[1:-1]
        self._recurrent_mode = default_recurrent_mode

    @property
    def recurrent_mode(self) -> bool:
        """Whether the last axis of a batch is time: as `set_recurrent_mode` says, else the module's default."""
        mode = recurrent_mode()
        return bool(self._recurrent_mode) if mode is None else mode

    @property
    def canonical_keys(self) -> list[NestedKey]:
        """The keys that are read and written, for `torchrl.modules.canonicalize_rnn_subset`."""
        return [*self.in_keys, *self.out_keys]

    def make_tensordict_primer(self) -> TensorDictPrimer:
        """The transform with which an environment carries the state from step to step, at zeros after a reset.

        Collectors append it, and `InitTracker`, to an environment on their own if they are given
        `auto_register_policy_transforms=True`. Zeros stand for the unit's own initial state, whatever that is. Without
        it, what an episode left would lie where the next one begins, and a replay would go on from it.

        Raises:
            ValueError: a key of the next state is not ("next", key) for the state's key.
        """
        expected = [("next", *_tuple(key)) for key in self.state_keys]
        if [_tuple(key) for key in self.out_keys[1:]] != expected:
            rule = f"`out_keys` must end with {expected}, so that an environment can carry the state"
            raise ValueError(f"{rule}, got {self.out_keys[1:]}")
        named = zip(self.state_keys, self._state_form().parts, strict=True)
        specs = {_tuple(key): Unbounded(shape=part.shape, dtype=part.dtype) for key, part in named}
        return TensorDictPrimer(specs, expand_specs=True)

    @dispatch  # type: ignore[untyped-decorator]
    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Runs one step of every entry, or in the recurrent mode every row.

        Args:
            tensordict: a batch of any number of axes; in the recurrent mode of at least one, the last of which is time.

        Returns:
            The same tensordict, with the output and the next state.

        Raises:
            KeyError: the observation or `is_init` is missing, or a part of the state. It is a ValueError as well.
            ValueError: a shape does not fit, as that of an image, or of the state of another unit; the message names
                the key.
            TypeError: a dtype does not fit.
        """
        batch, form = tuple(tensordict.batch_size), self._state_form()
        in_rows = self.recurrent_mode
        if in_rows and not batch:
            raise ValueError("`tensordict` must have an axis of time in the recurrent mode, got one without a batch")
        x, starts = self._observation(tensordict, batch), self._starts(tensordict, batch)
        states = self._states(tensordict, batch, form)
        if states is None and not in_rows and not bool(starts.all()):
            rule = f"`tensordict` must hold the state, {self.state_keys}, at a step that does not begin an episode"
            raise MissingKeyError(f"{rule}, got none; append `make_tensordict_primer()` to the environment")
        rows = (math.prod(batch[:-1]), batch[-1]) if in_rows else (math.prod(batch),)
        x, starts = x.reshape(*rows, *x.shape[len(batch) :]), starts.reshape(rows)
        if states is not None:
            states = [value.reshape(*rows, *part.shape) for value, part in zip(states, form.parts, strict=True)]
        y, after = self._run_rows(x, starts, states, form) if in_rows else self._run_step(x, starts, states, form)
        tensordict.set(self.out_keys[0], y.reshape(*batch, y.shape[-1]))
        for key, value, part in zip(self.out_keys[1:], after, form.parts, strict=True):
            tensordict.set(key, value.reshape(*batch, *part.shape))
        return tensordict

    def _run_step(
        self, x: Tensor, starts: Tensor, states: list[Tensor] | None, form: StateForm
    ) -> tuple[Tensor, list[Tensor]]:
        """The outputs (B, D) and next states (B, ...) of one step, from (B, ...)."""
        h = None if states is None else form.read(states)
        y, after = self.memory.step(x, h, reset=starts)
        return y, form.write(after)

    def _run_rows(
        self, x: Tensor, starts: Tensor, states: list[Tensor] | None, form: StateForm
    ) -> tuple[Tensor, list[Tensor]]:
        """The outputs (B, T, D) and next states (B, T, ...) of rows, from (B, T, ...)."""
        h = reset_state = None
        if states is not None:
            h = form.read([value[:, 0] for value in states])
            reset_state = form.read_steps(own_where_zeros(form, states, self.memory))
        time_first = isinstance(self.memory, RecurrentUnit) and not self.memory.batch_first
        y, after = self.memory(x.transpose(0, 1) if time_first else x, h, reset=starts, reset_state=reset_state)
        B, T = starts.shape
        last = [(value.new_zeros(B, T - 1, *value.shape[1:]), value[:, None]) for value in form.write(after)]
        return y.transpose(0, 1) if time_first else y, [torch.cat(steps, dim=1) for steps in last]

    def _state_form(self) -> StateForm:
        if self._dtype != _dtype(self.memory):  # the weights were given another dtype since
            self._form, self._dtype = StateForm.of(self.memory), _dtype(self.memory)
        return self._form

    def _observation(self, tensordict: TensorDictBase, batch: tuple[int, ...]) -> Tensor:
        key = self.in_keys[0]
        x = _get(tensordict, key, "the observation")
        config = self.memory.config if isinstance(self.memory, SequenceModel) else None
        if config is not None and config.reads_tokens:
            x = x.squeeze(-1) if x.dim() == len(batch) + 1 and x.shape[-1] == 1 else x
            if x.shape != batch:
                raise ValueError(f"`{key}` must hold a token for each step, {batch}, got shape {tuple(x.shape)}")
            return x
        M = self.memory.input_size if config is None else config.input_size
        if x.dim() != len(batch) + 1 or x.shape[-1] != M:
            rule = f"`{key}` must have the batch and M={M} features, {(*batch, M)}, got shape {tuple(x.shape)}"
            image = "; an image needs an encoder in front of the module" if x.dim() > len(batch) + 1 else ""
            raise ValueError(rule + image)
        if x.dtype != self._dtype and not torch.is_autocast_enabled(x.device.type):
            raise TypeError(f"`{key}` must have the dtype of the weights, {self._dtype}, got {x.dtype}")
        return x

    def _starts(self, tensordict: TensorDictBase, batch: tuple[int, ...]) -> Tensor:
        key = self.in_keys[-1]
        starts = _get(tensordict, key, "where episodes start; TorchRL's `InitTracker` writes it")
        if starts.dtype != torch.bool:
            raise TypeError(f"`{key}` must have dtype torch.bool, got {starts.dtype}")
        if starts.shape not in (batch, (*batch, 1)):
            raise ValueError(f"`{key}` must have shape {(*batch, 1)}, got {tuple(starts.shape)}")
        return starts.reshape(batch)

    def _states(self, tensordict: TensorDictBase, batch: tuple[int, ...], form: StateForm) -> list[Tensor] | None:
        """The state's tensors, (*batch, ...); None where there is no state."""
        states = [tensordict.get(key, None) for key in self.state_keys]
        missing = [key for key, value in zip(self.state_keys, states, strict=True) if value is None]
        if len(missing) == len(states):
            return None
        if missing:
            raise MissingKeyError(f"`tensordict` must hold the whole state, {self.state_keys}, got no {missing}")
        for key, value, part in zip(self.state_keys, states, form.parts, strict=True):
            if value.shape != (*batch, *part.shape):
                rule = f"`{key}` must have the batch and the shape of this module's state, {(*batch, *part.shape)}"
                raise ValueError(f"{rule}, got {tuple(value.shape)}, as that of another unit")
            if value.dtype != part.dtype:
                raise TypeError(f"`{key}` must have dtype {part.dtype}, got {value.dtype}")
        return states


def _check_memory(memory: Any) -> None:
    if isinstance(memory, RecurrentUnit):
        if memory.bidirectional:
            raise ValueError("`memory` must be a unit of one direction, got bidirectional=True")
        return
    if not isinstance(memory, SequenceModel):
        raise TypeError(f"`memory` must be a unit or a SequenceModel, got {type(memory).__name__}")
    if memory.attends:
        raise ValueError("`memory` must be a model without attention, whose state grows with time, got one with it")
    if memory.config.head != "every":
        raise ValueError(f"`memory` must be a model with head='every', got head={memory.config.head!r}")


def _keys(way: str, key: NestedKey | None, keys: list[NestedKey] | None, states: list[NestedKey]) -> list[NestedKey]:
    """All keys that are read or written, from the one or the list that is given."""
    if (key is None) == (keys is None):
        raise ValueError(f"either `{way}_key` or `{way}_keys` must be given, got {key!r} and {keys!r}")
    if keys is not None and not isinstance(keys, list | tuple):
        raise TypeError(f"`{way}_keys` must be a list of keys, got {keys!r}")
    return list(unravel_key_list([key, *states] if keys is None else list(keys)))


def _check_keys(name: str, keys: list[NestedKey], form: StateForm) -> None:
    wanted = 1 + len(form.parts)
    if len(keys) != wanted:
        of_state = ", ".join(part.ending.lstrip("_") or "state" for part in form.parts)
        raise ValueError(f"`{name}` must be {wanted} keys, of a value and of the state ({of_state}), got {keys}")


def _get(tensordict: TensorDictBase, key: NestedKey, what: str) -> Tensor:
    value = tensordict.get(key, None)
    if value is None:
        found = sorted(map(str, tensordict.keys(True, True)))
        raise MissingKeyError(f"`tensordict` must hold {key!r}, {what}, got the keys {', '.join(found) or 'none'}")
    return value


def _tuple(key: NestedKey) -> tuple[str, ...]:
    return key if isinstance(key, tuple) else (key,)


def _dtype(memory: Memory) -> torch.dtype:
    return next(memory.parameters()).dtype
