"""The section on agents: the replay of a policy's memory in one update, beside the recurrent modules of TorchRL."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from remanent.bench.passes import Run, both_passes
from remanent.bench.peers import reason
from remanent.bench.timing import Case, Row, Settings, add_ratios, measure
from remanent.units import BMRU, GRU, LRU, LSTM, MinGRU

SHAPES = ((32, 128, 64, 128),)
"""The shapes (B, T, M, D) that are timed."""
QUICK_SHAPES = ((4, 16, 3, 8),)
"""The shapes of a quick trial."""
RESETS = 0.03
"""The share of steps at which an episode begins."""
UNITS = (BMRU, MinGRU, LRU, GRU, LSTM)
"""The units that are timed within a `RecurrentModule`."""
PEERS = ("GRUModule", "LSTMModule")
"""The modules of TorchRL that are timed."""
BACKENDS = {"": "pad", " scan": "scan"}
"""Their ways through a row: the ending of the case's name to the backend, of which the first is the default."""
KEYS: dict[str, Any] = {"in_key": "observation", "out_key": "embed"}
"""What every module reads and writes."""


def time_replay(settings: Settings) -> list[Row]:
    """Times both passes of recurrent modules over B rows of T steps, with episodes that begin within them.

    The gradients are those of the parameters. The ratio "GRUModule over it" says how many times as long TorchRL's
    default module takes.
    """
    rows: list[Row] = []
    for B, T, M, D in QUICK_SHAPES if settings.quick else SHAPES:
        makers: dict[str, Callable[[], Any]] = {make.__name__: partial(_ours, make, M, D) for make in UNITS}
        for name, (ending, backend) in product(PEERS, BACKENDS.items()):
            makers[name + ending] = partial(_peer, name, M, D, backend)
        cases = []
        for name, make in makers.items():
            try:
                cases.append(Case(name, _replay(make, B, T, M)))
            except Exception as error:
                cases.append(Case(name, None, reason(error)))
        group = measure("replay", {"B": B, "T": T, "M": M, "D": D}, cases, settings.repeats)
        for base in PEERS:
            add_ratios(group, f"{base} over it", base, inverse=True)
        rows += group
    return rows


def _ours(make: Callable[..., Any], M: int, D: int) -> Any:
    from remanent.rl import RecurrentModule

    torch.manual_seed(0)
    return RecurrentModule(make(M, D, batch_first=True), **KEYS)


def _peer(name: str, M: int, D: int, backend: str) -> Any:
    from torchrl import modules

    torch.manual_seed(0)
    return getattr(modules, name)(M, D, recurrent_backend=backend, **KEYS)


def _replay(make: Callable[[], Any], B: int, T: int, M: int) -> Run:
    """A run of both passes, from states that are zeros, as at the starts of episodes."""
    from tensordict import TensorDict
    from torchrl.modules import set_recurrent_mode

    module = make()
    draw = torch.Generator().manual_seed(0)
    data = {
        "observation": torch.randn(B, T, M, generator=draw),
        "is_init": torch.rand(B, T, 1, generator=draw) < RESETS,
    }
    data |= {
        key: spec.expand(B, T, *spec.shape).zero() for key, spec in module.make_tensordict_primer().primers.items()
    }
    held = TensorDict(data, [B, T])

    def forward() -> Tensor:
        with set_recurrent_mode(True):
            embed: Tensor = module(held.copy())["embed"]
        return embed

    return both_passes(forward, list(module.parameters()), torch.ones_like(forward().detach()))
