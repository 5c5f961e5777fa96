"""The scan of heads with K states: every backend equals the reference, and the laws of section 10 hold."""

import pytest
import torch
from torch.func import grad, jvp, vmap

from cases import crossed
from helpers import assert_close
from remanent.ops import transition_scan, transition_step
from remanent.ops.transition import BACKENDS

FAST = ["portable", "cpu"]
RUNS = ["reference", *FAST]
assert {*RUNS, "gpu"} == set(BACKENDS)  # "gpu" has test_gpu_transition.py
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12, torch.bfloat16: 2e-2, torch.float16: 2e-3}
VECTORS = ["mru", "mru_epsilon", "mru_soft", "mru_tracers", "mru_tracers_epsilon"]
LENGTHS = {1: (2, 1), 2: (3, 2), 63: (5, 5), 64: (7, 3), 65: (4, 6), 200: (3, 3)}
"""Length to K and R: with loops that are compiled apart and without, with fewer and more tracers than states."""


def one_hot(*shape, K, seed=0, dtype=torch.float64):
    places = torch.randint(K, shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.one_hot(places, K).flatten(-2).to(dtype)


def case(T, dtype=torch.float64, *, K=3, R=2, reset=False, permuted=False, B=2, H=3):
    draw = torch.Generator().manual_seed(T)
    logits = (3 * torch.randn(T, B, H * K * K, generator=draw, dtype=torch.float64)).to(dtype)
    logits = logits.transpose(0, 1) if permuted else logits.transpose(0, 1).contiguous()
    inputs = {"logits": logits, "h0": one_hot(B, H * R, K=K, seed=1, dtype=dtype)}
    if reset:
        inputs["reset"] = torch.rand(B, T, generator=draw) < 0.1
        shape = (B, T, H * R) if reset == "each" else (H * R,)
        inputs["reset_state"] = one_hot(*shape, K=K, seed=2, dtype=dtype)
    return inputs


def run(inputs, **options):
    """States and the gradients of every input, as new tensors."""
    leaves = {k: v.detach().requires_grad_() if v.is_floating_point() else v for k, v in inputs.items()}
    states = transition_scan(**leaves, **options)
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    states.backward(weights.to(states.dtype))
    return states.detach(), {k: v.grad for k, v in leaves.items() if v.is_floating_point()}


@pytest.mark.parametrize("backend", RUNS)
@pytest.mark.parametrize("name", VECTORS)
def test_worked_case(backend, name, vectors):
    v = vectors(f"heads/{name}")
    x, h0, weight, bias = (
        v[k].clone().requires_grad_() for k in ("x", "h0", "param.W_transition", "param.b_transition")
    )
    sizes = {"num_states": v["option.states"].item(), "num_tracers": v["option.tracers"].item()}
    logits = x @ weight.T + bias
    states = transition_scan(logits, h0, **sizes, epsilon=v["option.eps"].item(), backend=backend)
    states.backward(v["grad_y"])
    assert_close(states.detach(), v["y"], 1e-12, "y")
    for name, leaf in {"x": x, "h0": h0, "W_transition": weight, "b_transition": bias}.items():
        assert_close(leaf.grad, v[f"grad.{name}"], 1e-12, name)


@crossed(
    dtype=list(TOLERANCE),
    T=list(LENGTHS),
    reset=[False, True, "each"],
    epsilon=[0.0, 0.3, 1.0],
    backend=FAST,
)
def test_backend_equals_reference(backend, epsilon, reset, T, dtype):
    K, R = LENGTHS[T]
    inputs = case(T, dtype, K=K, R=R, reset=reset, permuted=T % 2 == 0)
    options = {"num_states": K, "num_tracers": R, "epsilon": epsilon}
    states, grads = run(inputs, **options, backend=backend)
    expected, expected_grads = run(inputs, **options, backend="reference")
    if epsilon == 0:
        assert torch.equal(states, expected)
    else:
        assert_close(states, expected, TOLERANCE[dtype], "states")
    for name, found in grads.items():
        assert_close(found, expected_grads[name], TOLERANCE[dtype], name)
    if reset == "each":
        assert not grads["reset_state"][~inputs["reset"]].any()


@pytest.mark.parametrize("backend", RUNS)
def test_the_gradient_of_a_probabilistic_automaton_is_exact(backend):
    inputs = case(4, reset="each", B=1, H=2)
    mask = inputs.pop("reset")
    leaves = [v.requires_grad_() for v in inputs.values()]

    def scan(logits, h0, reset_state):
        options = {"num_states": 3, "num_tracers": 2, "epsilon": 1.0, "backend": backend}
        return transition_scan(logits, h0, reset=mask, reset_state=reset_state, **options)

    assert torch.autograd.gradcheck(scan, leaves)


@pytest.mark.parametrize("backend", RUNS)
def test_equal_logits_lead_to_the_lowest_state(backend):
    logits = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [-torch.inf, -torch.inf, -1.0]]]).view(1, 1, 9)
    states = transition_scan(logits, num_states=3, num_tracers=3, backend=backend)
    assert states.view(3, 3).argmax(1).tolist() == [0, 1, 2]
    same = transition_scan(torch.zeros(1, 1, 9), num_states=3, num_tracers=3, backend=backend)
    assert same.view(3, 3).argmax(1).tolist() == [0, 0, 0]


