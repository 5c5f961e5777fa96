"""Recurrent modules of several kinds, what they read, and how they are rolled out in steps and replayed in rows."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from tensordict import TensorDict
from torchrl.modules import set_recurrent_mode

from remanent import BMRU, GRU, LRU, LSTM, ModelConfig, SequenceModel
from remanent.rl import RecurrentModule

TOKENS = 11


class Kind(NamedTuple):
    memory: Callable
    exact: bool


def model(**options):
    return SequenceModel(
        ModelConfig(**{"input_size": 3, "output_size": 4, "hidden_size": 8, "head": "every"} | options)
    )


KINDS = {
    "bmru": Kind(lambda: BMRU(3, 8, num_layers=2, initial_state="learned"), True),
    "model": Kind(
        lambda: model(
            unit="bmru,cmru", conv_size=3, clock="decay", clock_size=4, clock_span=6, initial_state="learned"
        ),
        True,
    ),
    "tokens": Kind(lambda: model(unit="mru", encoder="table", input_size=TOKENS), True),
    "hybrid": Kind(lambda: model(unit="bmru+lru", conv_size=2), False),
    "lru": Kind(lambda: LRU(3, 8, batch_first=True), False),
    "lstm": Kind(lambda: LSTM(3, 8, num_layers=2), False),
    "gru": Kind(lambda: GRU(3, 8, batch_first=True), False),
}


def make(kind, dtype=torch.float64, *, seed=0, **options):
    torch.manual_seed(seed)
    memory = KINDS[kind].memory().to(dtype)
    with torch.no_grad():
        for name, value in memory.named_parameters():
            if "h0" in name:
                value.normal_()
    return RecurrentModule(memory, in_key="observation", out_key="embed", **options)


def data_of(kind, B, T, dtype=torch.float64, *, resets=0.15):
    """Observations and random starts of episodes, (B, T); every row begins with a start."""
    draw = torch.Generator().manual_seed(3)
    start = torch.rand(B, T, 1, generator=draw) < resets
    start[:, 0] = True
    tokens = torch.randint(TOKENS, (B, T), generator=draw)
    observation = tokens if kind == "tokens" else 2 * torch.randn(B, T, 3, dtype=dtype, generator=draw)
    return TensorDict({"observation": observation, "is_init": start}, [B, T])


@torch.no_grad()
def roll(module, data):
    """Rows (B, T) step by step, as a collector and an environment with the module's primer do it."""
    steps = []
    zeros = {key: spec.expand(data.shape[0], *spec.shape).zero() for key, spec in primers(module)}
    state = {key: data[key][:, 0] if key in data.keys(True) else value for key, value in zeros.items()}
    for step in data.unbind(1):
        start = step["is_init"]
        step = step.clone().update(state)
        for key, value in zeros.items():
            if steps:
                step[key] = torch.where(start.reshape(-1, *(1,) * (value.dim() - 1)), value, step[key])
        steps.append(module(step))
        state = {key: step["next", key] for key in zeros}
    return torch.stack(steps, 1)


def primers(module):
    return module.make_tensordict_primer().primers.items()


def replay(module, data):
    """Rows as a loss runs them, in the recurrent mode."""
    with set_recurrent_mode(True):
        return module(data.select(*module.in_keys, strict=False))
