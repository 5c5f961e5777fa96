"""The Triton kernels against the reference: interpreted on a CPU, and compiled where there is a GPU."""

import pytest
import torch

from cases import case_id, rarely
from helpers import assert_close, interpreted_modules
from remanent.ops import latch_scan, linear_scan
from remanent.ops.arguments import SPAN, Gates, InitialStates, LatchGradients, LinearGradients
from remanent.ops.gpu import launch, scans

pytest.importorskip("triton", reason="the GPU kernels need Triton")

NAMES = [
    f"remanent.ops.gpu.{name}" for name in ("kernels", "latch_kernels", "latch_backward_kernels", "linear_kernels")
]
LENGTHS = [(1, 512, True), (2, 1, False), (63, 1, True), (64, 512, False), (65, 1, True), (65, 512, False)]
LENGTHS += [rarely(200, 1, True), (200, 512, True), rarely(200, 512, False)]
REAL = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 2e-2, torch.float16: 2e-3}
TOLERANCE = REAL | {torch.complex64: 1e-5, torch.complex128: 1e-12}
PIECES = pytest.mark.parametrize("fill", [1, 512], ids=["whole", "pieces"])
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="a compiled kernel needs a GPU")


@pytest.fixture(scope="module")
def interpreted():
    return scans.Kernels(*interpreted_modules(NAMES)[1:])


@pytest.fixture
def kernels(interpreted, monkeypatch):
    monkeypatch.setattr(scans, "kernels", lambda: interpreted)


def draws(seed, dtype, layout="plain"):
    """A function that draws tensors; those of rank 3 are plain, halves of a joint tensor, or time-first."""
    generator = torch.Generator().manual_seed(seed)
    wide = torch.complex128 if dtype.is_complex else torch.float64

    def draw(*shape):
        values = torch.randn(shape, generator=generator, dtype=wide).to(dtype)
        if len(shape) == 3 and layout == "joint":
            return torch.cat([values, torch.full_like(values, torch.nan)], dim=2)[..., : shape[2]]
        if len(shape) == 3 and layout == "time-first":
            return values.transpose(0, 1).contiguous().transpose(0, 1)
        if len(shape) == 3 and layout == "channels-first":
            return values.mT.contiguous().mT
        return values

    return draw, generator


def nan_like(*shape, dtype, layout="plain", device="cpu"):
    if layout == "joint" and len(shape) == 3:
        return torch.full((*shape[:2], 2 * shape[2]), torch.nan, dtype=dtype, device=device)[..., shape[2] :]
    if layout == "channels-first" and len(shape) == 3:
        return torch.full((shape[0], shape[2], shape[1]), torch.nan, dtype=dtype, device=device).mT
    return torch.full(shape, torch.nan, dtype=dtype, device=device)


def latch_case(T, dtype, *, reset=False, broadcast=True, layout="plain", B=2, D=5):
    draw, generator = draws(T, dtype, layout)
    gate = (D,) if broadcast else (B, T, D)
    inputs = {"candidate": draw(B, T, D), "threshold": draw(*gate), "alpha": draw(*gate), "h0": draw(B, D)}
    inputs["threshold"][..., -2:] *= 3
    inputs["threshold"][..., -1] += 100  # a channel that never writes
    if reset:
        inputs["reset"] = torch.rand(B, T, generator=generator) < (0.1 if reset == "each" else 0.02)
        inputs["reset_state"] = draw(*((B, T, D) if reset == "each" else (D,)))
    return inputs


def linear_case(T, dtype, *, reset=False, broadcast=True, layout="plain", B=2, D=5):
    draw, generator = draws(T, dtype, layout)
    decay = draw(*((D,) if broadcast else (B, T, D)))
    decay /= decay.abs() + 0.1
    inputs = {"decay": decay, "value": draw(B, T, D), "h0": draw(B, D)}
    if reset:
        inputs["reset"] = torch.rand(B, T, generator=generator) < (0.1 if reset == "each" else 0.02)
        inputs["reset_state"] = draw(*((B, T, D) if reset == "each" else (D,)))
    return inputs


def weights(inputs):
    like = next(iter(inputs.values() if "value" not in inputs else [inputs["value"]]))
    draw, _ = draws(1, like.dtype)
    return draw(*like.shape)


def expected(scan, inputs, grad, **options):
    """States and the gradient of every input, by the reference and autograd."""
    leaves = {k: v if v.dtype == torch.bool else v.detach().clone().requires_grad_() for k, v in inputs.items()}
    states = scan(**leaves, **options, backend="reference")
    states.backward(grad)
    return states.detach(), {k: v.grad for k, v in leaves.items() if v.dtype != torch.bool}


