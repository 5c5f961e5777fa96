"""The residual sum with its norm: values, gradients of any order, the bits of rows, transforms, compiled graphs."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jvp, vmap

from cases import exhaustive
from helpers import assert_close, compiles
from remanent.models.blocks import RMSNorm
from remanent.ops.elementwise import add_rms_norm
from remanent.ops.elementwise.sum_norm import EPS

SHAPES = [(1,), (7,), (1, 64), (3, 65), (2, 0, 5), (0, 4), (2, 70, 64), (2, 3, 4, 5)]
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-14, torch.bfloat16: 2e-2}


def reference(x, added, weight, eps):
    """Row by row and number by number, in float64."""
    x, weight = x.double(), weight.double()
    total = x if added is None else x + added.double()
    normed = torch.empty_like(total)
    rows, out = total.reshape(-1, total.shape[-1]), normed.view(-1, total.shape[-1])
    for row in range(len(rows)):
        mean = sum(value**2 for value in rows[row]) / rows.shape[1]
        for d in range(rows.shape[1]):
            out[row, d] = weight[d] * rows[row, d] / (mean + eps).sqrt()
    return total, normed


def drawn(shape, dtype=torch.float64, adds=True):
    torch.manual_seed(0)
    x, added = (torch.randn(shape, dtype=torch.float64).to(dtype) for _ in range(2))
    return x, added if adds else None, torch.randn(shape[-1], dtype=torch.float64).to(dtype)


def given_gradients(outputs, inputs):
    """The gradients of all inputs that are there, from gradients of both outputs that differ."""
    torch.manual_seed(1)
    total, normed = outputs
    loss = (total * torch.randn(total.shape)).sum() + (normed * torch.randn(total.shape)).sum()
    return torch.autograd.grad(loss, [v for v in inputs if v is not None])


@pytest.mark.parametrize("adds", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_those_of_the_reference(shape, dtype, adds):
    inputs = drawn(shape, dtype, adds)
    wide = [None if v is None else v.double().requires_grad_() for v in inputs]
    inputs = [None if v is None else v.requires_grad_() for v in inputs]
    found, expected = add_rms_norm(*inputs), (wide[0] + wide[1] if adds else wide[0], None)
    with torch.no_grad():
        values = reference(*inputs, torch.finfo(dtype).eps)
    for actual, right, name in zip(found, values, found._fields, strict=True):
        assert actual.shape == shape
        if actual.numel():
            assert_close(actual.double(), right, TOLERANCE[dtype], name)
    root = (expected[0].square().mean(-1, keepdim=True) + torch.finfo(dtype).eps).sqrt()
    grads = given_gradients((expected[0], wide[2] * expected[0] / root), wide)
    for actual, right, name in zip(given_gradients(found, inputs), grads, ("x", "added", "weight"), strict=False):
        assert actual.dtype == dtype
        assert_close(actual.double(), right, 4 * TOLERANCE[dtype], name) if actual.numel() else None


def test_without_a_second_tensor_the_sum_is_the_first():
    x, _, weight = drawn((3, 5))
    assert add_rms_norm(x, None, weight).total is x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("D", [1, 5, 64, 100])
def test_a_row_alone_has_the_bits_that_it_has_among_many(D, dtype):
    x, added, weight = drawn((300, D), dtype)
    whole, plain = add_rms_norm(x, added, weight), add_rms_norm(x + added, None, weight)
    assert torch.equal(whole.normed, plain.normed)
    for row in (0, 63, 64, 299):
        alone = add_rms_norm(x[row].requires_grad_(), added[row], weight)
        assert torch.equal(alone.total, whole.total[row])
        assert torch.equal(alone.normed, whole.normed[row])


def test_gradients_do_not_depend_on_the_number_of_threads():
    inputs = [v.requires_grad_() for v in drawn((700, 64), torch.float32)]
    grads = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        grads.append(given_gradients(add_rms_norm(*inputs), inputs))
    torch.set_num_threads(1)
    assert all(map(torch.equal, *grads))


def layouts(x):
    """The same values time first, in every second column, and as a row that is repeated."""
    wide = torch.stack([x, x], dim=-1).flatten(-2)
    return x.transpose(0, 1).contiguous().transpose(0, 1), wide[..., ::2], x[:1, :1].expand(x.shape)


@pytest.mark.parametrize("place", range(3))
def test_values_may_lie_anywhere_in_memory(place):
    x, added, weight = drawn((4, 6, 8))
    x, added = layouts(x)[place].requires_grad_(), layouts(added)[place].requires_grad_()
    plain = [v.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for v in (x, added)]
    found, expected = add_rms_norm(x, added, weight), add_rms_norm(*plain, weight)
    for actual, right in zip(found, expected, strict=True):
        assert torch.equal(actual, right)
    for actual, right in zip(given_gradients(found, (x, added)), given_gradients(expected, plain), strict=True):
        assert torch.equal(actual, right)
    upstream = torch.ones((), dtype=x.dtype).expand(x.shape)  # as a sum gives it
    torch.autograd.grad(add_rms_norm(x, added, weight).normed, x, upstream)
    if place == 0:
        assert found.normed.stride() == x.stride()


@pytest.mark.parametrize("adds", [True, False])
def test_gradients_of_one_output_and_of_gradients(adds):
    x, added, weight = (None if v is None else v.requires_grad_() for v in drawn((3, 2, 5), adds=adds))
    inputs = [v for v in (x, added, weight) if v is not None]

    def run(*values):
        return add_rms_norm(values[0], values[1] if adds else None, values[-1])

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)
    assert torch.autograd.gradcheck(lambda *values: run(*values).normed, inputs)
    assert torch.equal(torch.autograd.grad(run(*inputs).total.sum(), x)[0], torch.ones_like(x))


def test_under_transforms_and_in_forward_mode_it_is_the_composition_of_torch():
    x, added, weight = drawn((4, 3, 5))

    def loss(x, added, weight):
        total, normed = add_rms_norm(x, added, weight)
        return (total * normed).sum()

    grads = vmap(grad(loss, (0, 1, 2)), (0, 0, None))(x, added, weight)
    for e in range(4):
        for actual, expected in zip(grads, grad(loss, (0, 1, 2))(x[e], added[e], weight), strict=True):
            torch.testing.assert_close(actual[e], expected)
    ones = tuple(torch.ones_like(v) for v in (x, added, weight))
    _, tangent = jvp(loss, (x, added, weight), ones)
    with forward_ad.dual_level():
        dual = loss(*(forward_ad.make_dual(v, one) for v, one in zip((x, added, weight), ones, strict=True)))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, tangent)
    expected = sum(g.sum() for g in grad(loss, (0, 1, 2))(x, added, weight))
    torch.testing.assert_close(tangent, expected)


def test_shapes_are_known_without_values():
    with FakeTensorMode() as mode:
        inputs = [mode.from_tensor(v.requires_grad_()) for v in drawn((2, 3, 4))]
        total, normed = add_rms_norm(*inputs)
        grads = torch.autograd.grad((total + normed).sum(), inputs)
    assert [tuple(v.shape) for v in (total, normed, *grads)] == [(2, 3, 4)] * 4 + [(4,)]
    meta = [v.detach().to("meta") for v in drawn((2, 3, 4))]
    assert add_rms_norm(*meta).normed.is_meta


@exhaustive  # `make test` compiles it as a part of a model
@compiles
def test_it_compiles_as_a_whole():
    torch.compiler.reset()
    inputs = [v.requires_grad_() for v in drawn((2, 3, 4))]
    found = torch.compile(add_rms_norm, fullgraph=True, backend="aot_eager")(*inputs)
    for actual, expected in zip(found, add_rms_norm(*inputs), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_the_module_is_that_of_torch():
    torch.manual_seed(0)
    ours, torchs = RMSNorm(6), torch.nn.RMSNorm(6)
    torchs.load_state_dict(ours.state_dict())
    x, added = torch.randn(2, 5, 6), torch.randn(2, 5, 6)
    torch.testing.assert_close(ours(x), torchs(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.of_sum(x, added).normed, torchs(x + added), rtol=1e-6, atol=1e-6)
    assert EPS[torch.float32] == torch.finfo(torch.float32).eps
    assert functional_call(ours, {"weight": torch.zeros(6)}, x).count_nonzero() == 0