def test_nan_is_an_error_at_the_reference_and_is_never_chosen_elsewhere():
    nan, inf = torch.nan, torch.inf
    logits = torch.tensor([[nan, 1.0, 2.0], [nan, nan, -inf], [0.0, nan, -1.0]]).view(1, 1, 9)
    with pytest.raises(ValueError, match=r"`logits` must not be NaN, got NaN at \(0, 0, 0\)"):
        transition_scan(logits, num_states=3, backend="reference")
    with pytest.raises(ValueError, match="`logits` must not be NaN"):
        transition_step(logits[:, 0], torch.tensor([[1.0, 0.0, 0.0]]), num_states=3)
    for backend in FAST:
        for K, wide in ((3, logits), (7, torch.nn.functional.pad(logits.view(3, 3), (0, 4, 0, 4), value=-inf))):
            states = transition_scan(wide.reshape(1, 1, -1), num_states=K, num_tracers=3, backend=backend)
            assert states.view(3, K).argmax(1).tolist() == [2, 2, 0]
        leaf = logits.clamp(min=-9.0).requires_grad_()
        transition_scan(leaf, num_states=3, num_tracers=3, epsilon=0.5, backend=backend)[..., 0].sum().backward()
        assert leaf.grad.isfinite().all()
        assert not leaf.grad[logits.isnan()].any()


@pytest.mark.parametrize("backend", RUNS)
def test_any_cut_and_single_steps_equal_the_whole(backend):
    inputs, sizes = case(65, torch.float32, K=5, R=5), {"num_states": 5, "num_tracers": 5}
    logits, h0 = inputs["logits"], inputs["h0"]
    whole = transition_scan(logits, h0, **sizes, backend=backend)
    for cut in (1, 23, 64):
        first = transition_scan(logits[:, :cut], h0, **sizes, backend=backend)
        second = transition_scan(logits[:, cut:], first[:, -1], **sizes, backend=backend)
        assert torch.equal(torch.cat([first, second], 1), whole)
    h = h0
    for t, x in enumerate(logits.unbind(1)):
        h = transition_step(x, h, **sizes)
        assert torch.equal(h, whole[:, t])
    assert torch.equal(whole.unflatten(-1, (-1, 5)).sum(-1), torch.ones(2, 65, 15))


@pytest.mark.parametrize("backend", RUNS)
def test_no_step_sees_the_future(backend):
    inputs, sizes = case(20), {"num_states": 3, "num_tracers": 2, "epsilon": 0.0, "backend": backend}
    before = transition_scan(**inputs, **sizes)
    inputs["logits"][:, 12:] += 10 * torch.randn(2, 8, 27)
    assert torch.equal(transition_scan(**inputs, **sizes)[:, :12], before[:, :12])


@pytest.mark.parametrize("backend", RUNS)
@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_a_reset_equals_a_fresh_start_and_nothing_crosses_it(backend, epsilon):
    inputs, options = case(20), {"num_states": 3, "num_tracers": 2, "epsilon": epsilon, "backend": backend}
    reset = torch.zeros(2, 20, dtype=torch.bool)
    reset[:, 8] = True
    logits, h0 = (v.requires_grad_() for v in inputs.values())
    for start in (None, torch.zeros(18).double(), one_hot(6, K=3, seed=4)):
        states = transition_scan(logits, h0, reset=reset, reset_state=start, **options)
        fresh = transition_scan(logits[:, 8:], None if start is None else start.expand(2, -1), **options)
        assert_close(states[:, 8:].detach(), fresh.detach(), 1e-14 if epsilon else 0.0, "states")
        weights = torch.randn(12, 18).double()
        of_logits, of_h0 = torch.autograd.grad((states[:, 8:] * weights).sum(), (logits, h0))
        (wanted,) = torch.autograd.grad((fresh * weights).sum(), logits)
        assert_close(of_logits, wanted, 1e-12, "logits")
        assert not of_h0.any()


