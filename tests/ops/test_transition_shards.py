"""Heads with K states, shared out in time over 2 and 4 processes: a table a head crosses a border."""

import pytest
import torch

import shard_calls
from helpers import assert_close

B, T, H, K, R = 3, 9, 2, 3, 2
CUTS = {2: [(0, 5, 9), (0, 0, 9), (0, 9, 9)], 4: [(0, 2, 4, 7, 9), (0, 0, 4, 4, 9)]}
"""Of nine steps: uneven shards, and empty ones."""
SIZES = {"num_states": K, "num_tracers": R}


def one_hot(*shape, seed):
    places = torch.randint(K, shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.one_hot(places, K).flatten(-2).double()


def inputs_of(reset):
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(B, T, H * K * K, generator=draw, dtype=torch.float64)
    inputs = {"logits": logits, "h0": one_hot(B, H * R, seed=1)}
    if reset:
        mask = torch.rand(B, T, generator=draw) < 0.2
        mask[1, [0, 1, 2, 4, 5, 7]], mask[2] = True, False
        start = one_hot(*((B, T) if reset == "each" else ()), H * R, seed=2)
        inputs |= {"reset": mask, "reset_state": start}
    return inputs


@pytest.mark.parametrize("backend", ["reference", "portable", "cpu"])
@pytest.mark.parametrize(("epsilon", "reset"), [(0.0, False), (0.0, "each"), (0.3, True), (1.0, False)])
def test_the_states_and_gradients_are_those_of_one_process(crew, backend, epsilon, reset):
    inputs, options = inputs_of(reset), SIZES | {"epsilon": epsilon, "backend": backend}
    weights = torch.randn(B, T, H * R * K, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected, expected_grads = shard_calls.scan_and_differentiate("transition", inputs, options, weights)
    for cut in CUTS[len(crew.pipes)]:
        parts = crew.run(shard_calls.run_share, "transition", inputs, options, weights, cut)
        states = torch.cat([found for found, _ in parts], dim=1)
        if epsilon == 0:
            assert torch.equal(states, expected)
        else:
            assert_close(states, expected, 1e-12, "states")
        for name, grad in expected_grads.items():
            shares = [grads[name] for _, grads in parts]
            found = torch.cat(shares, dim=1) if shard_calls.in_time(name, inputs[name]) else sum(shares)
            assert_close(found, grad, 1e-12, f"{name} {cut}")


def test_what_crosses_a_border_is_a_table_a_head(crew):
    """Of bytes: K for each head, R for the states after a reset, and whether there was one; whatever T is."""
    inputs = {"logits": inputs_of(False)["logits"].float()}
    for forward, backward in crew.run(shard_calls.bytes_sent, "transition", inputs, SIZES, CUTS[len(crew.pipes)][0]):
        assert sorted(forward) == sorted([64, B * (H * K + H * R + 1)])
        assert backward == [B * H * R * K * 4]


def test_what_one_process_refuses_raises_on_every_process(crew):
    good, size = inputs_of(False), len(crew.pipes)
    bad = good | {"h0": torch.full_like(good["h0"], 0.5)}
    found = crew.run(shard_calls.run_with, "transition", [*[good] * (size - 1), bad], [SIZES] * size)
    assert all(kind == "ValueError" for kind, _ in found)
    assert found[-1][1].startswith("`h0` must be one-hot in each 3 numbers")
    options = [SIZES, *[SIZES | {"epsilon": 0.5}] * (size - 1)]
    found = crew.run(shard_calls.run_with, "transition", [good] * size, options)
    rule = "every process of `group` must be given the same epsilon, got 0 on rank 0 and 0.5 on rank 1"
    assert found == [("ValueError", rule)] * size
