"""The kernels of one step without gradients: the bits of the reference, and None where they cannot stand in for it."""

import pytest
import torch

from remanent.ops import latch_step, transition_scan
from remanent.ops.arguments import REAL_DTYPES, HeadSizes
from remanent.ops.cpu import step

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


@DTYPES
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("joint", [False, True])
def test_a_latch_steps_as_the_reference_does(dtype, epsilon, joint):
    torch.manual_seed(0)
    B, D = 3, 37
    gates, h = torch.randn(B, 3 * D, dtype=dtype), torch.randn(B, D + 2, dtype=dtype)[:, :D]
    gates[0, :3], gates[1, 1], gates[1, D + 1], gates[2, D] = torch.nan, 0.0, 0.0, torch.inf
    h[0, 4], h[0, 0] = torch.inf, torch.nan
    alpha = None if joint else torch.randn(D, dtype=dtype)
    given = gates if joint else gates[:, : 2 * D]
    candidate, threshold, sizes = gates.chunk(3, dim=-1)
    with torch.no_grad():
        share = torch.tensor(epsilon, dtype=torch.float64)
        expected = latch_step(candidate, threshold, sizes if joint else alpha, h, epsilon=share)
        found = step.latch_step(given, alpha, h, epsilon)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(found.signbit(), expected.signbit())


@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_heads_step_as_the_scan_does(dtype):
    torch.manual_seed(0)
    sizes, H, B = HeadSizes(3, 2), 4, 5
    logits = torch.randn(B, H * 9, dtype=dtype)
    logits[0, 0], logits[1, 3:6], logits[2, :3] = torch.nan, 1.0, torch.nan
    h = torch.nn.functional.one_hot(torch.randint(3, (B, H * 2)), 3).flatten(1).to(dtype)
    h[4] = 0  # the start
    with torch.no_grad():
        found = step.transition_step(logits, h, sizes)
        expected = transition_scan(logits[:, None], h, num_states=3, num_tracers=2)[:, 0]
        assert torch.equal(found, expected)
        for wrong in (0.5, 1.0, -1.0, torch.nan):
            other = h.clone()
            other[0, :3] = torch.tensor([1.0, wrong, 0.0])
            assert step.transition_step(logits, other, sizes) is None
        h[3, :3] = 0  # a part of a state is no start
        assert step.transition_step(logits, h, sizes) is None


def test_no_kernel_runs_where_more_than_values_matters():
    gates, alpha, h = torch.randn(2, 6), torch.ones(3), torch.zeros(2, 3)
    assert step.latch_step(gates, alpha, h, 0.0) is not None
    others = [
        (gates.clone().requires_grad_(), alpha, h),
        (gates.half(), alpha, h),
        (gates, alpha.double(), h),
        (gates.to("meta"), alpha.to("meta"), h.to("meta")),
        (gates[:, :4], alpha, h),
        (gates, torch.ones(2, 3), h),
        (gates, alpha, torch.zeros(3, 2).T),
        (gates, alpha, torch.zeros(2, 3, dtype=torch.complex64).conj().imag),
    ]
    for given in others:
        assert step.latch_step(*given, 0.0) is None
    seen = []
    torch.func.vmap(lambda g: (seen.append(step.latch_step(g, alpha, h, 0.0)), g)[1])(gates[None])
    assert seen == [None]
