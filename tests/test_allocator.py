"""Where large results get their memory, and the option on how the C library hands out memory."""

import gc
import os
import platform
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import remanent
from remanent import _allocator
from remanent._allocator import empty_result
from remanent.ops import latch_scan, linear_scan

LIKE = torch.empty(0)

CODE = """
import resource, torch, remanent
print(remanent.reuse_freed_memory())
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(sum(faults() for _ in range(16)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the option is glibc's")
def test_memory_that_was_freed_is_used_again_without_page_faults():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    took_effect, faults = done.stdout.split()
    assert took_effect == "True"
    assert int(faults) < 5 * 16384  # of 16 times 16,384 pages: a block may be cut up before it is found again


def test_elsewhere_it_says_that_it_did_nothing(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert remanent.reuse_freed_memory() is False
    assert torch.ones(1).item() == 1


@pytest.fixture
def kept(monkeypatch):
    """Every result, however small, is in memory that is kept; what comes back is overwritten at once."""
    torch.utils.deterministic.fill_uninitialized_memory = False
    monkeypatch.setattr(_allocator, "LEAST", 1)
    _allocator._idle.clear()
    give_back = _allocator._give_back

    def spoil_and_give_back(block: np.ndarray) -> None:
        block.fill(255)
        give_back(block)

    monkeypatch.setattr(_allocator, "_give_back", spoil_and_give_back)
    yield
    gc.collect()
    _allocator._idle.clear()


def test_a_result_gets_the_memory_of_one_that_was_freed(kept):
    first = empty_result(LIKE, (4, 4))
    place = first.data_ptr()
    assert place % 64 == 0
    second = empty_result(LIKE, (4, 4))
    assert second.data_ptr() != place
    del first
    third = empty_result(LIKE.double(), (2, 4), (1, 2))
    assert (third.data_ptr(), third.dtype, third.stride()) == (place, torch.float64, (1, 2))
    assert third._base is None  # a result, not a view of another tensor
    with torch.device("meta"):  # not the device of the tensor that it is for
        assert empty_result(LIKE, (2, 3)).device.type == "cpu"


HOLDERS = {
    "view": lambda y: y[1:, ::2],
    "detached": lambda y: y.detach(),
    "array": lambda y: y.numpy(),
    "storage": lambda y: y.untyped_storage(),
    "buffer": lambda y: memoryview(y.numpy()),
    "capsule": lambda y: torch.utils.dlpack.to_dlpack(y),
    "saved": lambda y: (torch.ones(4, 6, requires_grad=True) * y).grad_fn,
    "gradient": lambda y: setattr(leaf := torch.ones(4, 6, requires_grad=True), "grad", y) or leaf,
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_memory_that_anything_holds_is_not_handed_out(kept, holder):
    y = empty_result(LIKE, (4, 6)).fill_(7)
    place = y.data_ptr()
    held = HOLDERS[holder](y)
    del y
    gc.collect()
    others = [empty_result(LIKE, (4, 6)).zero_() for _ in range(3)]
    assert place not in [other.data_ptr() for other in others]
    del held
    assert empty_result(LIKE, (4, 6)).data_ptr() == place


def test_memory_in_a_cycle_comes_back_with_it(kept):
    cycle = [empty_result(LIKE, (4, 6)).fill_(7)]
    cycle.append(cycle)
    place = cycle[0].data_ptr()
    del cycle
    gc.collect()
    assert empty_result(LIKE, (4, 6)).data_ptr() == place


def test_a_tensor_that_moves_to_shared_memory_keeps_its_values(kept):
    y = empty_result(LIKE, (4, 6)).fill_(7)
    place = y.data_ptr()
    y.share_memory_()
    assert empty_result(LIKE, (4, 6)).fill_(1).data_ptr() == place  # it left, and this is another's now
    assert torch.equal(y, torch.full((4, 6), 7.0))


def test_threads_never_share_a_block(kept):
    def work(seed: int) -> bool:
        draw, live, right = random.Random(seed), [], True
        for step in range(400):
            value = float(seed * 1000 + step)
            y = empty_result(LIKE, (draw.choice([3, 5, 8]), 16)).fill_(value)
            live.append((y[1:] if draw.random() < 0.5 else y, value))
            if draw.random() < 0.1:
                live.append((live, 0.0))  # a cycle, which the collector frees at some time
                live = [entry for entry in live[-6:] if torch.is_tensor(entry[0])]
            if len(live) > 8:
                z, value = live.pop(draw.randrange(len(live) - 1))
                right = right and bool((z == value).all())
        return right and all(bool((z == value).all()) for z, value in live if torch.is_tensor(z))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_memory_of_its_own(kept):
    y, freed = empty_result(LIKE, (4, 6)).fill_(7), empty_result(LIKE, (4, 6)).fill_(8)
    place = freed.data_ptr()
    del freed
    child = os.fork()
    if child == 0:
        mine = empty_result(LIKE, (4, 6)).fill_(1)
        del y
        theirs = empty_result(LIKE, (4, 6)).fill_(2)
        os._exit(0 if mine.data_ptr() == place and bool((mine == 1).all() and (theirs == 2).all()) else 1)
    parent = empty_result(LIKE, (4, 6)).fill_(3)
    assert os.waitpid(child, 0)[1] == 0
    assert bool((y == 7).all())
    assert bool((parent == 3).all())


def test_what_is_kept_is_bounded_and_of_the_last_sizes(kept, monkeypatch):
    monkeypatch.setattr(_allocator, "KEPT", 5000)

    def sizes() -> dict[int, int]:
        return {size: len(blocks) for size, blocks in _allocator._idle.items() if blocks}

    made = [empty_result(LIKE, (256,)) for _ in range(6)]
    del made
    assert sizes() == {1024: 4}
    made = [empty_result(LIKE, (512,)) for _ in range(2)]
    del made
    assert sizes() == {2048: 2}
    large = empty_result(LIKE, (2048,))
    del large
    assert sizes() == {}
    assert _allocator._rounded(1000) == _allocator._rounded(1024) == 1024
    assert _allocator._rounded(1025) == 1152


def test_scans_have_the_same_bits_in_memory_that_is_kept(kept, monkeypatch):
    draw = torch.Generator().manual_seed(0)
    leaves = [torch.randn(2, 70, 3, generator=draw).requires_grad_() for _ in range(2)]
    alpha, weight = torch.ones(3), torch.randn(2, 70, 3, generator=draw)

    def results() -> list[torch.Tensor]:
        y = latch_scan(*leaves, alpha)
        z = linear_scan(leaves[0], y)
        found = [y.detach(), z.detach(), *torch.autograd.grad((z * weight).sum(), leaves)]
        y = z = None
        latch_scan(*leaves, alpha), linear_scan(*leaves)  # would overwrite results whose memory is not their own
        return found

    kept_memory = results()
    assert _allocator._idle
    monkeypatch.setattr(_allocator, "KEPT", 0)
    for mine, theirs in zip(kept_memory, results(), strict=True):
        assert torch.equal(mine, theirs)


def test_small_results_and_those_that_torch_fills_are_not_kept():
    assert _allocator.KEPT == 2**30
    assert empty_result(LIKE, (1024, 1024)).isnan().all()  # the tests ask torch for NaN
    torch.utils.deterministic.fill_uninitialized_memory = False
    assert empty_result(LIKE, (1024, 1023)).untyped_storage().resizable()
    assert not empty_result(LIKE, (1024, 1024)).untyped_storage().resizable()


def test_the_number_of_mib_that_are_kept_must_be_one(monkeypatch):
    monkeypatch.setenv("REMANENT_KEPT_MIB", "3")
    assert _allocator._kept_bytes() == 3 * 2**20
    monkeypatch.setenv("REMANENT_KEPT_MIB", "-1")
    with pytest.raises(ValueError, match="REMANENT_KEPT_MIB must be a number of MiB from 0, got '-1'"):
        _allocator._kept_bytes()
