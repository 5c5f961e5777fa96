"""Observers of collectives: any number at once, each for its own context."""

import pytest
import torch
import torch.distributed as dist

from remanent.ops import latch_scan
from remanent.ops.collectives import observe_collectives


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
