"""Laws of every unit: worked cases, step equals forward, chunks equal the whole, resets, errors."""

import copy

import pytest
import torch

from helpers import assert_close
from remanent import BMRU, LRU, UNITS

EXACT = [BMRU]
OPTIONS = [(BMRU, {}), (BMRU, {"initial_state": "learned"}), (BMRU, {"epsilon": 0.4}), (LRU, {})]


def make(unit, M=4, D=6, dtype=torch.float64, **options):
    torch.manual_seed(0)
    return unit(M, D, batch_first=True, dtype=dtype, **options)


def load(unit, values):
    with torch.no_grad():
        for name, value in values.items():
            getattr(unit, name).copy_(value)
    return unit


@pytest.mark.parametrize("name", ["bmru", "bmru_epsilon", "bmru_surrogate_width", "cmru"])
def test_bmru_reproduces_the_worked_case(name, vectors):
    v = vectors(name)
    options = {"epsilon": v["option.eps"].item()} if "option.eps" in v else {}
    options |= {"width": v["option.a"].item()} if "option.a" in v else {}
    p = {k.removeprefix("param."): t for k, t in v.items() if k.startswith("param.")}
    unit = load(
        make(BMRU, 5, 7, **options),
        {
            "weight_ih_l0": torch.cat([p["W_candidate"], p["W_threshold"]]),
            "bias_ih_l0": torch.cat([p["b_candidate"], p["b_threshold"]]),
            "alpha_l0": p["alpha"],
        },
    )
    x, h0 = v["x"].requires_grad_(), v["h0"].requires_grad_()
    y, _ = unit(x, h0[None])
    y.backward(v["grad_y"])
    assert_close(y.detach(), v["y"], 1e-12, "y")
    expected = {
        "weight_ih_l0": torch.cat([v["grad.W_candidate"], v["grad.W_threshold"]]),
        "bias_ih_l0": torch.cat([v["grad.b_candidate"], v["grad.b_threshold"]]),
        "alpha_l0": v["grad.alpha"],
    }
    for key, grad in expected.items():
        assert_close(getattr(unit, key).grad, grad, 1e-12, key)
    assert_close(x.grad, v["grad.x"], 1e-12, "x")
    assert_close(h0.grad, v["grad.h0"], 1e-12, "h0")


def test_lru_reproduces_the_worked_case(vectors):
    v = vectors("lru")
    p = {k.removeprefix("param."): t for k, t in v.items() if k.startswith("param.")}
    unit = load(
        make(LRU, 5, 7),
        {
            "weight_ih_l0": torch.cat([p["B_re"], p["B_im"]]),
            "nu_log_l0": p["nu_log"],
            "theta_log_l0": p["theta_log"],
            "gamma_log_l0": p["gamma_log"],
            "weight_ho_l0": torch.cat([p["C_re"], p["C_im"]]),
            "weight_skip_l0": p["D"],
        },
    )
    x, h0 = v["x"].requires_grad_(), v["h0"].requires_grad_()
    y, _ = unit(x, torch.view_as_complex(h0)[None])
    y.backward(v["grad_y"])
    assert_close(y.detach(), v["y"], 1e-12, "y")
    expected = {
        "weight_ih_l0": torch.cat([v["grad.B_re"], v["grad.B_im"]]),
        "nu_log_l0": v["grad.nu_log"],
        "theta_log_l0": v["grad.theta_log"],
        "gamma_log_l0": v["grad.gamma_log"],
        "weight_ho_l0": torch.cat([v["grad.C_re"], v["grad.C_im"]]),
        "weight_skip_l0": v["grad.D"],
    }
    for key, grad in expected.items():
        assert_close(getattr(unit, key).grad, grad, 1e-12, key)
    assert_close(x.grad, v["grad.x"], 1e-12, "x")
    assert_close(h0.grad, v["grad.h0"], 1e-12, "h0")


@pytest.mark.parametrize(("unit", "options"), OPTIONS)
def test_forward_equals_repeated_step_with_gradients(unit, options):
    model, x = make(unit, **options), torch.randn(3, 17, 4, dtype=torch.float64)
    y, h_n = model(x)
    weights = torch.randn_like(y)
    (y * weights).sum().backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    h, outputs = None, []
    for x_t in x.unbind(1):
        y_t, h = model.step(x_t, h)
        outputs.append(y_t)
    (torch.stack(outputs, 1) * weights).sum().backward()
    assert_close(torch.stack(outputs, 1).detach(), y.detach(), 1e-12, "y")
    assert_close(h.detach(), h_n.detach(), 1e-12, "h_n")
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, grads[name], 1e-12, name)


