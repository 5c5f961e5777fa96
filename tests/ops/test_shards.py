"""Scans shared out in time over 2 and 4 processes: the bits of one process, gradients too, whatever the cuts."""

import pytest
import torch

import shard_calls
from helpers import assert_close
from remanent.ops import latch_scan, linear_scan

CUTS = {
    2: [(0, 5, 9), (0, 0, 9), (0, 9, 9)],
    4: [(0, 2, 4, 7, 9), (0, 0, 4, 4, 9), (0, 9, 9, 9, 9)],
}
"""Of nine steps: uneven shards, and empty ones."""
B, T, D = 3, 9, 5


def draw(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


def resets(T=T):
    """Some at random; one sequence has them on every seam."""
    reset = torch.rand(B, T, generator=torch.Generator().manual_seed(3)) < 0.2
    reset[1, [0, 1, 2, 4, 5, 7]] = True
    reset[2] = False
    return reset


def latch_inputs(*, broadcast, reset, dtype=torch.float64, T=T):
    gate = (D,) if broadcast else (B, T, D)
    inputs = {"candidate": draw(B, T, D), "threshold": draw(*gate) * 1.3, "alpha": draw(*gate), "h0": draw(B, D)}
    if reset:
        inputs |= {"reset": resets(T), "reset_state": draw(D)}
    return {k: v if v.dtype == torch.bool else v.to(dtype) for k, v in inputs.items()}


def check(processes, scan, inputs, options, tolerance, *, exact, cuts=None):
    """Whatever the cuts, states and gradients are those of one process."""
    sequence = inputs.get("candidate", inputs.get("gates", inputs.get("value")))
    states = shard_calls.SCANS[scan](**inputs, **options)
    weights = draw(*states.shape).to(states.dtype)
    expected, expected_grads = shard_calls.scan_and_differentiate(scan, inputs, options, weights)
    for cut in cuts or CUTS[len(processes.pipes)]:
        parts = processes.run(shard_calls.run_share, scan, inputs, options, weights, cut)
        states = torch.cat([found for found, _ in parts], dim=1)
        assert states.shape[1] == sequence.shape[1]
        if exact:
            assert torch.equal(states, expected)
        else:
            assert_close(states, expected, tolerance, "states")
        for name, grad in expected_grads.items():
            shares = [grads[name] for _, grads in parts]
            found = torch.cat(shares, dim=1) if shard_calls.in_time(name, inputs[name]) else sum(shares)
            assert_close(found, grad, tolerance, f"{name} {cut}")


@pytest.mark.parametrize("backend", ["reference", "portable", "cpu"])
@pytest.mark.parametrize("reset", [False, True], ids=["plain", "reset"])
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_a_latch_has_the_states_and_gradients_of_one_process(crew, backend, reset, epsilon):
    for broadcast in (True, False):
        inputs = latch_inputs(broadcast=broadcast, reset=reset)
        options = {"epsilon": epsilon, "width": 1.5, "backend": backend}
        check(crew, "latch", inputs, options, 1e-12, exact=epsilon == 0)
        del inputs["h0"]
        check(crew, "latch", inputs, options, 1e-12, exact=epsilon == 0, cuts=CUTS[len(crew.pipes)][:1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_latch_is_exact_in_every_dtype(crew, dtype):
    tolerance = {torch.float32: 1e-6, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
    inputs = latch_inputs(broadcast=False, reset=True, dtype=dtype)
    check(crew, "latch", inputs, {}, tolerance, exact=True)


def test_a_state_that_is_not_finite_ends_where_it_is_written_over(crew):
    """Held by the first shard, written over in the second; a negative zero is held to the end."""
    inputs = latch_inputs(broadcast=True, reset=False)
    inputs["candidate"][:, :4], inputs["threshold"] = 0.1, torch.full((D,), 0.5, dtype=torch.float64)
    inputs["candidate"][:, 4], inputs["h0"] = 2.0, torch.full((B, D), torch.inf, dtype=torch.float64)
    inputs["candidate"][..., 0], inputs["h0"][:, 0] = 0.1, -0.0
    cuts = {2: (0, 3, 9), 4: (0, 3, 6, 8, 9)}[len(crew.pipes)]
    parts = crew.run(shard_calls.run_share, "latch", inputs, {}, draw(B, T, D), cuts)
    states = torch.cat([states for states, _ in parts], 1)
    assert torch.equal(states, latch_scan(**inputs))
    assert states[..., 0].signbit().all()


def test_a_state_for_each_reset(crew):
    each = {"reset": resets(), "reset_state": draw(B, T, D)}
    for epsilon in (0.0, 0.3):
        inputs = latch_inputs(broadcast=True, reset=False) | each
        check(crew, "latch", inputs, {"epsilon": epsilon}, 1e-12, exact=epsilon == 0)
    check(crew, "linear", {"decay": draw(D), "value": draw(B, T, D), "h0": draw(B, D)} | each, {}, 1e-12, exact=False)


def test_gates_side_by_side(crew):
    for width in (2, 3):
        inputs = {"gates": draw(B, T, width * D), "h0": draw(B, D), "reset": resets(), "reset_state": draw(D)}
        if width == 2:
            inputs["alpha"] = draw(D)
        check(crew, "joint", inputs, {}, 1e-12, exact=True)


@pytest.mark.parametrize("backend", ["reference", "portable", "cpu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128], ids=str)
@pytest.mark.parametrize("reset", [False, True], ids=["plain", "reset"])
def test_a_linear_scan_has_them_too(crew, backend, dtype, reset):
    for decay in ((D,), (B, T, D)):
        inputs = {"decay": draw(*decay).to(dtype), "value": draw(B, T, D).to(dtype), "h0": draw(B, D).to(dtype)}
        if dtype.is_complex:
            inputs = {k: torch.polar(v.abs().clamp(max=1.2), 3 * v.real).to(dtype) for k, v in inputs.items()}
        if reset:
            inputs |= {"reset": resets(), "reset_state": draw(D).to(dtype)}
        tolerance = 1e-5 if dtype in (torch.float32, torch.complex64) else 1e-12
        check(crew, "linear", inputs, {"backend": backend}, tolerance, exact=False)


def test_a_linear_scan_that_sets_or_holds_is_exact(crew):
    decay = (draw(B, T, D) > 0).double()
    check(
        crew, "linear", {"decay": decay, "value": (1 - decay) * draw(B, T, D), "h0": draw(B, D)}, {}, 1e-12, exact=True
    )


def test_long_shards(crew):
    """Longer than the pieces in which what is kept is worked out."""
    T, size = 10_000, len(crew.pipes)
    cuts = tuple(round(T * (i / size) ** 2) for i in range(size + 1))
    inputs = {"candidate": draw(B, T, D), "threshold": torch.full((D,), 3.2, dtype=torch.float64), "alpha": draw(D)}
    check(crew, "latch", inputs, {}, 1e-10, exact=True, cuts=[cuts])
    check(crew, "latch", inputs, {"epsilon": 1.0}, 1e-10, exact=False, cuts=[cuts])
    linear = {"decay": 1 - 1e-4 * torch.rand(B, T, D, dtype=torch.float64), "value": draw(B, T, D)}
    check(crew, "linear", linear, {}, 1e-10, exact=False, cuts=[cuts])


def test_a_mesh_of_one_dimension_is_a_group(crew):
    inputs = latch_inputs(broadcast=False, reset=True)
    assert all(crew.run(shard_calls.run_in_mesh, inputs, CUTS[len(crew.pipes)][0]))


def test_what_is_sent_does_not_depend_on_time(crew):
    """Two numbers forward and one backward for each (B, D), and eight that must agree."""
    size = len(crew.pipes)
    for T in (9, 9000):
        inputs = {
            k: draw(*v, dtype=torch.float32)
            for k, v in {"candidate": (B, T, D), "threshold": (D,), "alpha": (D,)}.items()
        }
        cuts = tuple(T * i // size for i in range(size + 1))
        for forward, backward in crew.run(shard_calls.bytes_sent, "latch", inputs, {}, cuts):
            assert sorted(forward) == sorted([64, 2 * B * D * 4])
            assert backward == [B * D * 4]


def test_the_kernels_of_a_latch_run_once(crew):
    """With `epsilon` 0; otherwise a first time from zero, but for the first shard forward and the last one backward."""
    size = len(crew.pipes)
    inputs = latch_inputs(broadcast=False, reset=False)
    cuts = CUTS[size][0]
    assert crew.run(shard_calls.runs_of_the_kernels, inputs, {"backend": "cpu"}, cuts) == [[1, 1]] * size
    twice = crew.run(shard_calls.runs_of_the_kernels, inputs, {"backend": "cpu", "epsilon": 0.5}, cuts)
    assert twice == [[1 + (rank > 0), 1 + (rank < size - 1)] for rank in range(size)]


def test_channels_that_hold_through_shards(crew):
    """Channels that are written never, once, at the cuts alone, and always: what passes through a shard is exact."""
    candidate, threshold = torch.zeros(B, T, 5, dtype=torch.float64), torch.ones(B, T, 5, dtype=torch.float64)
    candidate[:, 1, 1] = -2.0
    for cut in {c for cuts in CUTS[len(crew.pipes)] for c in cuts if c < T}:
        candidate[:, cut, 2], candidate[:, cut - 1, 3] = 2.0, -2.0
    candidate[:, :, 4] = 3 * draw(B, T).sign()
    h0 = torch.tensor([-0.0, 1.0, 3.0, -2.0, 0.5], dtype=torch.float64).expand(B, 5)
    inputs = {"candidate": candidate, "threshold": threshold, "alpha": draw(B, T, 5), "h0": h0}
    check(crew, "latch", inputs, {"backend": "cpu"}, 1e-12, exact=True)


def test_what_does_not_fit_together_raises_on_every_process(crew):
    size = len(crew.pipes)
    good = latch_inputs(broadcast=True, reset=False)
    wide = {"candidate": draw(B, T, D + 1), "threshold": draw(D + 1), "alpha": draw(D + 1)}
    single = {k: v.float() for k, v in good.items()}
    for other, options, message in (
        (wide, {}, "the same D, got 5 on rank 0 and 6 on rank 1"),
        ({k: v[:2] if v.dim() > 1 else v for k, v in good.items()}, {}, "the same B, got 3 on rank 0 and 2 on rank 1"),
        (single, {}, "the same dtype, got float64 on rank 0 and float32 on rank 1"),
        (good, {"epsilon": 1.0}, "the same epsilon, got 0 on rank 0 and 1 on rank 1"),
        (good, {"width": 2.0}, "the same width, got 1 on rank 0 and 2 on rank 1"),
    ):
        inputs = [good, other, *[good] * (size - 2)]
        found = crew.run(shard_calls.run_with, "latch", inputs, [{}, options, *[{}] * (size - 2)])
        assert found == [("ValueError", f"every process of `group` must be given {message}")] * size


def test_what_one_process_refuses_raises_on_every_process(crew):
    size = len(crew.pipes)
    good = latch_inputs(broadcast=True, reset=False)
    for bad, options, message in (
        (good | {"alpha": draw(D + 1)}, {}, "`alpha` must have shape"),
        (good | {"h0": draw(B, D).float()}, {}, "`h0` must have dtype float64, got float32"),
        (good | {"candidate": None}, {}, "`candidate` must be a torch.Tensor, got NoneType"),
        (good, {"epsilon": 1.5}, "`epsilon` must be in [0, 1], got 1.5"),
        (good, {"epsilon": torch.tensor(-1.0, dtype=torch.float64)}, "`epsilon` must be in [0, 1], got -1.0"),
        (good, {"backend": "tpu"}, "`backend` must be one of"),
    ):
        inputs = [*[good] * (size - 1), bad]
        *others, last = crew.run(shard_calls.run_with, "latch", inputs, [*[{}] * (size - 1), options])
        rule = f"every process of `group` must be given valid arguments, got an error on rank {size - 1}"
        assert others == [("ValueError", rule)] * (size - 1)
        assert last[1].startswith(message)


def test_a_group_must_be_one_that_the_process_is_in(crew):
    *others, last = crew.run(shard_calls.run_in_a_part)
    assert others[0] == [1.0, 1.0]
    assert last == ("ValueError", "`group` must be one that this process is in, got one that it is not in")


@pytest.mark.parametrize("group", ["time", 3])
def test_a_group_must_be_a_group(group):
    with pytest.raises(TypeError, match=r"`group` must be a torch.distributed.ProcessGroup or DeviceMesh, got"):
        latch_scan(torch.ones(1, 2, 1), torch.ones(1), torch.ones(1), group=group)
    with pytest.raises(TypeError, match=r"`group` must be a torch.distributed.ProcessGroup or DeviceMesh, got"):
        linear_scan(torch.ones(1), torch.ones(1, 2, 1), group=group)