def initial_of(inputs):
    return InitialStates(*(inputs.get(name) for name in InitialStates._fields))


def run_latch(inputs, grad, *, epsilon=0.0, width=1.0, layout="plain", device="cpu"):
    grad = grad.to(device)
    inputs = {k: v.to(device) if device != "cpu" else v for k, v in inputs.items()}
    gates = Gates(inputs["candidate"], inputs["threshold"], inputs["alpha"])
    initial = initial_of(inputs)
    B, T, D = gates.candidate.shape
    options = {"dtype": gates.candidate.dtype, "layout": layout, "device": device}
    states = nan_like(B, T, D, **options)
    scans.latch_forward(gates, initial, epsilon, states)
    of_gates = Gates(*(nan_like(*gate.shape, **options) for gate in gates))
    start = (D,) if initial.reset_state is None else initial.reset_state.shape
    grads = LatchGradients(of_gates, nan_like(B, D, **options), nan_like(*start, **options))
    first = torch.zeros_like(states[:, 0]) if initial.h0 is None else initial.h0
    starts = torch.cat([first[:, None], states[:, SPAN - 1 : -1 : SPAN]], dim=1)
    scans.latch_backward(grad, starts, gates, initial, epsilon, width, grads)
    return states, of_gates._asdict() | {"h0": grads.h0, "reset_state": grads.reset_state}


def run_linear(inputs, grad, *, layout="plain", device="cpu"):
    grad = grad.to(device)
    inputs = {k: v.to(device) if device != "cpu" else v for k, v in inputs.items()}
    decay, value, initial = inputs["decay"], inputs["value"], initial_of(inputs)
    B, T, D = value.shape
    options = {"dtype": value.dtype, "layout": layout, "device": device}
    states = nan_like(B, T, D, **options)
    scans.linear_forward(decay, value, initial, states)
    shapes = (decay.shape, value.shape, (B, D), (D,) if initial.reset_state is None else initial.reset_state.shape)
    grads = LinearGradients(*(nan_like(*shape, **options) for shape in shapes))
    scans.linear_backward(grad, states, decay, initial, grads)
    return states, grads._asdict()


def check_latch(inputs, *, epsilon=0.0, layout="plain", device="cpu"):
    dtype = inputs["candidate"].dtype
    grad = weights(inputs)
    states, grads = run_latch(inputs, grad, epsilon=epsilon, width=1.5, layout=layout, device=device)
    wanted, wanted_grads = expected(latch_scan, inputs, grad, epsilon=epsilon, width=1.5)
    if device == "cpu" and dtype == torch.bfloat16 and epsilon:
        assert_close(states, wanted, 2**-7, "states")  # the interpreter cuts bits off where a GPU rounds
    else:
        assert torch.equal(states.cpu(), wanted)
    for name, wanted in wanted_grads.items():
        assert_close(grads[name].cpu(), wanted, REAL[dtype], name)
    if "reset" not in inputs:
        assert not grads["reset_state"].any()


def check_linear(inputs, *, layout="plain", device="cpu"):
    dtype = inputs["value"].dtype
    grad = weights(inputs)
    states, grads = run_linear(inputs, grad, layout=layout, device=device)
    wanted, wanted_grads = expected(linear_scan, inputs, grad)
    assert_close(states.cpu(), wanted, TOLERANCE[dtype], "states")
    for name, wanted in wanted_grads.items():
        assert_close(grads[name].cpu(), wanted, TOLERANCE[dtype], name)
    if "reset" not in inputs:
        assert not grads["reset_state"].any()


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("T", "fill", "reset"), LENGTHS)
def test_latch_equals_reference_at_any_length(T, fill, reset, monkeypatch):
    monkeypatch.setattr(launch, "FILL", fill)
    check_latch(latch_case(T, torch.float32, reset=reset, broadcast=reset))


def in_turn(values, others):
    """Each value with one of two others, in turn; their whole product in `make test-all`."""
    return [
        (value, other) if (i + j) % 2 else rarely(value, other)
        for i, value in enumerate(values)
        for j, other in enumerate(others)
    ]


@pytest.mark.usefixtures("kernels")
@PIECES
@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_a_latch_with_a_state_for_each_reset_equals_the_reference(epsilon, fill, monkeypatch):
    monkeypatch.setattr(launch, "FILL", fill)
    layout = "joint" if fill > 1 else "time-first"
    check_latch(latch_case(70, torch.float32, reset="each", layout=layout, B=1), epsilon=epsilon, layout=layout)