@pytest.mark.parametrize("unit", EXACT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("M", [1, 4, 33])
def test_steps_chunks_and_sequence_agree_bit_for_bit(unit, dtype, M):
    model, x = make(unit, M, 32, dtype), torch.randn(3, 1003, M).to(dtype)
    with torch.inference_mode():
        whole, last = model(x)
        for size in (1, 7, 64, 1000):
            h, parts = None, []
            for chunk in x.split(size, dim=1):
                y, h = model(chunk, h)
                parts.append(y)
            assert torch.equal(torch.cat(parts, 1), whole)
            assert torch.equal(h, last)
        h = None
        for t, x_t in enumerate(x.unbind(1)):
            y_t, h = model.step(x_t, h)
            assert torch.equal(y_t, whole[:, t])


@pytest.mark.parametrize("unit", EXACT)
def test_a_million_steps_equal_chunks_and_single_steps(unit):
    model, x = make(unit, 2, 3, torch.float32), torch.randn(1, 1_000_000, 2)
    with torch.inference_mode():
        whole, last = model(x)
        h = None
        for start in range(0, x.shape[1], 1000):
            y, h = model(x[:, start : start + 1000], h)
            assert torch.equal(y, whole[:, start : start + 1000])
        assert torch.equal(h, last)
        h, outputs = None, []
        for x_t in x.unbind(1):
            y_t, h = model.step(x_t, h)
            outputs.append(y_t)
    assert torch.equal(torch.stack(outputs, 1), whole)
    assert torch.equal(h, last)


@pytest.mark.parametrize(("unit", "options"), OPTIONS)
def test_time_first_is_the_default_as_in_torch(unit, options):
    model = make(unit, **options)
    x = torch.randn(3, 9, 4, dtype=torch.float64)
    expected, h_n = model(x)
    model.batch_first = False
    y, h = model(x.transpose(0, 1))
    assert torch.equal(y.transpose(0, 1), expected)
    assert torch.equal(h, h_n)
    assert unit(2, 3).batch_first is False


@pytest.mark.parametrize(("unit", "options"), OPTIONS)
def test_reset_equals_a_fresh_start(unit, options):
    model = make(unit, **options)
    x = torch.randn(3, 12, 4, dtype=torch.float64)
    reset = torch.zeros(3, 12, dtype=torch.bool)
    reset[1, 5] = True
    hx = torch.full((1, 3, 6), torch.nan, dtype=model.state_dtype)
    y, _ = model(x, hx, reset=reset)
    fresh, _ = model(x[:, 5:])
    assert torch.equal(y[1, 5:], fresh[1])


@pytest.mark.parametrize(("unit", "options"), OPTIONS)
def test_state_dict_and_copy_round_trip(unit, options):
    model, x = make(unit, **options), torch.randn(2, 5, 4, dtype=torch.float64)
    other = make(unit, **options)
    other.load_state_dict(model.state_dict())
    for twin in (other, copy.deepcopy(model)):
        assert torch.equal(twin(x)[0], model(x)[0])


def test_initial_parameters():
    unit = BMRU(16, 32, initial_state="learned")
    assert torch.equal(unit.bias_ih_l0, torch.cat([torch.zeros(32), torch.ones(32)]))
    assert torch.equal(unit.alpha_l0, torch.ones(32))
    assert torch.equal(unit.h0_l0.abs(), torch.ones(32))
    assert 0 < (unit.h0_l0 > 0).sum() < 32
    assert unit.weight_ih_l0.abs().max() <= 0.25
    radius = torch.exp(-torch.exp(LRU(4, 500).nu_log_l0))
    assert radius.min() >= 0.9
    assert radius.max() <= 0.999
    assert list(UNITS) == ["bmru", "lru"]


def test_learned_initial_state_gets_a_gradient_and_is_used_after_a_reset():
    unit = make(BMRU, initial_state="learned")
    with torch.no_grad():
        unit.weight_ih_l0.zero_()
        unit.h0_l0.copy_(torch.arange(6.0))
    reset = torch.tensor([[False, True, False]])
    y, _ = unit(torch.zeros(1, 3, 4, dtype=torch.float64), torch.ones(1, 1, 6, dtype=torch.float64), reset=reset)
    assert torch.equal(y[0, 1], unit.h0_l0.detach())
    y[0, 2].sum().backward()
    assert torch.equal(unit.h0_l0.grad, torch.ones(6, dtype=torch.float64))


def test_repr_shows_what_is_not_default():
    assert repr(BMRU(2, 3)) == "BMRU(2, 3)"
    shown = repr(BMRU(2, 3, batch_first=True, epsilon=0.5, width=2.0, initial_state="learned"))
    assert shown == "BMRU(2, 3, batch_first=True, epsilon=0.5, width=2, initial_state='learned')"
    assert repr(LRU(2, 3, r_min=0.5)) == "LRU(2, 3, r_min=0.5)"


X = torch.zeros(2, 5, 4)


@pytest.mark.parametrize("unit", UNITS.values())
@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ([[1.0]], TypeError, "`x` must be a torch.Tensor, got list"),
        ([X[0]], ValueError, r"`x` must have shape \(B, T, M=4\), got \(5, 4\)"),
        ([X[..., :3]], ValueError, r"`x` must have shape \(B, T, M=4\), got \(2, 5, 3\)"),
        ([X[:, :0]], ValueError, "`x` must have at least one time step, got T=0"),
        ([X.double()], TypeError, "`x` must have the dtype of the weights, torch.float32, got torch.float64"),
        ([X.to("meta")], ValueError, "`x` must be on the device of the weights, cpu, got meta"),
        ([X, torch.zeros(2, 6)], ValueError, r"`hx` must have shape \(1, B=2, D=6\), got \(2, 6\)"),
        ([X, torch.zeros(1, 2, 6).int()], TypeError, "`hx` must have dtype"),
        ([X, 0.0], TypeError, "`hx` must be a torch.Tensor, got float"),
    ],
)
def test_bad_input_is_refused_by_name(unit, args, error, message):
    with pytest.raises(error, match=message):
        make(unit, dtype=torch.float32)(*args)


