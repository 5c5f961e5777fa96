"""Several processes take the steps that one takes: of several batches, in streams, with averaged weights."""

import dataclasses
import json
import signal
import sys

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from cases import rarely
from remanent import ModelConfig
from remanent.records.configuration import Experiment, fitting
from remanent.tasks import Characters
from remanent.training import Launch, TrainingConfig, resume_run, start_run
from remanent.training.experiment import ExperimentModule
from team import together

pytestmark = pytest.mark.skipif(not dist.is_available() or sys.platform == "win32", reason="needs torch.distributed")
TASK = Characters(__file__, steps=7)
MODEL = ModelConfig(**fitting(TASK), unit="bmru+lru", hidden_size=8, num_layers=1, conv_size=3, clock="decay")
TRAINING = TrainingConfig(
    steps=9, batch_size=5, accumulate=2, carry_state=True, checkpoint_every=5, anneal=False, threads=1
)


def train_until(rank, step, config, folder, launch):
    """Trains in float64 until a signal ends the run after a step."""
    torch.set_default_dtype(torch.float64)
    train = ExperimentModule.training_step

    def interrupted(self, batch, batch_idx):
        self.signalled = signal.SIGINT if self.global_step == step and rank == 1 else 0
        return train(self, batch, batch_idx)

    ExperimentModule.training_step = interrupted
    try:
        start_run(Experiment.from_dict(config), folder, progress=False, launch=Launch(**launch))
    except KeyboardInterrupt as ended:
        return str(ended)


@pytest.mark.parametrize("launch", [rarely({}), rarely({"time_shards": 2}), rarely({"strategy": "fsdp"})], ids=str)
def test_one_process_resumes_what_two_have_begun(tmp_path, launch):
    average = "none" if "strategy" in launch else "equal"
    asked = Experiment(TASK, MODEL, dataclasses.replace(TRAINING, average=average))
    torch.set_default_dtype(torch.float64)
    try:
        start_run(asked, tmp_path / "one", progress=False)
        ends = together(2, train_until, 6, asked.to_dict(), tmp_path / "two", launch)
        assert [end[:18] for end in ends] == ["after step 7 of 9;"] * 2
        resume_run(tmp_path / "two", progress=False)
    finally:
        torch.set_default_dtype(torch.float32)
    found, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-8, msg=name)
    lines = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("two", "one")
    ]
    for several, one in zip(*lines, strict=True):
        assert several == pytest.approx(one, abs=1e-8)
