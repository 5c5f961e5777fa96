"""The set-or-hold scan: every backend equals the reference, and the laws of section 2 hold."""

from functools import lru_cache

import pytest
import torch

from cases import crossed, rarely
from helpers import assert_close
from remanent.ops import latch_scan, latch_step
from remanent.ops.latch import BACKENDS

FAST = ["portable", "cpu"]
RUNS = ["reference", *FAST]
assert {*RUNS, "gpu"} == set(BACKENDS)  # "gpu" has test_gpu.py
LENGTHS = (1, 2, 63, 64, 65, 1000)
GRAD_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 2e-2, torch.float16: 2e-3}


def case(T, dtype, *, reset=False, permuted=False, broadcast=True, B=3, D=5):
    generator = torch.Generator().manual_seed(T)

    def draw(*shape):
        if permuted and len(shape) == 3:
            values = torch.randn(shape[2], shape[0], shape[1], generator=generator, dtype=torch.float64)
            return values.permute(1, 2, 0).to(dtype).requires_grad_()
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    gate = (D,) if broadcast else (B, T, D)
    inputs = {"candidate": draw(B, T, D), "threshold": draw(*gate), "alpha": draw(*gate), "h0": draw(B, D)}
    if reset:
        inputs["reset"] = torch.rand(B, T, generator=generator) < 0.2
        inputs["reset_state"] = draw(*((B, T, D) if reset == "each" else (D,)))
    return inputs


def run(inputs, **options):
    """States and the gradients of every input, as new tensors."""
    leaves = {k: v.detach().requires_grad_() if v.is_floating_point() else v for k, v in inputs.items()}
    states = latch_scan(**leaves, **options)
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    states.backward(weights.to(states.dtype))
    return states.detach(), {k: v.grad for k, v in leaves.items() if v.is_floating_point()}


@lru_cache(4)
def reference(T, dtype, reset, permuted, broadcast, epsilon):
    """A case and what the reference makes of it, once for all backends, which change fastest."""
    inputs = case(T, dtype, reset=reset, permuted=permuted, broadcast=broadcast)
    return inputs, run(inputs, epsilon=epsilon, width=1.5, backend="reference")


