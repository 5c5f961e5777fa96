"""The convolution: torch's own as its reference, its start, gradients of any order, transforms, bad input by name."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, vmap

from model_cases import inputs, make
from remanent import BMRU, CausalConv1d, Hybrid


def sequence(B=3, T=23, D=5, dtype=torch.float64):
    torch.manual_seed(1)
    return torch.randn(B, T, D, dtype=dtype)


def slow(weight, x, reset):
    """The sum of the definition, a step and a tap at a time."""
    outputs = []
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            total = torch.zeros_like(x[b, t])
            for k in range(weight.shape[2]):
                if t - k < 0 or reset[b, t - k + 1 : t + 1].any():
                    break
                total = total + weight[:, 0, -1 - k] * x[b, t - k]
            outputs.append(total)
    return torch.stack(outputs).view_as(x)


@pytest.mark.parametrize("taps", [2, 4, 30])
def test_values_and_gradients_are_those_of_torch_and_of_the_definition(taps):
    conv, x = CausalConv1d(5, taps, batch_first=True, dtype=torch.float64), sequence().requires_grad_()
    weight, reset = torch.randn_like(x), torch.zeros(3, 23, dtype=torch.bool)
    theirs = F.conv1d(F.pad(x.transpose(1, 2), (taps - 1, 0)), conv.weight_l0, groups=5).transpose(1, 2)
    cut = torch.rand(3, 23) < 0.2
    for resets, expected in (
        (None, theirs),
        (None, slow(conv.weight_l0, x, reset)),
        (cut, slow(conv.weight_l0, x, cut)),
    ):
        y, window = conv(x, reset=resets)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
        found, wanted = (torch.autograd.grad((v * weight).sum(), [x, conv.weight_l0]) for v in (y, expected))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
        assert window.shape == (taps - 1, 3, 5)
    recent = F.pad(x, (0, 0, taps - 1, 0))[:, 1 - taps :].transpose(0, 1)
    assert torch.equal(conv(x)[1], recent)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_latch_behind_it_has_the_same_bits_at_any_cut(dtype):
    torch.manual_seed(0)
    conv, latch = CausalConv1d(16, 4, batch_first=True, dtype=dtype), BMRU(16, 33, batch_first=True, dtype=dtype)
    x = sequence(2, 67, 16, torch.float32).to(dtype)
    reset = torch.rand(2, 67) < 0.1
    for cuts in (None, reset):
        whole = latch(conv(x, reset=cuts)[0], reset=cuts)[0]
        for size in (2, 64):
            window, h, outputs = None, None, []
            for start in range(0, 67, size):
                part = slice(start, start + size)
                some = None if cuts is None else cuts[:, part]
                y, window = conv(x[:, part], window, reset=some)
                y, h = latch(y, h, reset=some)
                outputs.append(y)
            assert torch.equal(torch.cat(outputs, 1), whole)
        window, h = None, None
        for t, x_t in enumerate(x.unbind(1)):
            some = None if cuts is None else cuts[:, t]
            y, window = conv.step(x_t, window, reset=some)
            y, h = latch.step(y, h, reset=some)
            assert torch.equal(y, whole[:, t])


def test_it_starts_at_the_present_step_and_small_random_weights():
    torch.manual_seed(0)
    conv = CausalConv1d(1000, 4)
    present, past = conv.weight_l0[..., -1], conv.weight_l0[..., :-1]
    assert torch.equal(present, torch.ones(1000, 1))
    assert past.std().item() == pytest.approx(0.3, rel=0.05)
    assert abs(past.mean().item()) < 0.02
    assert str(conv) == "CausalConv1d(1000, taps=4)"
    torch.manual_seed(0)
    conv.reset_parameters()
    assert torch.equal(conv.weight_l0[..., :-1], past)


def test_gradients_of_gradients_and_transforms():
    conv, x = CausalConv1d(2, 3, batch_first=True, dtype=torch.float64), sequence(2, 5, 2).requires_grad_()
    reset = torch.rand(2, 5) < 0.3
    for cuts in (None, reset):

        def run(x, weight, cuts=cuts):
            return functional_call(conv, {"weight_l0": weight}, (x,), {"reset": cuts})[0]

        assert torch.autograd.gradcheck(run, (x, conv.weight_l0))
        assert torch.autograd.gradgradcheck(run, (x, conv.weight_l0))
    loss = lambda weight, x: functional_call(conv, {"weight_l0": weight}, (x[None],))[0].square().sum()  # noqa: E731
    each = vmap(grad(loss), in_dims=(None, 0))(conv.weight_l0.detach(), x.detach())
    alone = [torch.autograd.grad(loss(conv.weight_l0, x[b]), conv.weight_l0)[0] for b in range(2)]
    torch.testing.assert_close(each, torch.stack(alone))


def test_it_stands_beside_units_and_in_time_first_order():
    conv, x = CausalConv1d(5, dtype=torch.float64), sequence()
    y, window = conv(x.transpose(0, 1))
    first = CausalConv1d(5, batch_first=True, dtype=torch.float64)
    first.load_state_dict(conv.state_dict())
    assert torch.equal(first(x)[0], y.transpose(0, 1))
    assert torch.equal(first(x)[1], window)
    layer = Hybrid([first, BMRU(5, 3, batch_first=True, dtype=torch.float64)])
    joined, states = layer(x)
    assert torch.equal(joined[..., :5], y.transpose(0, 1))
    assert torch.equal(states[0], window)
    assert [v.shape for v in first(x[:0])] == [(0, 23, 5), (3, 0, 5)]


def test_a_model_without_it_is_as_before_and_one_with_it_is_exact_step_by_step():
    assert not any("conv" in name for name in make().state_dict())
    for options in ({"conv_size": 3}, {"conv_size": 2, "unit": "fq_bmru", "clock": "decay", "clock_size": 4}):
        model = make(torch.float32, head="every", **options)
        x, state = inputs(model, T=40), None
        with torch.no_grad():
            whole, after = model(x)
            for t, x_t in enumerate(x.unbind(1)):
                y, state = model.step(x_t, state)
                assert torch.equal(y, whole[:, t])
        assert all(torch.equal(value, state.named()[name]) for name, value in after.named().items())
        assert after.named()["windows.1"].shape == (options["conv_size"] - 1, 3, 8)


X = torch.zeros(7, 2, 5)
CALLS = {
    "size": (lambda: CausalConv1d(0, 4), ValueError, "`size` must be at least 1, got 0"),
    "size type": (lambda: CausalConv1d(4.0, 4), TypeError, "`size` must be an int, got 4.0"),
    "taps": (lambda: CausalConv1d(4, 1), ValueError, "`taps` must be at least 2, got 1"),
    "taps type": (lambda: CausalConv1d(4, "4"), TypeError, "`taps` must be an int, got '4'"),
    "batch_first": (lambda: CausalConv1d(4, 4, 1), TypeError, "`batch_first` must be a bool, got int"),
    "input": (lambda: CausalConv1d(4)(X), ValueError, r"`input` must have shape \(T, B, M=4\), got \(7, 2, 5\)"),
    "window": (
        lambda: CausalConv1d(5)(X, torch.zeros(2, 2, 5)),
        ValueError,
        r"`hx` must have shape \(3, B=2, D=5\), got \(2, 2, 5\)",
    ),
    "window of one": (
        lambda: CausalConv1d(5)(X[:, 0], torch.zeros(3, 2, 5)),
        ValueError,
        r"`hx` must have shape \(3, D=5\), got \(3, 2, 5\)",
    ),
    "window dtype": (
        lambda: CausalConv1d(5).step(X[0], torch.zeros(3, 2, 5).double()),
        TypeError,
        "`h` must have dtype torch.float32, got torch.float64",
    ),
    "window type": (lambda: CausalConv1d(5)(X, [0]), TypeError, "`hx` must be a torch.Tensor, got list"),
    "conv_size": (
        lambda: make(conv_size=1),
        ValueError,
        "`conv_size` must be 0 for no convolution, or at least 2, got 1",
    ),
    "negative conv_size": (lambda: make(conv_size=-1), ValueError, "`conv_size` must be at least 0, got -1"),
    "conv_size type": (lambda: make(conv_size=True), TypeError, "`conv_size` must be an int, got True"),
    "state of another model": (
        lambda: make(conv_size=2)(torch.zeros(3, 1, 3).double(), make()(torch.zeros(3, 1, 3).double())[1]),
        ValueError,
        "`state` must have 2 windows, one for each convolution of the model, got 0",
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_bad_input_is_rejected_by_name(call):
    run, error, message = CALLS[call]
    with pytest.raises(error, match=message):
        run()