@pytest.mark.usefixtures("kernels")
@PIECES
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128], ids=str)
def test_a_linear_scan_with_a_state_for_each_reset_equals_the_reference(dtype, fill, monkeypatch):
    monkeypatch.setattr(launch, "FILL", fill)
    layout = "joint" if fill > 1 else "time-first"
    check_linear(linear_case(70, dtype, reset="each", layout=layout, B=1), layout=layout)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("dtype", "broadcast"), in_turn(REAL, [False, True]), ids=case_id)
def test_latch_equals_reference_in_any_dtype(dtype, broadcast):
    check_latch(latch_case(70, dtype, reset=not broadcast, broadcast=broadcast, B=1))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("dtype", "epsilon"), in_turn(REAL, [0.3, 1.0]), ids=case_id)
def test_latch_with_epsilon_equals_reference(dtype, epsilon):
    check_latch(latch_case(70, dtype, reset=epsilon < 1, broadcast=epsilon < 1, B=1), epsilon=epsilon)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("layout", ["joint", "time-first", "channels-first"])
def test_latch_reads_and_writes_strided_tensors(layout):
    check_latch(latch_case(70, torch.float32, reset=True, broadcast=False, layout=layout), layout=layout)


@pytest.mark.usefixtures("kernels")
def test_latch_wider_than_a_block():
    check_latch(latch_case(70, torch.float32, reset=True, B=1, D=70))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_latch_without_state_and_one_channel(epsilon):
    inputs = {k: v for k, v in latch_case(70, torch.float32, B=1, D=1).items() if k != "h0"}
    inputs["threshold"].fill_(1.0)
    check_latch(inputs, epsilon=epsilon)


@pytest.mark.usefixtures("kernels")
@PIECES
def test_no_nan_of_the_latch_crosses_a_reset(fill, monkeypatch):
    monkeypatch.setattr(launch, "FILL", fill)
    inputs = latch_case(140, torch.float64, broadcast=fill > 1, B=1)
    candidate = inputs["candidate"]
    inputs["h0"].fill_(torch.nan)
    candidate[:, :100] = 0.0  # holds the NaN up to the reset
    inputs["threshold"][:] = inputs["threshold"].abs() + 0.1
    inputs["reset"] = torch.zeros(1, 140, dtype=torch.bool)
    inputs["reset"][:, 100] = True
    grad = weights(inputs)
    grad[:, :100] = 0.0
    states, grads = run_latch(inputs, grad)
    fresh = {k: v[:, 100:] if v.dim() == 3 else v for k, v in inputs.items() if k not in ("h0", "reset")}
    wanted, wanted_grads = expected(latch_scan, fresh, grad[:, 100:])
    assert states[:, :100].isnan().all()
    assert torch.equal(states[:, 100:], wanted)
    assert_close(grads["candidate"][:, 100:], wanted_grads["candidate"], 1e-12, "candidate")
    assert not grads["h0"].any()
    grad[:, 100:] = torch.nan  # and back: what comes after the reset gives nothing to what is before
    inputs["h0"].zero_()
    _, grads = run_latch(inputs, grad)
    assert not grads["candidate"][:, :100].any()
    assert not grads["h0"].any()


@pytest.mark.usefixtures("kernels")
@PIECES
def test_a_write_keeps_nothing_and_a_nan_holds(fill, monkeypatch):
    monkeypatch.setattr(launch, "FILL", fill)
    candidate = torch.zeros(1, 200, 1)
    candidate[:, 70], candidate[:, 71], candidate[:, 100], candidate[:, 180] = -2.0, torch.nan, torch.inf, -0.0
    threshold, states = torch.ones(1, 200, 1), torch.full((1, 200, 1), 5.0)
    threshold[:, 180] = 0.0
    h0 = torch.full((1, 1), torch.inf)
    gates, initial = Gates(candidate, threshold, torch.tensor([0.7])), InitialStates(h0, None, None)
    scans.latch_forward(gates, initial, 0.0, states)
    wanted = torch.tensor([torch.inf] * 70 + [-0.7] * 30 + [0.7] * 100).view(1, 200, 1)
    assert torch.equal(states, wanted)
    candidate = torch.where((candidate == 0) | candidate.isnan(), 0.5, candidate)
    inputs = {"candidate": candidate, "threshold": threshold, "alpha": gates.alpha, "h0": h0}
    _, grads = run_latch(inputs, torch.ones_like(candidate))
    _, expected_grads = expected(latch_scan, inputs, torch.ones_like(candidate))
    for name, grad in expected_grads.items():
        torch.testing.assert_close(grads[name], grad)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("T", "fill", "reset"), LENGTHS)