@pytest.mark.parametrize("backend", RUNS)
def test_tracers_start_in_states_of_their_own_and_zeros_mean_that_start(backend):
    hold = torch.eye(3).repeat(2, 1, 1).view(1, 1, 18).expand(2, 4, 18)
    states = transition_scan(hold, num_states=3, num_tracers=2, backend=backend)
    assert states[0, 3].view(4, 3).argmax(1).tolist() == [0, 1, 2, 0]  # (k R + r) mod K
    given = torch.stack([torch.zeros(12), one_hot(4, K=3, seed=5, dtype=torch.float32)])
    mixed = transition_scan(hold, given, num_states=3, num_tracers=2, backend=backend)
    assert torch.equal(mixed[0], states[0])
    assert torch.equal(mixed[1], given[1].expand(4, -1))


def test_threads_change_nothing(monkeypatch):
    monkeypatch.setattr("remanent.ops.cpu.cut.SMALL", 1)
    inputs, sizes = case(65, K=4, R=4, H=40, reset=True), {"num_states": 4, "num_tracers": 4}
    expected, expected_grads = run(inputs, **sizes, backend="cpu")
    torch.set_num_threads(3)
    try:
        states, grads = run(inputs, **sizes, backend="cpu")
    finally:
        torch.set_num_threads(1)
    assert torch.equal(states, expected)
    assert all(torch.equal(grads[name], value) for name, value in expected_grads.items())


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("reset", [False, "each"])
def test_opcheck(backend, reset):
    inputs = {k: v.requires_grad_(v.dtype != torch.bool) for k, v in case(5, reset=reset).items()}
    epsilon = torch.tensor(0.3, dtype=torch.float64)
    args = (inputs["logits"], inputs["h0"], epsilon, inputs.get("reset"), inputs.get("reset_state"), 3, 2, backend)
    torch.library.opcheck(torch.ops.remanent.transition_scan.default, args)


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
@pytest.mark.parametrize("backend", RUNS)
def test_heads_in_an_ensemble(backend, epsilon):
    """Three heads of two tracers in each member: their starts differ from those of as many heads in a row."""
    logits, h0 = torch.stack([case(9)["logits"], case(8, B=2)["logits"].repeat(1, 2, 1)[:, :9]]), one_hot(2, 6, K=3)
    options = {"num_states": 3, "num_tracers": 2, "epsilon": epsilon, "backend": backend}

    def loss(logits, h0):
        states = transition_scan(logits, h0, **options)
        return (states * torch.arange(18)).square().sum()

    together = vmap(lambda x: transition_scan(x, **options))(logits)
    grads = vmap(grad(loss, (0, 1)), (0, None))(logits, h0)
    for e in range(2):
        assert_close(together[e], transition_scan(logits[e], **options), 1e-14, "states")
        for actual, expected in zip(grads, grad(loss, (0, 1))(logits[e], h0), strict=True):
            assert_close(actual[e], expected, 1e-12, "gradient")


@pytest.mark.parametrize("backend", RUNS)
def test_a_second_derivative_and_a_forward_mode_are_refused(backend):
    inputs = case(4)
    logits, options = inputs["logits"].requires_grad_(), {"num_states": 3, "num_tracers": 2, "backend": backend}
    states = transition_scan(logits, **options)
    (first,) = torch.autograd.grad(states.cumsum(1).square().sum(), logits, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"`transition_(scan|step)` can be differentiated once"):
        first.sum().backward()
    with pytest.raises(NotImplementedError, match=r"`transition_(scan|step)` has no forward-mode derivative"):
        jvp(lambda x: transition_scan(x, **options), (logits.detach(),), (logits.detach(),))


def test_epsilon_as_a_tensor_is_read_when_it_is_used():
    inputs, epsilon = case(9), torch.tensor(0.3, dtype=torch.float64)
    for backend in RUNS:
        options = {"num_states": 3, "num_tracers": 2, "backend": backend}
        found, wanted = (transition_scan(**inputs, epsilon=e, **options) for e in (epsilon, 0.3))
        assert torch.equal(found, wanted)
    h = inputs["h0"]
    for share in (0.0, 0.3):
        steps = [
            transition_step(inputs["logits"][:, 0], h, num_states=3, num_tracers=2, epsilon=e)
            for e in (share, torch.tensor(share, dtype=torch.float64))
        ]
        assert torch.equal(*steps)


class Scan(torch.nn.Module):
    def forward(self, logits, h0, epsilon):
        return transition_scan(logits, h0, num_states=3, num_tracers=2, epsilon=epsilon)


