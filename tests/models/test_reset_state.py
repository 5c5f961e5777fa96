"""A model that goes on from a given state in mid-sequence: windows, clocks, means and the states of all units."""

import pytest
import torch

from model_cases import at_step, inputs, make, states_of_steps

MODELS = [
    {"head": "every", "conv_size": 3, "initial_state": "learned", "clock": "decay", "clock_size": 4, "clock_span": 6},
    {"unit": "bmru+lru,lstm", "head": "mean", "clock": "sinusoid", "clock_size": 4, "clock_span": 5},
    {"unit": "mru", "encoder": "table", "input_size": 11, "num_states": 2, "state_size": 12, "conv_size": 2},
]
B, T = 3, 11
EXACT = ("bmru", "mru")


def case(options):
    model = make(**options)
    reset = torch.zeros(B, T, dtype=torch.bool)
    reset[0, 4] = reset[0, 8] = reset[1, 0] = True
    starts = states_of_steps(model, B, T)
    return model, inputs(model, B, T), model(inputs(model, B, 3))[1].detach(), reset, starts


def assert_same(found, expected, exact):
    assert torch.equal(found, expected) or not exact
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", MODELS, ids=lambda options: options.get("unit", "bmru"))
def test_a_reset_to_a_state_goes_on_as_a_sequence_that_begins_with_it(options):
    model, x, before, reset, starts = case(options)
    every, exact = model.config.head == "every", options.get("unit", "bmru") in EXACT
    y, after = model(x, before, reset=reset, reset_state=starts)
    for row, t, state in ((0, 8, at_step(starts, 8)), (1, 0, at_step(starts, 0)), (2, 0, before)):
        whole, last = model(x[:, t:], state)
        assert_same(y[row, t:] if every else y[row], whole[row], exact)
        for name, value in last.named().items():
            axis = 0 if name in ("total", "steps", "time") else 1
            assert_same(after.named()[name].select(axis, row), value.select(axis, row), exact)
    if every:
        assert_same(y[0, 4:8], model(x[:, 4:8], at_step(starts, 4))[0][0], exact)
    state = before
    for t in range(T):
        y_t, state = model.step(x[:, t], state, reset=reset[:, t], reset_state=at_step(starts, t))
        assert_same(y_t, y[:, t] if every else y, exact) if every or t == T - 1 else None
    for name, value in state.named().items():
        assert_same(value, after.named()[name], exact)


def test_gradients_are_those_of_the_state_that_a_sequence_begins_with():
    model, x, before, reset, starts = case({"unit": "bmru+lru", "head": "mean", "conv_size": 3})
    leaves = [value.requires_grad_() for value in starts.named().values()]
    found = torch.autograd.grad(model(x, before, reset=reset, reset_state=starts)[0][0].sum(), leaves)
    expected = torch.autograd.grad(model(x[:, 8:], at_step(starts, 8))[0][0].sum(), leaves)
    for grad, other in zip(found, expected, strict=True):
        assert grad.any()
        torch.testing.assert_close(grad, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", MODELS, ids=lambda options: options.get("unit", "bmru"))
def test_the_initial_state_is_what_no_state_stands_for(options):
    model = make(**options)
    x, fresh = inputs(model, B, T), model.initial_state(B)
    for run, given in ((model, x), (model.step, x[:, 0])):
        (y, after), (expected, last) = run(given, fresh), run(given)
        assert torch.equal(y, expected)
        assert all(map(torch.equal, after.named().values(), last.named().values()))
    assert model.starts_at_zeros is (options.get("unit") == "bmru+lru,lstm")


def test_states_after_resets_that_do_not_fit_are_refused_by_name():
    model, x, _, reset, starts = case(MODELS[0])
    attending = make(unit="attention+bmru", num_heads=2, head="every")
    short = starts._replace(time=starts.time[:, 1:])
    lacking = starts._replace(windows=None)
    for call, message in (
        (lambda: model(x, reset_state=starts), "`reset_state` must come with `reset`, got `reset_state` alone"),
        (
            lambda: model(x, reset=reset, reset_state=short),
            r"`reset_state.time` must have shape \(3, 11\), got \(3, 10\)",
        ),
        (lambda: model(x, reset=reset, reset_state=lacking), "`reset_state` must have 2 windows"),
        (lambda: model(x, reset=reset, reset_state=at_step(starts, 0)), "`reset_state.time` must have shape"),
        (lambda: model.step(x[:, 0], reset=reset[:, 0], reset_state=starts), "`reset_state.time` must have shape"),
        (
            lambda: attending(x, reset=reset, reset_state=starts),
            "`reset_state` must be None for a model with attention",
        ),
        (lambda: attending.initial_state(2), "`initial_state` must be called on a model without attention"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="`reset_state` must be a ModelState, got Tensor"):
        model(x, reset=reset, reset_state=x)
    wrong = starts._replace(layers=tuple((unit[:, :, 1:],) for (unit,) in starts.layers))
    with pytest.raises(ValueError, match=r"`reset_state` must have shape \(1, B=3, T=11, D=8\), got \(1, 3, 10, 8\)"):
        model(x, reset=reset, reset_state=wrong)