def test_linear_equals_reference_at_any_length(T, fill, reset, monkeypatch):
    monkeypatch.setattr(launch, "FILL", fill)
    check_linear(linear_case(T, torch.float32, reset=reset, broadcast=reset))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("dtype", "broadcast"), in_turn(TOLERANCE, [False, True]), ids=case_id)
def test_linear_equals_reference_in_any_dtype(dtype, broadcast):
    check_linear(linear_case(70, dtype, reset=not broadcast, broadcast=broadcast, B=1))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("dtype", "layout"),
    [
        (torch.complex128, "joint"),
        (torch.float32, "time-first"),
        (torch.complex128, "channels-first"),
        rarely(torch.float32, "joint"),
        rarely(torch.complex128, "time-first"),
        rarely(torch.float32, "channels-first"),
    ],
    ids=str,
)
def test_linear_reads_and_writes_strided_tensors(dtype, layout):
    check_linear(linear_case(70, dtype, reset=True, broadcast=False, layout=layout), layout=layout)


@pytest.mark.usefixtures("kernels")
def test_linear_wider_than_a_block():
    check_linear(linear_case(70, torch.complex64, reset=True, B=1, D=35))


@pytest.mark.usefixtures("kernels")
def test_linear_without_state_and_one_channel():
    inputs = {k: v for k, v in linear_case(70, torch.float32, B=1, D=1).items() if k != "h0"}
    check_linear(inputs)


@pytest.mark.usefixtures("kernels")
@PIECES
def test_no_nan_of_the_linear_scan_crosses_a_reset(fill, monkeypatch):
    monkeypatch.setattr(launch, "FILL", fill)
    inputs = linear_case(140, torch.complex128, broadcast=False, B=1)
    inputs["h0"].fill_(torch.nan)
    inputs["reset"] = torch.zeros(1, 140, dtype=torch.bool)
    inputs["reset"][:, 100] = True
    grad = weights(inputs)
    grad[:, :100] = 0.0
    states, grads = run_linear(inputs, grad)
    fresh = {k: v[:, 100:] for k, v in inputs.items() if v.dim() == 3}
    wanted, wanted_grads = expected(linear_scan, fresh, grad[:, 100:])
    assert states[:, :100].isnan().all()
    assert_close(states[:, 100:], wanted, 1e-12, "states")
    assert_close(grads["decay"][:, 100:], wanted_grads["decay"], 1e-12, "decay")
    assert not grads["h0"].any()
    grad[:, 100:] = torch.nan
    _, grads = run_linear(inputs, grad)
    assert not grads["value"][:, :100].any()
    assert not grads["h0"].any()


@pytest.mark.usefixtures("kernels")
def test_an_expanded_gradient_and_an_empty_batch():
    inputs = latch_case(5, torch.float32)
    grad = torch.ones(()).expand(2, 5, 5)
    _, grads = run_latch(inputs, grad)
    _, wanted = expected(latch_scan, inputs, grad)
    assert_close(grads["alpha"], wanted["alpha"], 1e-5, "alpha")
    _, grads = run_latch({k: v[:0] if v.dim() > 1 else v for k, v in inputs.items()}, grad[:0])
    assert not grads["alpha"].any()
    inputs = linear_case(5, torch.float32)
    _, grads = run_linear({k: v[:0] if v.dim() > 1 else v for k, v in inputs.items()}, grad[:0])
    assert not grads["decay"].any()


@GPU
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("T", [1, 65, 1000])
@pytest.mark.parametrize("size", [(3, 5), (2, 130), (16, 256)], ids=str)
def test_compiled_kernels_equal_the_reference(dtype, T, size):
    B, D = size
    for reset, broadcast, layout in ((False, True, "plain"), (True, False, "joint"), (True, True, "time-first")):
        options = {"reset": reset, "broadcast": broadcast, "layout": layout, "B": B, "D": D}
        check_linear(linear_case(T, dtype, **options), device="cuda")
        for epsilon in (0.0, 0.3, 1.0) if dtype in REAL else ():
            check_latch(latch_case(T, dtype, **options), epsilon=epsilon, device="cuda")
