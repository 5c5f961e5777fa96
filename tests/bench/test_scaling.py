"""The model of what a step costs: its counts are those of real steps, and its tables follow from them."""

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import shard_calls
from remanent import ModelConfig, SequenceModel
from remanent.bench.scaling import Plan, count_layer, longest, step_cost
from remanent.bench.scaling_tables import ASSUMED, MODEL, longest_table, scaling_table

CONFIG = ModelConfig(input_size=4, output_size=4, hidden_size=16, num_layers=2, unit="bmru", head="every")


@pytest.mark.parametrize("unit", ["bmru", "min_gru"])
def test_products_are_those_that_torch_counts(unit):
    config = dataclasses.replace(CONFIG, unit=unit)
    counts = []
    for layers in (1, 2):
        model = SequenceModel(dataclasses.replace(config, num_layers=layers))
        with FlopCounterMode(display=False) as counter:
            model(torch.randn(4, 8, 4))[0].square().sum().backward()
        counts.append(counter.get_total_flops())
    cost = step_cost(count_layer(config), 1, Plan(4, 8), ASSUMED)
    assert cost.products == counts[1] - counts[0]


@pytest.mark.parametrize("unit", ["bmru", "lru", "min_gru", "bmru+lru"])
def test_what_is_kept_grows_with_steps_and_sequences_as_counted(unit):
    config = dataclasses.replace(CONFIG, unit=unit)
    layer = count_layer(config)
    kept = []
    for layers in (1, 2):
        model = SequenceModel(dataclasses.replace(config, num_layers=layers))
        own = {p.data_ptr() for p in (*model.parameters(), *model.buffers())}
        saved = {}

        def pack(value, own=own, saved=saved):
            if value.data_ptr() not in own:
                saved[value.untyped_storage().data_ptr()] = value.untyped_storage()
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            model(torch.randn(8, 512, 4))
        kept.append(sum(storage.nbytes() for storage in saved.values()))
    assert (kept[1] - kept[0]) / 4096 == pytest.approx(layer.kept, rel=0.02)
    assert layer.state == {"lru": 128, "bmru+lru": 96}.get(unit, 64)


def test_what_a_layer_sends_is_what_its_collectives_carry(crew):
    for unit in ("bmru", "lru", "bmru+lru"):
        config = dataclasses.replace(CONFIG, unit=unit)
        layer, size = count_layer(config), len(crew.pipes)
        for steps in (9, 40):
            one, two = (
                crew.run(shard_calls.model_bytes, dataclasses.replace(config, num_layers=layers), 3, steps)
                for layers in (1, 2)
            )
            handed = [b - a for a, b in zip(one, two, strict=True)]
            cost = step_cost(layer, 1, Plan(3, steps, time=size), ASSUMED)
            assert [count * (size - 1) for count in handed] == [cost.sent_by_layer] * size


def test_the_model_of_the_cost_in_numbers():
    layer = count_layer(MODEL)
    whole = step_cost(layer, 4, Plan(8, 2**20), ASSUMED)
    batch = step_cost(layer, 4, Plan(8, 2**20, data=8), ASSUMED)
    time = step_cost(layer, 4, Plan(8, 2**20, time=8), ASSUMED)
    parts = step_cost(layer, 4, Plan(8, 2**20, data=8, strategy="fsdp"), ASSUMED)
    assert whole.sent == whole.collectives == whole.sent_seconds == 0
    assert batch.products == time.products == whole.products / 8
    assert batch.sent_by_layer == 0 < time.sent_by_layer
    assert batch.sent == 2 * 7 / 8 * 4 * layer.weights * 4
    assert parts.sent == 1.5 * batch.sent
    assert batch.memory - parts.memory == 7 / 8 * 16 * layer.weights * 4
    assert time.moved - batch.moved == 2**20 * 4 * layer.scanned
    longer = step_cost(layer, 4, Plan(8, 2**24, time=8), ASSUMED)
    assert longer.sent == time.sent
    assert longer.seconds > 15 * time.compute_seconds
    uneven = step_cost(layer, 4, Plan(1, 9, time=4), ASSUMED)
    assert uneven.products == 3 * step_cost(layer, 4, Plan(1, 1), ASSUMED).products


def test_the_longest_sequences_fit_and_twice_as_long_ones_do_not():
    layer = count_layer(MODEL)
    for devices in (1, 8, 4096):
        plan = Plan(1, 1, time=devices)
        found = longest(layer, 4, plan, ASSUMED)
        assert step_cost(layer, 4, dataclasses.replace(plan, steps=found), ASSUMED).memory <= ASSUMED.memory
        assert step_cost(layer, 4, dataclasses.replace(plan, steps=2 * found), ASSUMED).memory > ASSUMED.memory
    assert longest(layer, 4, Plan(1, 1), dataclasses.replace(ASSUMED, memory=1e3)) == 0


def test_the_tables_have_a_line_for_every_case():
    assert len(scaling_table().splitlines()) == 2 + 4 * 3 * 2
    assert len(longest_table().splitlines()) == 2 + 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Plan(3, 8, data=2), "`data` must divide the batch, 3, got 2"),
        (lambda: Plan(3, 0), "`steps` must be at least 1, got 0"),
        (lambda: Plan(3, 8, strategy="dp"), "`strategy` must be one of ddp, fsdp, got 'dp'"),
        (lambda: count_layer(dataclasses.replace(CONFIG, unit="bmru,lru")), "`unit` must be the same in all layers"),
        (lambda: count_layer(dataclasses.replace(CONFIG, unit="gru")), "`unit` must be one whose time is shared"),
    ],
)
def test_what_the_model_does_not_cover_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
