"""The tables of heads, the maps that these generate, and heads that are frozen."""

import pytest
import torch

from built_models import FLIP, S3, built, wandering
from model_cases import make
from remanent.analysis.automata import Head, all_heads, freeze, maps_reached, tables_of

KINDS = {
    "table": {"encoder": "table", "input_size": 7},
    "embedding": {"encoder": "embedding", "input_size": 7, "norm": "layer"},
    "beside another unit": {"encoder": "embedding", "input_size": 7, "unit": "bmru+mru"},
}
SIZES = {"unit": "mru", "num_layers": 1, "num_states": 3, "num_tracers": 2, "state_size": 12, "head": "every"}


def mru_state(state, unit):
    return state.layers[0][unit][0].view(-1, 2, 2, 3).argmax(3)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_say_where_the_model_goes(kind):
    model = make(**SIZES | KINDS[kind])
    unit = model.config.unit.split("+").index("mru")
    tables = tables_of(model).long()
    letters = torch.randint(7, (5, 9))
    places, state = torch.tensor([[0, 1], [2, 0]]).expand(5, 2, 2), None
    for v in letters.unbind(1):
        _, state = model.step(v, state)
        places = tables[v].gather(2, places)
        assert torch.equal(mru_state(state, unit), places)


def brute_force(head):
    found = todo = {tuple(range(head.shape[1]))}
    while todo:
        todo = {tuple(int(table[j]) for j in known) for known in todo for table in head} - found
        found = found | todo
    return len(found)


@pytest.mark.parametrize("K", [2, 3, 9])
def test_maps_are_counted_to_the_end_or_to_the_most(K):
    tables = torch.cat([torch.randint(K, (3, 4, K)), wandering(3, 2, K)], 1).byte()
    tables[:, :, 4:] = tables[:, :, :1]  # so that there are not too many
    exact = [brute_force(tables[:, head]) for head in range(6)]
    assert maps_reached(tables, 10**5) == exact
    assert maps_reached(tables, 5) == [min(count, 5) for count in exact]


def test_a_head_that_acts_as_a_group_reaches_its_elements_and_a_still_one_reaches_one():
    assert maps_reached(S3[:, None].byte()) == [6]
    assert maps_reached(torch.arange(5).expand(4, 2, 5).byte()) == [1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_heads_stay_where_they_start_and_the_others_move_as_before(kind):
    model = make(**SIZES | KINDS[kind])
    unit = model.config.unit.split("+").index("mru")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    frozen = freeze(model, [Head(0, unit, 1)])
    letters = torch.randint(7, (5, 30))
    moved, held = (mru_state(m(letters)[1], unit) for m in (model, frozen))
    assert torch.equal(held[:, 0], moved[:, 0])
    assert held[:, 1].tolist() == [[2, 0]] * 5
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert maps_reached(tables_of(frozen))[1] == 1


def test_heads_of_later_blocks_are_frozen_by_their_biases():
    model = make(**SIZES | {"num_layers": 2, "encoder": "table", "input_size": 7})
    frozen = freeze(model, [Head(1, 0, 0)])
    assert len(all_heads(model)) == 4
    state = frozen(torch.randint(7, (5, 30)))[1]
    assert state.layers[1][0][0].view(5, 2, 2, 3).argmax(3)[:, 0].tolist() == [[0, 1]] * 5


def test_what_has_no_tables_is_rejected_by_name():
    letters = {"encoder": "embedding", "input_size": 7}
    for options, rule in (
        ({}, "`model` must read tokens, got encoder='linear'"),
        (letters | {"conv_size": 2}, "`model` must show its first block one letter at a time, got conv_size=2"),
        (letters | {"clock": "decay"}, "`model` must show its first block letters alone, got clock='decay'"),
        (letters | {"unit": "bmru"}, "`model` must have K-state heads in its first block, got bmru"),
    ):
        with pytest.raises(ValueError, match=rule):
            tables_of(make(**SIZES | options))
    model = built(FLIP[:, None], answers=2)
    with pytest.raises(ValueError, match="`unit` must be a place from 0 to 0, got 1"):
        tables_of(model, 1)
    with pytest.raises(ValueError, match=r"`heads` must be those of the model, 1 of them, got Head\(block=0, unit=0, "):
        freeze(model, [Head(0, 0, 1)])
    with pytest.raises(TypeError, match="`tables` must have dtype uint8, got int64"):
        maps_reached(FLIP[:, None])
    with pytest.raises(ValueError, match="`tables` must have entries below K=2, got 2"):
        maps_reached(torch.tensor([[[0, 2]]], dtype=torch.uint8))
    with pytest.raises(
        ValueError, match=r"`tables` must have shape \(V, H, K\), at least one of each, got \(0, 1, 2\)"
    ):
        maps_reached(torch.zeros(0, 1, 2, dtype=torch.uint8))
