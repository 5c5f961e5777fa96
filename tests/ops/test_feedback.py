"""The sequential scan: gradients by hand against autograd and differences, resets, errors."""

import pytest
import torch

from cases import crossed
from helpers import assert_close
from remanent.ops import feedback_scan, feedback_step
from remanent.ops.feedback import BACKENDS
from remanent.ops.feedback_cells import CELLS

D = 5
WAYS = [(cell, diagonal) for cell in CELLS for diagonal in (False, True)]
ways = pytest.mark.parametrize(("cell", "diagonal"), WAYS)


def case(cell, diagonal, T, *, dtype=torch.float64, B=3):
    torch.manual_seed(T)
    gates, fed, parts = CELLS[cell].value, CELLS[cell].fed, CELLS[cell].state
    tensors = {
        "value": torch.randn(B, T, gates * D, dtype=dtype),
        "weight": torch.randn((fed * D,) if diagonal else (fed * D, D), dtype=dtype),
        "bias": torch.randn(fed * D, dtype=dtype),
        "h0": torch.randn(B, parts * D, dtype=dtype),
        "reset_state": torch.randn(parts * D, dtype=dtype),
    }
    return {name: value.requires_grad_() for name, value in tensors.items()} | {"reset": torch.rand(B, T) < 0.3}


@crossed(
    without=[(), ("reset", "reset_state"), ("reset_state",), ("bias",)],
    dtype=[torch.float64, torch.float32],
    T=[1, 2, 63, 64, 65],
    cell__diagonal=WAYS,
)
def test_backends_give_the_same_values_and_gradients(cell, diagonal, T, dtype, without):
    inputs = case(cell, diagonal, T, dtype=dtype) | dict.fromkeys(without)
    wanted = {name: value for name, value in inputs.items() if value is not None and value.requires_grad}
    if "reset" not in without and not inputs["reset"].any():
        wanted.pop("reset_state", None)
    results = []
    for backend in BACKENDS:
        states = feedback_scan(cell=cell, backend=backend, **inputs)
        torch.manual_seed(0)
        grads = torch.autograd.grad(states, list(wanted.values()), torch.randn_like(states))
        results.append((states.detach(), grads))
    assert torch.equal(results[0][0], results[1][0])
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for name, actual, expected in zip(wanted, results[1][1], results[0][1], strict=True):
        assert_close(actual, expected, tolerance, name)


@ways
def test_a_state_for_each_reset(cell, diagonal):
    inputs, results = case(cell, diagonal, 9), []
    inputs["reset_state"] = torch.randn(*inputs["reset"].shape, *inputs["reset_state"].shape, dtype=torch.float64)
    inputs["reset_state"].requires_grad_()
    wanted = [value for value in inputs.values() if value.requires_grad]
    for backend in BACKENDS:
        states = feedback_scan(cell=cell, backend=backend, **inputs)
        torch.manual_seed(0)
        results.append([states.detach(), *torch.autograd.grad(states, wanted, torch.randn_like(states))])
    assert torch.equal(results[0][0], results[1][0])
    for expected, actual in zip(*results, strict=True):
        assert_close(actual, expected, 1e-12, "gradient")
    states = feedback_scan(cell=cell, **inputs)
    for b, t in inputs["reset"].nonzero().tolist():
        start = inputs["reset_state"][b : b + 1, t]
        step = feedback_step(inputs["value"][b : b + 1, t], inputs["weight"], inputs["bias"], start, cell=cell)
        assert_close(states[b : b + 1, t].detach(), step.detach(), 1e-12, "step")


@ways
def test_gradcheck_and_opcheck(cell, diagonal):
    inputs = case(cell, diagonal, 4, B=2)
    order = ("value", "weight", "bias", "h0", "reset_state")

    def run(*tensors):
        return feedback_scan(**dict(zip(order, tensors, strict=True)), reset=inputs["reset"], cell=cell)

    assert torch.autograd.gradcheck(run, tuple(inputs[name] for name in order))
    names = ("value", "weight", "bias", "h0", "reset", "reset_state")
    torch.library.opcheck(torch.ops.remanent.feedback_scan.default, (*(inputs[name] for name in names), cell))


