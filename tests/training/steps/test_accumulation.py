"""Gradients of several batches in a step: those of one batch of as many examples and parts."""

import dataclasses
import json

import pytest
import torch

from remanent import ModelConfig
from remanent.distributed.ranks import Part, Ranks
from remanent.records.configuration import Experiment
from remanent.tasks import CopyFirst
from remanent.training import TrainingConfig, start_run
from remanent.training.data import StepBatches
from remanent.training.outcome import quick_tests

TASK = CopyFirst(steps=6)
MODEL = ModelConfig(input_size=1, output_size=1, hidden_size=4, num_layers=1)
WHOLE = TrainingConfig(steps=8, batch_size=12, batch_parts=6, checkpoint_every=4, threads=1, write_rates=False)
PARTS = dataclasses.replace(WHOLE, batch_size=4, batch_parts=2, accumulate=3)


@pytest.mark.parametrize("places", [1, 2])
def test_the_batches_of_a_step_are_parts_of_one_that_is_as_large(places):
    whole = StepBatches(TASK, WHOLE, 2, 4, Ranks())
    parts = [StepBatches(TASK, PARTS, 2, 4, Ranks(data=Part(place, places))) for place in range(places)]
    assert len(parts[0]) == 6
    for step in range(2):
        drawn = [part[3 * step + number][:2] for number in range(3) for part in parts]
        for together, each in zip(whole[step][:2], zip(*drawn, strict=True), strict=True):
            assert torch.equal(torch.cat(each), together)
    assert len({parts[0][i][2] for i in range(6)}) == 6  # dropout is drawn for each batch


def test_a_step_is_that_of_one_batch_that_is_as_large(tmp_path):
    found = {}
    for name, training in (("whole", WHOLE), ("parts", PARTS)):
        start_run(Experiment(TASK, MODEL, training), tmp_path / name, progress=False)
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == list(range(8))
        found[name] = [value for line in lines for key, value in line.items() if key != "step"]
    assert found["parts"] == pytest.approx(found["whole"], rel=1e-4)


def test_tests_of_a_run_may_cost_more_where_its_steps_do():
    asked = Experiment(CopyFirst(), MODEL, dataclasses.replace(WHOLE, steps=400))
    lengths = [
        max(test.length for test in quick_tests(dataclasses.replace(asked, training=training)))
        for training in (asked.training, dataclasses.replace(asked.training, accumulate=10))
    ]
    assert lengths[0] < lengths[1]


def test_there_is_at_least_one_batch():
    with pytest.raises(ValueError, match="`accumulate` must be at least 1, got 0"):
        TrainingConfig(accumulate=0)
