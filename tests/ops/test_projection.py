"""The row-exact linear map: a row has the same bits alone as among any number of others."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch.func import jvp, vmap

from cases import crossed
from remanent.ops import plain_products, row_linear


@pytest.fixture
def set_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@crossed(
    threads=[1, 2],
    outputs=[1, 6, 14, 64, 130, 512],
    inputs=[1, 5, 17, 64, 256],
    dtype=[torch.float32, torch.float64, torch.bfloat16, torch.float16],
)
def test_a_row_does_not_depend_on_its_company(dtype, inputs, outputs, threads, set_threads):
    set_threads(threads)
    torch.manual_seed(0)
    x, weight, bias = (torch.randn(s).to(dtype) for s in ((3000, inputs), (outputs, inputs), (outputs,)))
    whole = row_linear(x, weight, bias)
    for start in (0, 1, 11, 160):
        for rows in (1, 3, 7, 16, 17, 65, 1000, 1001):
            part = slice(start, start + rows)
            assert torch.equal(row_linear(x[part], weight, bias), whole[part])
    assert torch.equal(row_linear(x.view(3, 1000, inputs), weight, bias).view(3000, outputs), whole)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 7, 5), (2, 0, 5)])
def test_it_is_a_linear_map_with_its_gradients(shape):
    torch.manual_seed(0)
    leaves = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in (shape, (4, 5), (4,))]
    expected = F.linear(*leaves)
    weights = torch.randn_like(expected)
    grads = torch.autograd.grad((row_linear(*leaves) * weights).sum(), leaves)
    torch.testing.assert_close(row_linear(*leaves), expected, rtol=1e-12, atol=1e-12)
    for grad, wanted in zip(grads, torch.autograd.grad((expected * weights).sum(), leaves), strict=True):
        torch.testing.assert_close(grad, wanted, rtol=1e-12, atol=1e-12)


def test_an_exact_product_is_not_rounded_under_autocast_and_its_gradients_are():
    torch.manual_seed(0)
    leaves = [torch.randn(shape, requires_grad=True) for shape in ((3, 20, 5), (6, 5), (6,))]
    upstream = torch.randn(3, 20, 6)
    plain = row_linear(*leaves)
    wanted = torch.autograd.grad(plain, leaves, upstream)
    with torch.autocast("cpu", torch.bfloat16):
        found = row_linear(*leaves, exact=True)
        assert not torch.equal(row_linear(*leaves), plain)
        assert row_linear(leaves[0].bfloat16(), *leaves[1:], exact=True).dtype == torch.float32
        members = vmap(lambda x: row_linear(x, *leaves[1:], exact=True))(leaves[0])
        _, tangent = jvp(lambda x: row_linear(x, *leaves[1:], exact=True), (leaves[0],), (leaves[0],))
    assert torch.equal(found, plain)
    assert torch.equal(members, plain)
    torch.testing.assert_close(tangent, plain - leaves[2])
    of_x, of_weight, of_bias = torch.autograd.grad(found, leaves, upstream)
    for grad, right in ((of_x, wanted[0]), (of_weight, wanted[1])):
        assert 0 < (grad - right).norm() < 2**-7 * right.norm()
    torch.testing.assert_close(of_bias, wanted[2])


def test_plain_products_last_for_their_context_and_their_thread_alone():
    def is_plain():
        with torch.profiler.profile() as profile:
            row_linear(torch.ones(3, 5), torch.ones(2, 5))
        return not any("pad" in event.name for event in profile.events())

    def stop():
        with plain_products():
            raise RuntimeError("stopped")

    seen = []
    assert not is_plain()
    with plain_products():
        with pytest.raises(RuntimeError, match="stopped"):
            stop()
        assert is_plain()
        thread = threading.Thread(target=lambda: seen.append(is_plain()))
        thread.start()
        thread.join()
    assert not is_plain()
    assert seen == [False]
