"""The scans under `torch.func`: an ensemble, its gradients, masks that differ, epsilon as a tensor."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, jacrev, jvp, vmap

from remanent.ops import latch_scan, linear_scan

E, B, T, D = 3, 2, 17, 5


def tensors(*shapes, seed=0):
    torch.manual_seed(seed)
    return [torch.randn(*shape, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
@pytest.mark.parametrize("backend", ["portable", "cpu", "reference"])
@pytest.mark.parametrize("masked", [False, True])
def test_latches_in_an_ensemble(epsilon, backend, masked):
    inputs = tensors((E, B, T, D), (B, E, T, D), (E, D), (E, B, D), (E, D))
    dims = (0, 1, 0, 0, 0, 0 if masked else None)
    reset = torch.rand(E, B, T) < 0.3 if masked else torch.rand(B, T) < 0.3

    def run(candidate, threshold, alpha, h0, start, reset):
        options = {"epsilon": epsilon, "reset": reset, "reset_state": start, "backend": backend}
        return latch_scan(candidate, threshold, alpha, h0, **options)

    def loss(*args):
        return run(*args).square().sum()

    together = vmap(run, dims)(*inputs, reset)
    grads = vmap(grad(loss, (0, 1, 2, 3, 4)), dims)(*inputs, reset)
    for e in range(E):
        member = [v if d is None else v.select(d, e) for v, d in zip((*inputs, reset), dims, strict=True)]
        assert torch.equal(together[e], run(*member))
        for actual, expected in zip(grads, grad(loss, (0, 1, 2, 3, 4))(*member), strict=True):
            torch.testing.assert_close(actual[e], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["portable", "cpu", "reference"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_linear_scans_in_an_ensemble(backend, dtype):
    decay, value, h0 = (v.to(dtype) for v in tensors((E, D), (E, B, T, D), (B, D)))

    def run(decay, value):
        return linear_scan(0.3 * decay, value, h0, backend=backend)

    together = vmap(run)(decay, value)
    grads = vmap(grad(lambda *v: run(*v).abs().square().sum(), (0, 1)))(decay, value)
    for e in range(E):
        torch.testing.assert_close(together[e], run(decay[e], value[e]), rtol=1e-12, atol=1e-12)
        alone = grad(lambda *v: run(*v).abs().square().sum(), (0, 1))(decay[e], value[e])
        for actual, expected in zip(grads, alone, strict=True):
            torch.testing.assert_close(actual[e], expected, rtol=1e-11, atol=1e-11)


def test_jacobians_of_a_scan():
    decay, value = tensors((D,), (1, 6, D))
    decay = decay.sigmoid()
    jacobian = jacrev(lambda v: linear_scan(decay, v)[0, -1])(value)
    expected = torch.stack([torch.diag(decay ** (5 - t)) for t in range(6)], 1)
    torch.testing.assert_close(jacobian[:, 0], expected, rtol=1e-12, atol=1e-12)


ONCE = {"cpu": "latch_scan", "portable": "latch_scan", "reference": "write_gate"}
"""Backend to the operator that names itself where a latch is differentiated twice."""


@pytest.mark.parametrize(("backend", "name"), ONCE.items())
def test_a_latch_refuses_a_second_derivative(backend, name):
    candidate, threshold = tensors((B, T, D), (D,))
    alpha = torch.ones(D, dtype=torch.float64)
    states = latch_scan(candidate.requires_grad_(), threshold, alpha, backend=backend)
    (first,) = torch.autograd.grad(states.square().sum(), candidate, create_graph=True)
    with pytest.raises(NotImplementedError, match=f"`{name}` .*can be differentiated once"):
        first.sum().backward()


@pytest.mark.parametrize("backend", ["portable", "cpu", "reference", "auto"])
def test_forward_mode_derivatives_are_right_or_refused(backend):
    """A backend that was chosen by name runs or raises; "auto" finds the one that has the derivative."""
    decay, value, along = tensors((D,), (B, T, D), (B, T, D))
    decay = decay.sigmoid()

    def run(value):
        return linear_scan(decay, value, backend=backend)

    if backend in ("portable", "cpu"):
        with pytest.raises(NotImplementedError, match="`linear_scan` has no forward-mode derivative"):
            jvp(run, (value,), (along,))
        with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="`linear_scan` has no forward-mode"):
            run(forward_ad.make_dual(value, along))
    else:
        torch.testing.assert_close(jvp(run, (value,), (along,))[1], run(along), rtol=1e-12, atol=1e-12)
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(run(forward_ad.make_dual(value, along))).tangent
        torch.testing.assert_close(tangent, run(along), rtol=1e-12, atol=1e-12)
    with pytest.raises(NotImplementedError, match="has no forward-mode derivative"):
        jvp(lambda c: latch_scan(c, decay, decay, backend=backend), (value,), (along,))


@pytest.mark.parametrize("backend", ["portable", "cpu", "reference"])
def test_epsilon_as_a_tensor_is_read_when_it_is_used(backend):
    candidate, threshold = tensors((B, T, D), (D,))
    alpha, epsilon = torch.ones(D, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    candidate.requires_grad_()
    states = latch_scan(candidate, threshold, alpha, epsilon=epsilon, backend=backend)
    expected = latch_scan(candidate, threshold, alpha, epsilon=0.3, backend=backend)
    assert torch.equal(states, expected)
    epsilon.fill_(1.0)  # before the backward pass of the first call
    first, second = (torch.autograd.grad(v.square().sum(), candidate)[0] for v in (states, expected))
    assert torch.equal(first, second)
    assert not torch.equal(latch_scan(candidate, threshold, alpha, epsilon=epsilon, backend=backend), states)


@pytest.mark.parametrize(
    ("epsilon", "message"),
    [
        (torch.tensor([0.3], dtype=torch.float64), r"a tensor \(\) of float64 on the CPU, got \(1,\) of float64"),
        (torch.tensor(0.3), r"a tensor \(\) of float64 on the CPU, got \(\) of float32 on cpu"),
        (torch.tensor(1.5, dtype=torch.float64), r"`epsilon` must be in \[0, 1\], got 1.5"),
    ],
)
@pytest.mark.parametrize("backend", ["portable", "cpu", "reference"])
def test_a_bad_epsilon_tensor_is_refused_by_name(epsilon, message, backend):
    candidate, threshold = tensors((B, T, D), (D,))
    with pytest.raises(ValueError, match=message):
        latch_scan(candidate, threshold, torch.ones(D, dtype=torch.float64), epsilon=epsilon, backend=backend)
