"""The units, and the convolution with their interface, with the options that every law is tested over."""

import dataclasses

import torch

from remanent import UNITS, CausalConv1d

SHARED = [
    {},
    {"bias": False},
    {"num_layers": 2, "dropout": 0.5},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True},
]
OPTIONS = [
    *({"epsilon": e} for e in (0.0, 0.4, 1.0)),
    *({"gate_norm": norm} for norm in ("layer", "batch")),
    *({"width": 2.5, "write_span": None}, {"r_min": 0.2, "r_max": 0.5}),
    *({"num_states": 3, "num_tracers": 2}, {"num_states": 3, "num_tracers": 1, "epsilon": 0.3}),
    {"num_states": 3, "num_tracers": 1, "hard_readout": True},
]
"""Values of the options that units have of their own; a unit is tested with those that it has."""
STARTS = {
    "learned": [{"initial_state": "learned"}, {"initial_state": "learned", "num_layers": 2, "bidirectional": True}],
    "low": [{"initial_state": "low"}, {"initial_state": "low", "bidirectional": True}],
}


def kind(name):
    """The class of a unit's equations."""
    return (CausalConv1d if name == "causal_conv" else UNITS[name]).recurrence_type


def own_options(name):
    """The options that a unit has beside those of all units."""
    return {option.name for option in dataclasses.fields(kind(name))}


def fitting(name, size):
    """Options with which a unit may be so wide, for units that may not have any width."""
    if "num_states" not in own_options(name):
        return {}
    return {"num_states": next(k for k in range(2, size + 1) if size % k == 0), "num_tracers": 1}


def sized(kinds, name, size, hidden_size, *more, **options):
    """A unit or a cell, of `UNITS` or `CELLS`, with options that fit its width."""
    return kinds[name](size, hidden_size, *more, **fitting(name, hidden_size) | options)


def cases_of(name):
    """The options that a unit is tested with."""
    own = [options for options in OPTIONS if set(options) <= own_options(name)]
    starts = [options for start in kind(name).initial_states for options in STARTS.get(start, [])]
    return [*SHARED, *own, *starts]


WITH_EPSILON = [name for name in UNITS if "epsilon" in own_options(name)]
CASES = [(name, options) for name in UNITS for options in cases_of(name)]
ONE_WAY = [(name, options) for name, options in CASES if not options.get("bidirectional")]
CONVOLUTIONS = [("causal_conv", {"taps": taps}) for taps in (2, 4)]
TWO_WAY = [(name, options) for name, options in CASES if options.get("bidirectional")]
M, D = 4, 6


def case_id(value):
    """Shows options in a test's name."""
    return ",".join(f"{k}={v}" for k, v in value.items()) or "plain" if isinstance(value, dict) else None


def make(name, *, seed=0, dtype=torch.float64, batch_first=True, **options):
    """A unit in evaluation, so that dropout is off, with a threshold that some steps pass and some do not."""
    torch.manual_seed(seed)
    if name == "causal_conv":
        return CausalConv1d(M, batch_first=batch_first, dtype=dtype, **options).eval()
    unit = sized(UNITS, name, M, D, batch_first=batch_first, dtype=dtype, **options).eval()
    with torch.no_grad():
        for key, parameter in unit.named_parameters():
            if key.startswith(("alpha", "h0", "bias")) and name not in ("gru", "lstm"):
                parameter.add_(0.3 * torch.randn_like(parameter))
            if key.startswith("threshold_width"):
                parameter.fill_(0.8)
    return unit


def equations(name, options):
    """A unit's equations with those of some options that are its own."""
    return kind(name)(**{key: value for key, value in options.items() if key in own_options(name)})


def exact(name, options):
    """Whether every state is set or held, never computed."""
    return equations(name, options).exact_states


def finite(name, options):
    """Whether every written state is a number of the parameters, which no product of matrices rounds."""
    return equations(name, options).finite_states


def stepped(unit, x, h=None, reset=None):
    """What a unit puts out step by step, (B, T, D), and its last state."""
    outputs = []
    for t, x_t in enumerate(x.unbind(1)):
        y_t, h = unit.step(x_t, h, reset=None if reset is None else reset[:, t])
        outputs.append(y_t)
    return torch.stack(outputs, 1), h


def random_reset_state(unit, B=3, T=23):
    """A state of the right kind for a reset at any step."""
    return each(lambda v: random_like(unit, v[:, :, None].expand(-1, -1, T, -1)), random_state(unit, B))


def parts(state):
    """The tensors of a state."""
    return state if isinstance(state, tuple) else (state,)


def each(function, state):
    """Applies a function to every tensor of a state."""
    return tuple(function(v) for v in state) if isinstance(state, tuple) else function(state)


def random_state(unit, B=3):
    """A state of the right kind."""
    _, h = unit(torch.randn(B, 1, M, dtype=next(unit.parameters()).dtype))
    return each(lambda v: random_like(unit, v), h)


def random_like(unit, state):
    """Random numbers as a state of this shape may have them: any, or one-hot vectors."""
    if unit.recurrence.scan_kind != "transition":
        return torch.randn_like(state.detach().contiguous())
    K = unit.recurrence.num_states
    places = torch.randint(K, (*state.shape[:-1], state.shape[-1] // K))
    return torch.eye(K, dtype=state.dtype)[places].flatten(-2)
