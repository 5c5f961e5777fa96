"""Observers of collectives, any number at once, each for its own context; and sums over processes."""

from functools import partial

import pytest
import torch
import torch.distributed as dist

import shard_calls
from helpers import assert_close
from remanent.ops import latch_scan
from remanent.ops.collectives import observe_collectives, place_in, sum_of_all


@pytest.fixture
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield dist.group.WORLD
    dist.destroy_process_group()


def test_observers_are_called_before_every_collective_while_their_context_lasts(group):
    def scan():
        latch_scan(torch.ones(1, 2, 3), torch.ones(3), torch.ones(3), group=group)

    def scan_and_stop():
        with observe_collectives(second.append):
            scan()
            raise RuntimeError("stopped")

    first, second = [], []
    with observe_collectives(first.append):
        scan()
        with pytest.raises(RuntimeError, match="stopped"):
            scan_and_stop()
        scan()
    scan()
    of_one_scan = [64, 2 * 3 * 4]  # eight numbers that must agree, and two for each (B, D)
    assert first == 3 * of_one_scan
    assert second == of_one_scan


def test_an_observer_that_raises_stops_the_scan_and_is_removed(group):
    def refuse(sent):
        raise RuntimeError("stopped")

    candidate, ones = torch.ones(1, 2, 3), torch.ones(3)
    with pytest.raises(RuntimeError, match="stopped"), observe_collectives(refuse):
        latch_scan(candidate, ones, ones, group=group)
    assert torch.equal(latch_scan(candidate, ones, ones, group=group), candidate)


def test_a_sum_over_processes_has_its_gradients_and_theirs(group):
    value = torch.randn(3, 4, dtype=torch.float64)
    place = place_in(group, value.device)
    assert torch.equal(sum_of_all(place, value.T), value.T)
    assert torch.autograd.gradcheck(partial(sum_of_all, place), value.requires_grad_())
    assert torch.autograd.gradgradcheck(partial(sum_of_all, place), value)


def test_a_sum_over_processes_is_that_of_all_values_and_so_is_its_gradient(crew):
    size = len(crew.pipes)
    values, weights = torch.randn(2, size, 5, dtype=torch.float64)
    for rank, (total, in_mesh, grad) in enumerate(crew.run(shard_calls.sum_and_differentiate, values, weights)):
        assert_close(total, values.sum(0), 1e-14, "sum")
        assert torch.equal(in_mesh, total)
        assert_close(grad, weights.sum(0), 1e-14, f"gradient on rank {rank}")