def test_the_scan_compiles_and_exports_as_a_whole():
    inputs, epsilon = case(9), torch.tensor(0.0, dtype=torch.float64)
    args = (inputs["logits"], inputs["h0"], epsilon)
    expected = Scan()(*args)
    compiled = torch.compile(Scan(), fullgraph=True, backend="aot_eager")
    logits = inputs["logits"].clone().requires_grad_()
    states = compiled(logits, *args[1:])
    assert torch.equal(states, expected)
    (found,) = torch.autograd.grad(states.cumsum(1).square().sum(), logits)
    logits = inputs["logits"].clone().requires_grad_()
    (wanted,) = torch.autograd.grad(Scan()(logits, *args[1:]).cumsum(1).square().sum(), logits)
    assert torch.equal(found, wanted)
    time = torch.export.Dim("time", min=2)
    exported = torch.export.export(Scan(), args, dynamic_shapes=({1: time}, None, None)).module()
    assert torch.equal(exported(*args), expected)
    longer = case(21)["logits"]
    assert torch.equal(exported(longer, *args[1:]), Scan()(longer, *args[1:]))


GOOD = {"logits": torch.zeros(2, 4, 27), "num_states": 3, "num_tracers": 2}
ROW = torch.tensor([0.5, 0.5, 0.0]).repeat(2, 6)
RESET = torch.ones(2, 4, dtype=torch.bool)
BAD = [
    ({"num_states": 1}, ValueError, "`num_states` must be at least 2, got 1"),
    ({"num_states": 256}, ValueError, r"`num_states` must be in \[2, 255\], got 256"),
    ({"num_states": 3.0}, TypeError, "`num_states` must be an int, got 3.0"),
    ({"num_tracers": 0}, ValueError, "`num_tracers` must be at least 1, got 0"),
    ({"logits": torch.zeros(2, 4, 28)}, ValueError, r"`logits` must have a multiple of num_states\^2 = 9 .*got 28"),
    ({"logits": torch.zeros(2, 4, 0)}, ValueError, r"`logits` must have a multiple of num_states\^2 = 9 .*got 0"),
    ({"logits": torch.zeros(2, 0, 27)}, ValueError, "`logits` must have at least one time step, got T=0"),
    ({"logits": torch.zeros(2, 4)}, ValueError, r"`logits` must have shape \(B, T, D\), got \(2, 4\)"),
    ({"logits": torch.zeros(2, 4, 27).int()}, TypeError, "`logits` must have one of the dtypes .* got int32"),
    ({"h0": torch.zeros(2, 9)}, ValueError, r"`h0` must have shape \(B=2, D=18\), got \(2, 9\)"),
    ({"h0": torch.zeros(2, 18).double()}, TypeError, "`h0` must have dtype float32, got float64"),
    ({"h0": ROW}, ValueError, r"`h0` must be one-hot in each 3 numbers .* got \[0.5, 0.5, 0.0\] for tracer 0 of row 0"),
    ({"h0": torch.eye(2, 18)}, ValueError, r"`h0` must be one-hot .* got \[0.0, 0.0, 0.0\] for tracer 1 of row 0"),
    (
        {"h0": 2 * torch.eye(3)[0].repeat(2, 6)},
        ValueError,
        "`h0` must be one-hot in each 3 numbers where `epsilon` is 0",
    ),
    ({"reset_state": torch.zeros(18)}, ValueError, "`reset_state` must come with `reset`"),
    ({"reset": RESET, "reset_state": ROW[0]}, ValueError, "`reset_state` must be one-hot in each 3 numbers"),
    ({"reset": RESET, "reset_state": torch.zeros(9)}, ValueError, r"`reset_state` must have shape \(D=18,\) or"),
    ({"reset": RESET[:, 1:]}, ValueError, r"`reset` must have shape \(B=2, T=4\), got \(2, 3\)"),
    ({"epsilon": 1.5}, ValueError, r"`epsilon` must be in \[0, 1\], got 1.5"),
    ({"backend": "fast"}, ValueError, "`backend` must be one of auto, reference, portable, cpu, gpu, got 'fast'"),
    ({"group": 3}, TypeError, r"`group` must be a torch.distributed.ProcessGroup or DeviceMesh, got int"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_input_is_refused_by_name(change, error, message):
    with pytest.raises(error, match=message):
        transition_scan(**(GOOD | change))


def test_a_state_that_is_not_one_hot_is_accepted_where_epsilon_is_not_zero():
    states = transition_scan(**GOOD | {"h0": ROW, "epsilon": 0.1})
    assert_close(states.unflatten(-1, (6, 3)).sum(-1), torch.ones(2, 4, 6), 1e-6, "sum")