@crossed(
    together=3,
    dtype=list(GRAD_TOLERANCE),
    T=LENGTHS,
    reset=[False, True],
    permuted=[False, True],
    epsilon=[0.0, 0.3, 1.0],
    backend=FAST,
)
def test_backend_equals_reference(backend, dtype, T, reset, permuted, epsilon):
    for broadcast in (True, False):
        inputs, (expected, expected_grads) = reference(T, dtype, reset, permuted, broadcast, epsilon)
        states, grads = run(inputs, epsilon=epsilon, width=1.5, backend=backend)
        assert torch.equal(states, expected)
        for name, grad in grads.items():
            assert_close(grad, expected_grads[name], GRAD_TOLERANCE[dtype], name)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("epsilon", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_a_state_for_each_reset_equals_the_reference(backend, dtype, epsilon):
    for T, permuted in ((1, False), (65, True), (130, False)):
        inputs, (expected, expected_grads) = reference(T, dtype, "each", permuted, permuted, epsilon)
        states, grads = run(inputs, epsilon=epsilon, width=1.5, backend=backend)
        assert torch.equal(states, expected)
        for name, grad in grads.items():
            assert_close(grad, expected_grads[name], GRAD_TOLERANCE[dtype], name)
        assert not grads["reset_state"][~inputs["reset"]].any()


@pytest.mark.parametrize("backend", RUNS)
def test_a_state_for_each_reset_is_a_fresh_start_from_it(backend):
    inputs = case(12, torch.float64, reset="each")
    inputs["reset"][:] = False
    inputs["reset"][:, [3, 8]] = True
    with torch.no_grad():
        inputs["reset_state"][~inputs["reset"]] = torch.nan  # never read
    states, grads = run(inputs, backend=backend)
    for begin, end in ((3, 8), (8, 12)):
        fresh = {"candidate": inputs["candidate"][:, begin:end], "h0": inputs["reset_state"][:, begin]}
        wanted = latch_scan(**fresh, threshold=inputs["threshold"], alpha=inputs["alpha"], backend=backend)
        assert torch.equal(states[:, begin:end], wanted)
    assert all(grad.isfinite().all() for grad in grads.values())


@pytest.mark.parametrize("backend", RUNS)
@pytest.mark.parametrize("name", ["bmru", "bmru_epsilon", "bmru_surrogate_width", "cmru"])
def test_worked_case(backend, name, vectors):
    v = vectors(name)
    leaves = {k: t.clone().requires_grad_() for k, t in v.items() if k in ("x", "h0") or "param." in k}
    candidate = leaves["x"] @ leaves["param.W_candidate"].T + leaves["param.b_candidate"]
    threshold = leaves["x"] @ leaves["param.W_threshold"].T + leaves["param.b_threshold"]
    options = {"epsilon": v["option.eps"].item()} if "option.eps" in v else {}
    options |= {"width": v["option.a"].item()} if "option.a" in v else {}
    states = latch_scan(candidate, threshold, leaves["param.alpha"], leaves["h0"], backend=backend, **options)
    states.backward(v["grad_y"])
    torch.testing.assert_close(states.detach(), v["y"], rtol=1e-12, atol=1e-12)
    for key, leaf in leaves.items():
        torch.testing.assert_close(leaf.grad, v["grad." + key.removeprefix("param.")], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("reset", [False, True, "each"])
def test_opcheck(backend, reset):
    inputs = case(9, torch.float64, reset=reset)
    order = ("candidate", "threshold", "alpha", "h0")
    epsilon = torch.tensor(0.3, dtype=torch.float64)
    args = (*(inputs[k] for k in order), epsilon, 1.0, inputs.get("reset"), inputs.get("reset_state"), backend)
    torch.library.opcheck(torch.ops.remanent.latch_scan.default, args)


@pytest.mark.parametrize("backend", RUNS)
def test_no_state_and_no_parameter_is_needed(backend):
    candidate = torch.tensor([[[0.2], [3.0], [-0.4], [-1.0], [0.0]]])
    states = latch_scan(candidate, torch.tensor([-1.0]), torch.tensor([0.7]), backend=backend)
    assert states.flatten().tolist() == pytest.approx([0, 0.7, 0.7, -0.7, -0.7])


@pytest.mark.parametrize("backend", RUNS)
def test_zero_candidate_with_zero_threshold_writes_plus(backend):
    states = latch_scan(torch.zeros(1, 2, 1), torch.zeros(1), torch.ones(1), -torch.ones(1, 1), backend=backend)
    assert torch.equal(states, torch.ones(1, 2, 1))


@pytest.mark.parametrize("backend", RUNS)
def test_nan_holds(backend):
    candidate = torch.tensor([[[2.0], [torch.nan], [-2.0]]])
    states = latch_scan(candidate, torch.ones(1), torch.ones(1), backend=backend)
    assert states.flatten().tolist() == [1, 1, -1]


def same_bits(actual, expected):
    """Equal with the signs of zeros; NaN equals NaN."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(actual.signbit() & ~actual.isnan(), expected.signbit() & ~expected.isnan())


@pytest.mark.parametrize("backend", RUNS)
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_what_is_not_written_or_not_kept_is_not_read(backend, epsilon):
    """Held: -0.0, infinities and NaN as they are, beside an `alpha` of any kind; then written over, and held again."""
    inf, nan = torch.inf, torch.nan
    alpha = torch.tensor([inf, 2.0, nan, 0.0], dtype=torch.float64)
    h0 = torch.tensor([-0.0, inf, -inf, nan, 1.0], dtype=torch.float64)[:, None].expand(5, 4)
    candidate = torch.tensor([0.1, -0.0, nan, -3.0, 0.5, 3.0, -0.2], dtype=torch.float64)
    inputs = {"candidate": candidate[:, None].expand(5, 7, 4), "threshold": torch.ones(4, dtype=torch.float64)}
    states, grads = run(inputs | {"alpha": alpha, "h0": h0}, epsilon=epsilon, backend=backend)
    first = -alpha if epsilon == 0 else epsilon * h0 - alpha
    second = alpha if epsilon == 0 else epsilon * first + alpha
    wanted = [h0] * 3 + [first.expand(5, 4)] * 2 + [second.expand(5, 4)] * 2
    same_bits(states, torch.stack(wanted, 1))
    h, share = h0, torch.tensor(epsilon, dtype=torch.float64)
    for t, c in enumerate(inputs["candidate"].unbind(1)):
        h = latch_step(c, inputs["threshold"], alpha, h, epsilon=share if t % 2 else epsilon)
        same_bits(h, states[:, t])
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    passed = weights[:, 3:5].sum(1) + epsilon * weights[:, 5:].sum(1)  # what reaches the first write
    assert_close(grads["h0"], weights[:, :3].sum(1) + epsilon * passed, 1e-12, "h0")
    assert_close(grads["alpha"], (weights[:, 5:].sum(1) - passed).sum(0), 1e-12, "alpha")


@pytest.mark.parametrize("backend", RUNS)
def test_two_halves_equal_the_whole(backend):
    inputs = {k: v.detach() for k, v in case(64, torch.float32).items()}
    h0 = inputs.pop("h0")
    candidate = inputs.pop("candidate")
    whole = latch_scan(candidate, h0=h0, **inputs, backend=backend)
    first = latch_scan(candidate[:, :23], h0=h0, **inputs, backend=backend)
    second = latch_scan(candidate[:, 23:], h0=first[:, -1], **inputs, backend=backend)
    assert torch.equal(torch.cat([first, second], 1), whole)


@pytest.mark.parametrize("backend", RUNS)
def test_no_step_sees_the_future(backend):
    inputs = {k: v.detach() for k, v in case(20, torch.float32, broadcast=False).items()}
    before = latch_scan(**inputs, backend=backend)
    inputs["candidate"][:, 12:] += 10
    assert torch.equal(latch_scan(**inputs, backend=backend)[:, :12], before[:, :12])


@pytest.mark.parametrize("backend", RUNS)
def test_reset_equals_a_fresh_start_and_nothing_crosses_it(backend):
    inputs = {k: v.detach() for k, v in case(20, torch.float64).items()}
    candidate, h0 = inputs.pop("candidate"), inputs.pop("h0").fill_(torch.nan).requires_grad_()
    candidate[:, :8] = 0.0  # holds the NaN up to the reset
    inputs["threshold"] = inputs["threshold"].abs() + 0.1
    candidate.requires_grad_()
    reset = torch.zeros(3, 20, dtype=torch.bool)
    reset[:, 8] = True
    states = latch_scan(candidate, h0=h0, **inputs, reset=reset, backend=backend)
    states[:, 8:].sum().backward()
    fresh = latch_scan(candidate[:, 8:].detach(), **inputs, backend=backend)
    assert torch.equal(states[:, 8:], fresh)
    assert torch.equal(h0.grad, torch.zeros_like(h0))
    assert candidate.grad[:, 8:].isfinite().all()


@pytest.mark.parametrize("backend", RUNS)
def test_a_million_steps_equal_a_thousand_chunks(backend):
    T, B, D = (1_000_000, 2, 3) if backend != "reference" else (4_000, 2, 3)
    generator = torch.Generator().manual_seed(0)
    candidate = torch.randn(B, T, D, generator=generator)
    threshold, alpha = torch.full((D,), 3.0), torch.rand(D, generator=generator)
    whole = latch_scan(candidate, threshold, alpha, backend=backend)
    h = None
    for start in range(0, T, 1000):
        chunk = latch_scan(candidate[:, start : start + 1000], threshold, alpha, h, backend=backend)
        assert torch.equal(chunk, whole[:, start : start + 1000])
        h = chunk[:, -1]


@pytest.mark.parametrize("T", [10_000, rarely(1_000_000)])
def test_many_steps_equal_as_many_single_steps(T):
    generator = torch.Generator().manual_seed(0)
    candidate = torch.randn(1, T, 2, generator=generator)
    threshold, alpha = torch.full((2,), 3.0), torch.rand(2, generator=generator)
    whole = latch_scan(candidate, threshold, alpha)
    h = torch.zeros(1, 2)
    steps = []
    with torch.inference_mode():
        for c in candidate.unbind(1):
            h = latch_step(c, threshold, alpha, h)
            steps.append(h)
    assert torch.equal(torch.stack(steps, 1), whole)


@pytest.mark.parametrize("backend", RUNS)
def test_half_types_sum_gradients_in_float32(backend):
    """At 4,096 equal terms a bfloat16 running sum would stop at 256."""
    alpha = torch.ones(1, dtype=torch.bfloat16, requires_grad=True)
    candidate = torch.full((1, 4096, 1), 2.0, dtype=torch.bfloat16)
    latch_scan(candidate, torch.ones(1, dtype=torch.bfloat16), alpha, backend=backend).sum().backward()
    assert alpha.grad.item() == 4096


GOOD = {"candidate": torch.zeros(2, 4, 3), "threshold": torch.ones(3), "alpha": torch.ones(3)}
BAD = [
    ({"candidate": [1.0]}, TypeError, "`candidate` must be a torch.Tensor, got list"),
    ({"candidate": torch.zeros(2, 4)}, ValueError, r"`candidate` must have shape \(B, T, D\), got \(2, 4\)"),
    (
        {"candidate": torch.zeros(2, 0, 3)},
        ValueError,
        "`candidate` must have at least one time step, got T=0",
    ),
    (
        {"candidate": torch.zeros(2, 4, 3).int()},
        TypeError,
        "`candidate` must have one of the dtypes .* got int32",
    ),
    ({"candidate": torch.zeros(2, 4, 3).cfloat()}, TypeError, "got complex64"),
    (
        {"threshold": torch.ones(4)},
        ValueError,
        r"`threshold` must have shape \(B=2, T=4, D=3\) or \(D=3,\), got",
    ),
    ({"threshold": torch.ones(3).double()}, TypeError, "`threshold` must have dtype float32, got float64"),
    ({"alpha": torch.ones(1)}, ValueError, r"`alpha` must have shape .* got \(1,\)"),
    ({"alpha": torch.ones(3, device="meta")}, ValueError, "`alpha` must be on device cpu, got meta"),
    ({"h0": torch.zeros(2, 4)}, ValueError, r"`h0` must have shape \(B=2, D=3\), got \(2, 4\)"),
    (
        {"reset": torch.zeros(2, 3, dtype=torch.bool)},
        ValueError,
        r"`reset` must have shape \(B=2, T=4\), got \(2, 3\)",
    ),
    (
        {"reset": torch.full((2, 4), torch.nan)},
        TypeError,
        "`reset` must have dtype bool, got float32 with NaN",
    ),
    ({"reset_state": torch.zeros(3)}, ValueError, "`reset_state` must come with `reset`"),
    (
        {"reset": torch.ones(2, 4, dtype=torch.bool), "reset_state": torch.zeros(2, 3)},
        ValueError,
        r"`reset_state` must have shape \(D=3,\) or \(B=2, T=4, D=3\), got \(2, 3\)",
    ),
    ({"epsilon": 1.5}, ValueError, r"`epsilon` must be in \[0, 1\], got 1.5"),
    ({"epsilon": float("nan")}, ValueError, r"`epsilon` must be in \[0, 1\], got nan"),
    ({"epsilon": "1"}, TypeError, "`epsilon` must be a number, got str"),
    ({"width": 0.0}, ValueError, r"`width` must be in \(0, inf\), got 0.0"),
    ({"width": float("inf")}, ValueError, r"`width` must be in \(0, inf\), got inf"),
    ({"backend": "fast"}, ValueError, "`backend` must be one of auto, reference, portable, cpu, gpu, got 'fast'"),
    ({"backend": ["cpu"]}, TypeError, r"`backend` must be a str, got \['cpu'\]"),
    ({"backend": None}, TypeError, "`backend` must be a str, got None"),
    (
        {"candidate": torch.zeros(2, 4, 3).to_sparse()},
        TypeError,
        r"`candidate` must be a dense tensor",
    ),
    ({"alpha": torch.ones(3).to_sparse()}, TypeError, r"`alpha` must be a dense tensor, got .*sparse_coo"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_input_is_refused_by_name(change, error, message):
    with pytest.raises(error, match=message):
        latch_scan(**(GOOD | change))


def test_cpu_backend_refuses_another_device():
    with pytest.raises(ValueError, match="`backend` 'cpu' must be given tensors on the CPU, got device meta"):
        latch_scan(**{k: v.to("meta") for k, v in GOOD.items()}, backend="cpu")
