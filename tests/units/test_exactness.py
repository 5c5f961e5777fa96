"""Set-or-hold units give the same bits for every cut of a sequence, at any length, in any dtype."""

import pytest
import torch

from cases import crossed, rarely
from remanent import BMRU, FQBMRU
from unit_cases import stepped


def make(unit, M, D, dtype):
    torch.manual_seed(0)
    return unit(M, D, batch_first=True, dtype=dtype)


@crossed(M=[1, 4, 33], dtype=[torch.float32, torch.float64, torch.bfloat16, torch.float16], unit=[BMRU, FQBMRU])
def test_steps_chunks_and_sequence_agree_bit_for_bit(unit, dtype, M):
    model, x = make(unit, M, 32, dtype), torch.randn(3, 1003, M).to(dtype)
    with torch.inference_mode():
        whole, last = model(x)
        for size in (1, 7, 64, 1000):
            h, parts = None, []
            for chunk in x.split(size, dim=1):
                y, h = model(chunk, h)
                parts.append(y)
            assert torch.equal(torch.cat(parts, 1), whole)
            assert torch.equal(h, last)
        h = None
        for t, x_t in enumerate(x.unbind(1)):
            y_t, h = model.step(x_t, h)
            assert torch.equal(y_t, whole[:, t])


@pytest.mark.parametrize("unit", [BMRU, FQBMRU])
def test_a_million_steps_equal_a_thousand_chunks(unit):
    model, x = make(unit, 2, 3, torch.float32), torch.randn(1, 1_000_000, 2)
    with torch.inference_mode():
        whole, last = model(x)
        h = None
        for start in range(0, x.shape[1], 1000):
            y, h = model(x[:, start : start + 1000], h)
            assert torch.equal(y, whole[:, start : start + 1000])
    assert torch.equal(h, last)


@pytest.mark.parametrize("T", [10_000, rarely(1_000_000)])
def test_many_single_steps_equal_the_whole(T):
    model, x = make(BMRU, 2, 3, torch.float32), torch.randn(1, T, 2)
    with torch.inference_mode():
        whole, last = model(x)
        steps, h = stepped(model, x)
    assert torch.equal(steps, whole)
    assert torch.equal(h, last)