@pytest.mark.parametrize("unit", UNITS.values())
def test_bad_reset_is_refused_by_name(unit):
    with pytest.raises(TypeError, match="`reset` must have dtype bool, got float32 with NaN"):
        make(unit, dtype=torch.float32)(X, reset=torch.full((2, 5), torch.nan))
    with pytest.raises(ValueError, match=r"`reset` must have shape \(B=2, T=5\), got \(2, 4\)"):
        make(unit, dtype=torch.float32)(X, reset=torch.zeros(2, 4, dtype=torch.bool))


@pytest.mark.parametrize("unit", UNITS.values())
def test_bad_step_is_refused_by_name(unit):
    with pytest.raises(ValueError, match=r"`x_t` must have shape \(B, M=4\), got \(2, 5, 4\)"):
        make(unit, dtype=torch.float32).step(X)
    with pytest.raises(ValueError, match=r"`h` must have shape \(1, B=2, D=6\), got \(2, 6\)"):
        make(unit, dtype=torch.float32).step(X[:, 0], torch.zeros(2, 6))


@pytest.mark.parametrize(
    ("unit", "options", "error", "message"),
    [
        (BMRU, {"hidden_size": 0}, ValueError, "`hidden_size` must be at least 1, got 0"),
        (BMRU, {"input_size": 2.0}, TypeError, "`input_size` must be an int, got float"),
        (BMRU, {"epsilon": -0.1}, ValueError, r"`epsilon` must be in \[0, 1\], got -0.1"),
        (BMRU, {"width": 0.0}, ValueError, r"`width` must be in \(0, inf\), got 0.0"),
        (
            BMRU,
            {"initial_state": "ones"},
            ValueError,
            "`initial_state` must be one of zeros, learned, got 'ones'",
        ),
        (LRU, {"r_max": 1.0}, ValueError, "`r_min` and `r_max` must satisfy"),
    ],
)
def test_bad_options_are_refused_by_name(unit, options, error, message):
    with pytest.raises(error, match=message):
        unit(**({"input_size": 2, "hidden_size": 3} | options))
