"""The worked cases: outputs and every gradient of every unit, to 1e-12 in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import assert_close
from remanent import CELLS, UNITS
from unit_cases import equations, stepped

DATA = Path(__file__).parents[1] / "data"
GATES = {"min_gru": ["candidate", "gate"]}
"""The rows of a projection, one gate below the other, where they are not in the order of the file."""
OPTIONS = {
    "option.eps": "epsilon",
    "option.a": "width",
    "option.states": "num_states",
    "option.tracers": "num_tracers",
}
"""The cases' names of options."""


def load(path):
    with np.load(path) as file:
        return {key: torch.from_numpy(file[key]) for key in file}


def unit_of(case):
    """The unit whose name a case begins with."""
    return max((name for name in UNITS if f"{case}_".startswith(f"{name}_")), key=len)


def options_of(vectors):
    return {OPTIONS[key]: vectors[key].item() for key in vectors if key in OPTIONS}


CASES = {path.stem: (unit_of(path.stem), options_of(load(path))) for path in sorted(DATA.glob("*.npz"))}
CASES |= {name: (name, {}) for name in UNITS if name in CASES and name != "mru"}  # such a case is of the defaults
CASES["cmru_as_bmru"] = ("bmru", {"epsilon": 1.0})
CASES["alpha_cmru_as_alpha_bmru"] = ("alpha_bmru", {"epsilon": 1.0})


def test_the_cases_are_all_there():
    assert {"bmru", "bmru_epsilon", "bmru_surrogate_width", "cmru", "alpha_cmru", "fq_bmru"} <= set(CASES)
    assert {"lru", "min_gru", "brc", "nbrc"} <= set(CASES)
    assert CASES["bmru_epsilon"] == ("bmru", {"epsilon": 0.3})
    assert CASES["bmru_surrogate_width"] == ("bmru", {"width": 2.5})
    assert CASES["mru_tracers_epsilon"] == ("mru", {"num_states": 3, "num_tracers": 2, "epsilon": 0.3})
    assert {"mru", "mru_epsilon", "mru_soft", "mru_tracers"} <= set(CASES)


def arranged(name, values):
    """A case's parameters, or gradients, by the unit's names."""
    if name == "lru":
        return {
            "weight_ih": torch.cat([values.pop("B_re"), values.pop("B_im")]),
            "weight_ho": torch.cat([values.pop("C_re"), values.pop("C_im")]),
            "weight_skip": values.pop("D"),
        } | values
    gates = GATES.get(name, [key.removeprefix("W_") for key in values if key.startswith("W_")])
    joined = {
        "weight_ih": torch.cat([values.pop(f"W_{gate}") for gate in gates]),
        "bias_ih": torch.cat([values.pop(f"b_{gate}") for gate in gates]),
    }
    if "U_r" in values:
        joined["weight_hh"] = torch.cat([values.pop("U_r"), values.pop("U_z")])
    return joined | values


def picked(vectors, prefix, without=()):
    return {k.removeprefix(prefix): v for k, v in vectors.items() if k.startswith(prefix) and k not in without}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["unit", "step", "cell"])
def test_every_unit_reproduces_its_worked_case(case, way, vectors):
    name, options = CASES[case]
    v = vectors(case.split("_as_")[0])
    if "_as_" not in case:
        assert options_of(v).items() <= vars(equations(name, options)).items()
    x, h0 = v["x"].requires_grad_(), v["h0"].requires_grad_()
    h = torch.view_as_complex(h0) if name == "lru" else h0
    suffix = "" if way == "cell" else "_l0"
    kind = CELLS if way == "cell" else UNITS
    D = v["y"].shape[2]
    sizes = (5, D) if way == "cell" else (5, D, 1, True, True)
    unit = kind[name](*sizes, dtype=torch.float64, **options)
    wanted = arranged(name, picked(v, "param."))
    assert {key + suffix for key in wanted} == set(unit.state_dict())
    unit.load_state_dict({key + suffix: value for key, value in wanted.items()})
    if way == "unit":
        y, _ = unit(x, h[None])
    elif way == "step":
        y, _ = stepped(unit, x, h[None])
    else:
        outputs = []
        for x_t in x.unbind(1):
            h = unit(x_t, h)
            outputs.append(unit.readout(h, x_t))
        y = torch.stack(outputs, 1)
    y.backward(v["grad_y"])
    assert_close(y.detach(), v["y"], 1e-12, "y")
    for key, grad in arranged(name, picked(v, "grad.", ("grad.x", "grad.h0"))).items():
        assert_close(unit.get_parameter(key + suffix).grad, grad, 1e-12, key)
    assert_close(x.grad, v["grad.x"], 1e-12, "x")
    assert_close(h0.grad, v["grad.h0"], 1e-12, "h0")


def test_min_lstm_is_its_formula():
    """There is no worked case of it: the specification, step by step, with autograd's gradients."""
    torch.manual_seed(0)
    unit = UNITS["min_lstm"](5, 7, batch_first=True, dtype=torch.float64)
    x, h0 = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((3, 37, 5), (3, 7)))
    h, outputs = h0, []
    for x_t in x.unbind(1):
        candidate, forget, write = (x_t @ unit.weight_ih_l0.T + unit.bias_ih_l0).chunk(3, -1)
        f, i = torch.sigmoid(forget), torch.sigmoid(write)
        h = f / (f + i) * h + i / (f + i) * candidate
        outputs.append(h)
    expected, (y, _) = torch.stack(outputs, 1), unit(x, h0[None])
    assert_close(y.detach(), expected.detach(), 1e-12, "y")
    wanted = [x, h0, *unit.parameters()]
    weight = torch.randn_like(y)
    pairs = zip(torch.autograd.grad(y, wanted, weight), torch.autograd.grad(expected, wanted, weight), strict=True)
    for actual, grad in pairs:
        assert_close(actual, grad, 1e-12, "gradient")


@pytest.mark.parametrize("shift", [-500.0, 500.0])
def test_min_lstm_survives_gates_that_are_both_closed(shift):
    unit = UNITS["min_lstm"](1, 2)
    with torch.no_grad():
        unit.bias_ih_l0[2:] = shift
    y, _ = unit(torch.randn(50, 1, 1, requires_grad=True))
    y.sum().backward()
    assert y.isfinite().all()
    assert all(p.grad.isfinite().all() for p in unit.parameters())