@ways
def test_the_portable_backend_refuses_a_second_derivative_and_the_reference_has_it(cell, diagonal):
    inputs = case(cell, diagonal, 4)
    for backend in BACKENDS:
        states = feedback_scan(cell=cell, backend=backend, **inputs)
        (first,) = torch.autograd.grad(states.square().sum(), inputs["value"], create_graph=True)
        if backend == "portable":
            with pytest.raises(NotImplementedError, match="`feedback_scan` can be differentiated once"):
                first.square().sum().backward()
        else:
            first.square().sum().backward()


@ways
def test_it_is_the_step_again_and_again(cell, diagonal):
    inputs = case(cell, diagonal, 9)
    states = feedback_scan(inputs["value"], inputs["weight"], inputs["bias"], inputs["h0"], cell=cell)
    h = inputs["h0"]
    for t in range(9):
        h = feedback_step(inputs["value"][:, t], inputs["weight"], inputs["bias"], h, cell=cell)
        assert torch.equal(h, states[:, t])


@ways
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_crosses_a_reset(cell, diagonal, backend):
    inputs = case(cell, diagonal, 12)
    inputs["reset"][:] = False
    inputs["reset"][:, [0, 5]] = True
    with torch.no_grad():
        inputs["h0"].fill_(torch.nan)
    states = feedback_scan(cell=cell, backend=backend, **inputs)
    fresh = feedback_scan(
        inputs["value"][:, 5:],
        inputs["weight"],
        inputs["bias"],
        inputs["reset_state"].expand(3, -1),
        cell=cell,
        backend=backend,
    )
    assert_close(states[:, 5:].detach(), fresh.detach(), 1e-12, "states")
    grads = torch.autograd.grad(states[:, 5:].sum(), [inputs["value"], inputs["h0"]])
    assert not grads[0][:, :5].any()
    assert torch.equal(grads[1], torch.zeros_like(grads[1]))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"value": torch.zeros(3, 4)}, ValueError, r"`value` must have shape \(B, T, D\), got \(3, 4\)"),
        ({"value": torch.zeros(3, 4, 16)}, ValueError, "`value` must have a multiple of 3 features for 'gru', got 16"),
        ({"weight": torch.zeros(14, 5)}, ValueError, r"`weight` must have shape \(15, D=5\) or \(15,\), got \(14, 5\)"),
        ({"weight": torch.zeros(15, 5).double()}, TypeError, "`weight` must have dtype float32, got float64"),
        ({"bias": torch.zeros(5)}, ValueError, r"`bias` must have shape \(15,\), got \(5,\)"),
        ({"h0": torch.zeros(3, 4)}, ValueError, r"`h0` must have shape \(B=3, W=5\), got \(3, 4\)"),
        ({"reset": torch.zeros(3, 4)}, TypeError, "`reset` must have dtype bool, got float32"),
        ({"reset": None}, ValueError, "`reset_state` must come with `reset`, got `reset_state` alone"),
        (
            {"reset_state": torch.zeros(4)},
            ValueError,
            r"`reset_state` must have shape \(W=5,\) or \(B=3, T=4, W=5\), got \(4,",
        ),
        ({"cell": "rnn"}, ValueError, "`cell` must be one of brc, gru, lstm, got 'rnn'"),
        ({"backend": "cpu"}, ValueError, "`backend` must be one of reference, portable, got 'cpu'"),
        ({"backend": ["portable"]}, TypeError, r"`backend` must be a str, one of .*, got \['portable'\]"),
        ({"cell": None}, TypeError, "`cell` must be a str, one of brc, gru, lstm, got None"),
    ],
)
def test_bad_input_is_refused_by_name(changed, error, message):
    inputs = case("gru", False, 4, dtype=torch.float32) | {"cell": "gru"}
    with pytest.raises(error, match=message):
        feedback_scan(**(inputs | changed))
