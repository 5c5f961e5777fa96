"""Streams that go on from window to window: each step begins in the state in which the last one ended."""

import dataclasses
import json

import pytest
import torch

from remanent import ModelConfig
from remanent.distributed.ranks import Part, Ranks
from remanent.records.configuration import Experiment, fitting
from remanent.tasks import TASKS, Characters, CopyFirst
from remanent.training import TrainingConfig, start_run
from remanent.training.data import StepBatches
from remanent.training.experiment import ExperimentModule

TASK = Characters(__file__, steps=7)
MODEL = ModelConfig(**fitting(TASK), unit="bmru+lstm", hidden_size=8, num_layers=1, conv_size=3, clock="decay")
TRAINING = TrainingConfig(
    steps=6, batch_size=3, accumulate=2, carry_state=True, anneal=False, checkpoint_every=4, threads=1
)


def windows(config=TRAINING, ranks=None, steps=6):
    return StepBatches(TASK, config, 0, steps, ranks or Ranks())


def test_each_window_goes_on_where_the_last_one_ended():
    text, batches = TASK._data.train, windows(steps=600)
    one = torch.cat([batches[2 * step + 1][0][2] for step in range(600)])  # the third stream of the second batch
    first = int((text.unfold(0, 50, 1) == one[:50]).all(1).nonzero()[0])
    assert len(one) > len(text)
    assert torch.equal(one, text[(first + torch.arange(len(one))) % len(text)])
    for index in (0, 5):
        x, y, _ = batches[index]
        assert torch.equal(x[:, 1:], y[:, :-1])
        assert torch.equal(y[:, -1], batches[index + 2][0][:, 0])
        halves = [windows(ranks=Ranks(data=Part(place, 2)))[index][0] for place in range(2)]
        assert torch.equal(torch.cat(halves), x)


def test_streams_begin_at_even_distances_where_the_seed_says():
    first, other = (windows(dataclasses.replace(TRAINING, seed=seed))[0][0] for seed in (0, 1))
    assert not torch.equal(first, other)
    assert len({tuple(row.tolist()) for i in (0, 1) for row in windows()[i][0]}) == 6


def test_the_state_goes_from_step_to_step(tmp_path):
    """With weights that stay as they are, the losses are those of the streams in one piece."""
    config = dataclasses.replace(TRAINING, learning_rate=1e-30, weight_decay=0.0, write_rates=False)
    asked = Experiment(TASK, MODEL, config)
    start_run(asked, tmp_path / "run", progress=False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    model, batches = ExperimentModule(asked).model.eval(), windows()
    x, y = (torch.cat([torch.cat([batches[2 * i + j][k] for i in range(6)], 1) for j in range(2)]) for k in (0, 1))
    output = model(x)[0].detach()
    expected = [TASK.loss(o, t).item() for o, t in zip(output.split(7, 1), y.split(7, 1), strict=True)]
    assert [line["loss"] for line in lines if "loss" in line] == pytest.approx(expected, rel=1e-5)
    apart = [TASK.loss(model(part)[0], t).item() for part, t in zip(x.split(7, 1), y.split(7, 1), strict=True)]
    assert apart[1:] != pytest.approx(expected[1:], rel=1e-3)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if not task.continues])
def test_a_task_that_does_not_go_on_says_so(name):
    with pytest.raises(ValueError, match=f"the task {name} must have sequences that go on, got one that `continues`"):
        TASKS[name].stream_windows(TASKS[name], 0, [0], 1, torch.Generator())


@pytest.mark.parametrize(
    ("task", "model", "training", "message"),
    [
        (TASK, {}, {"length_jitter": 2.0}, "`carry_state` must be False with `curriculum_start` or `length_jitter`"),
        (
            TASK,
            {},
            {"curriculum_start": 2, "curriculum_steps": 1},
            "`carry_state` must be False with `curriculum_start",
        ),
        (TASK, {"unit": "attention"}, {}, "`training.carry_state` must be False for a model with attention, whose"),
        (CopyFirst(), {}, {}, "`training.carry_state` must be False for the task copy-first, whose sequences do not"),
    ],
)
def test_streams_that_cannot_be_are_rejected(task, model, training, message):
    with pytest.raises(ValueError, match=message):
        Experiment(task, ModelConfig(**fitting(task), **model), dataclasses.replace(TRAINING, **training))
