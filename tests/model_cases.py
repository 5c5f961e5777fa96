"""Small sequence models of every make, and inputs for them."""

import dataclasses

import torch
from torch.utils._pytree import tree_map_only

from remanent import ModelConfig, SequenceModel
from remanent.models.state import HEAD_PARTS, ModelState
from remanent.units import UNITS

CONFIG = ModelConfig(input_size=3, output_size=2, hidden_size=8)
RECURRENT = "+".join(UNITS)
VARIANTS = [
    {},
    {"unit": "bmru+lru", "norm": "layer", "mlp": "gelu", "gate": True},
    {"unit": "lru", "mlp": "none", "norm": "none"},
    {"head": "every", "initial_state": "learned"},
    {"unit": "bmru+cmru", "initial_state": "low"},
    {"head": "mean", "num_layers": 3, "mlp_ratio": 0.5},
    {"encoder": "embedding", "input_size": 11},
    *({"unit": unit, "head": "every"} for unit in UNITS if unit not in ("bmru", "lru")),
    {"unit": "mru,bmru+mru", "encoder": "table", "input_size": 11, "conv_size": 3, "gate": True, "head": "every"}
    | {"num_states": 3, "num_tracers": 2, "state_size": 12},
    {"unit": "attention", "num_heads": 2, "head": "every"},
    {"unit": "attention+bmru", "num_heads": 2, "norm": "layer"},
    {"unit": "bmru+lru", "join": "sum"},
    {"unit": "lru,bmru+min_gru", "num_layers": 4, "head": "mean"},
    {"unit": "bmru+gru", "conv_size": 4, "head": "every", "gate": True},
    {"unit": "lstm+attention,fq_bmru", "join": "sum", "initial_state": "learned"},
]


def make(dtype=torch.float64, **options):
    torch.manual_seed(0)
    return SequenceModel(dataclasses.replace(CONFIG, **options)).to(dtype).eval()


def inputs(model, B=3, T=20):
    if model.config.reads_tokens:
        return torch.randint(model.config.input_size, (B, T))
    return torch.randn(B, T, model.config.input_size, dtype=model.head.weight.dtype)


def changed(state, change):
    """A model's state with `change(tensor, axis of the batch)` in place of each of its tensors."""
    layers, windows = (
        tree_map_only(torch.Tensor, lambda value: change(value, 1), part) for part in (state.layers, state.windows)
    )
    head = {
        name: tree_map_only(torch.Tensor, lambda value: change(value, 0), getattr(state, name)) for name in HEAD_PARTS
    }
    return ModelState(layers, **head, windows=windows)


def states_of_steps(model, B, T):
    """A state for each of B T steps, of the form in which a model takes those that resets lead to."""
    _, state = model(inputs(model, B * T, 3))
    return changed(state.detach(), lambda value, axis: value.unflatten(axis, (B, T)))


def at_step(states, t):
    """The state at one of these steps."""
    return changed(states, lambda value, axis: value.select(axis + 1, t))
