"""The Triton kernels of heads against the reference: interpreted on a CPU, and compiled where there is a GPU."""

import pytest
import torch

from cases import rarely
from helpers import assert_close, interpreted_modules
from remanent.ops import transition_scan
from remanent.ops.arguments import HeadSizes, InitialStates, TransitionGradients
from remanent.ops.gpu import launch, transition
from remanent.ops.heads.one_hot import start_state

pytest.importorskip("triton", reason="the GPU kernels need Triton")

NAME = "remanent.ops.gpu.transition_kernels"
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12, torch.bfloat16: 2e-2, torch.float16: 2e-3}
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="a compiled kernel needs a GPU")


@pytest.fixture(scope="module")
def interpreted():
    (module,) = interpreted_modules([NAME])
    return module


@pytest.fixture
def kernels(interpreted, monkeypatch):
    monkeypatch.setattr(transition, "kernels", lambda: interpreted)


def case(T, dtype, sizes, *, reset=False, B=2, H=3, device="cpu"):
    draw = torch.Generator().manual_seed(T)
    K, R = sizes

    def one_hot(*shape):
        return torch.nn.functional.one_hot(torch.randint(K, shape, generator=draw), K).flatten(-2).to(dtype)

    inputs = {"logits": (3 * torch.randn(B, T, H * K * K, generator=draw)).to(dtype), "h0": one_hot(B, H * R)}
    if reset:
        inputs["reset"] = torch.rand(B, T, generator=draw) < 0.15
        inputs["reset_state"] = one_hot(*((B, T, H * R) if reset == "each" else (H * R,)))
    return {k: v.to(device) for k, v in inputs.items()}


def check(inputs, sizes, epsilon):
    logits, initial = inputs["logits"], InitialStates(inputs["h0"], inputs.get("reset"), inputs.get("reset_state"))
    dtype, D = logits.dtype, inputs["h0"].shape[1]
    states = torch.full((*logits.shape[:2], D), torch.nan, dtype=dtype, device=logits.device)
    transition.transition_forward(logits, initial, sizes, epsilon, states)
    shapes = (logits.shape, inputs["h0"].shape, (D,) if initial.reset_state is None else initial.reset_state.shape)
    grads = TransitionGradients(*(torch.full(s, torch.nan, dtype=dtype, device=logits.device) for s in shapes))
    grad = torch.randn(states.shape, generator=torch.Generator().manual_seed(1)).to(states)
    leaves = {k: v.cpu().requires_grad_(v.dtype != torch.bool) for k, v in inputs.items()}
    options = {"num_states": sizes.states, "num_tracers": sizes.tracers, "epsilon": epsilon, "backend": "reference"}
    expected = transition_scan(**leaves, **options)
    transition.transition_backward(grad, expected.detach().to(states), logits, initial, sizes, epsilon, grads)
    expected.backward(grad.cpu())
    if epsilon == 0:
        assert torch.equal(states.cpu(), expected)
    else:
        assert_close(states.cpu(), expected.detach(), TOLERANCE[dtype], "states")
    for name, found in grads._asdict().items():
        if name in leaves:
            assert_close(found.cpu(), leaves[name].grad, TOLERANCE[dtype], name)
        else:
            assert not found.any()


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("T", "sizes", "epsilon", "reset", "pieces"),
    [
        (1, (3, 3), 0.0, False, False),
        (5, (3, 2), 0.3, True, False),
        (5, (2, 1), 0.0, "each", True),
        (5, (2, 2), 0.3, True, True),
        rarely(11, (5, 5), 0.0, True, True),
        rarely(11, (3, 2), 1.0, False, True),
        rarely(11, (4, 4), 1.0, "each", True),
        rarely(65, (4, 4), 0.0, "each", True),
    ],
)
def test_the_kernels_equal_the_reference(T, sizes, epsilon, reset, pieces, monkeypatch):
    monkeypatch.setattr(launch, "FILL", 512 if pieces else 1)
    monkeypatch.setattr(transition, "SHORTEST", 2 if T < 10 else 4)
    check(
        case(T, torch.float64, sizes, reset=reset, B=2 if reset else 1, H=1 if pieces else 3),
        HeadSizes(*sizes),
        epsilon,
    )


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, rarely(torch.float16)])
def test_the_kernels_have_any_dtype(dtype):
    check(case(2, dtype, (2, 2), reset=True, B=1, H=1), HeadSizes(2, 2), 0.0)


@pytest.mark.usefixtures("kernels")
def test_more_heads_than_a_program_has_ties_and_nan(monkeypatch):
    monkeypatch.setattr(transition, "ELEMENTS", 1)
    nan, inf = torch.nan, torch.inf
    logits = torch.tensor([[nan, 1.0, 2.0], [nan, nan, -inf], [0.0, nan, 0.0]]).flatten().repeat(2).view(1, 1, 18)
    start, states = start_state(logits, 2, HeadSizes(3, 3))[None], torch.full((1, 1, 18), nan)
    transition.transition_forward(logits, InitialStates(start, None, None), HeadSizes(3, 3), 0.0, states)
    assert states.view(6, 3).argmax(1).tolist() == [2, 2, 0] * 2


def test_large_heads_are_refused_by_name(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ValueError, match="`num_states` must be at most 16 for the backend 'gpu', got 17"):
        transition_scan(torch.zeros(1, 2, 289), num_states=17, backend="gpu")


@GPU
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("sizes", [(2, 1), (5, 5), (4, 3), (16, 16)], ids=str)
def test_compiled_kernels_equal_the_reference(dtype, sizes):
    for T, reset, epsilon in ((1, False, 0.0), (65, True, 0.3), (500, "each", 0.0), (500, False, 1.0)):
        check(case(T, dtype, sizes, reset=reset, H=7, device="cuda"), HeadSizes(*sizes), epsilon)
