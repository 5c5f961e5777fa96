"""Every option of how a step and a run are made: a run that is interrupted resumes to the same bits."""

import dataclasses
import json
import re
import signal

import pytest

from cases import exhaustive
from helpers import compiles
from remanent import ModelConfig
from remanent.records.configuration import Experiment, fitting
from remanent.records.identity import identity
from remanent.tasks import Characters, CopyFirst
from remanent.training import TrainingConfig, load_run, resume_run, start_run
from remanent.training.experiment import ExperimentModule

TASK = CopyFirst(steps=6)
MODEL = ModelConfig(input_size=1, output_size=1, hidden_size=4, num_layers=1, dropout=0.1, gate_norm="batch")
TRAINING = TrainingConfig(
    steps=12, batch_size=4, learning_rate=1e-2, anneal_hold=0.0, anneal_ramp=0.2, checkpoint_every=5, threads=1
)
OPTIONS = {
    "best": {"keep": "best"},
    "stopped early": {"patience": 1, "learning_rate": 1e-9, "steps": 30},
    "one cycle": {"schedule": "one-cycle", "warmup": 0.5},
    "constant": {"schedule": "constant"},
    "accumulated": {"accumulate": 3, "batch_parts": 2},
    "accumulated, waiting for the loss": {"accumulate": 2, "anneal_wait": True},
    "carried": {"carry_state": True, "accumulate": 2},
    "average": {"average": "exponential"},
    "equal average": {"average": "equal", "average_from": 0.5},
    "bfloat16": {"precision": "bf16-mixed"},
    "compiled": {"compile": True},
    "all": {
        **{"carry_state": True, "accumulate": 2, "average": "equal", "keep": "best", "schedule": "one-cycle"},
        **{"precision": "bf16-mixed", "patience": 9},
    },
}
"""What each case changes of `TRAINING`."""
OFTEN = ("stopped early", "accumulated, waiting for the loss", "compiled", "all")
"""The cases that contain the others."""
CASES = [case if case in OFTEN else pytest.param(case, marks=exhaustive) for case in OPTIONS]


def experiment(**training):
    task = Characters(__file__, steps=6) if "carry_state" in training else TASK
    return Experiment(task, dataclasses.replace(MODEL, **fitting(task)), dataclasses.replace(TRAINING, **training))


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def start_and_interrupt(asked, folder, patched, step):
    """Begins a run that gets the signal of Ctrl-C, as a handler would note it, in the first batch of a step."""
    train = ExperimentModule.training_step

    def interrupted(self, batch, batch_idx):
        if self.global_step == step:
            self.signalled = signal.SIGINT
        return train(self, batch, batch_idx)

    patched.setattr(ExperimentModule, "training_step", interrupted)
    start_run(asked, folder, progress=False)


@exhaustive
@compiles
def test_a_run_that_is_compiled_to_machine_code_resumes_to_the_same_bits(tmp_path, monkeypatch, capfd):
    start_run(experiment(compile=True), tmp_path / "whole")
    assert re.search(r"the first step took [0-9.]+ s, nearly all", capfd.readouterr().err)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt, match="after step 8 of"):
        start_and_interrupt(experiment(compile=True), tmp_path / "cut", patched, 7)
    resume_run(tmp_path / "cut", progress=False)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_interrupted_resumes_to_the_same_bits(case, tmp_path, monkeypatch):
    monkeypatch.setattr("remanent.training.steps.compiling.BACKEND", "eager")  # without C++, which takes long
    asked = experiment(**OPTIONS[case])
    start_run(asked, tmp_path / "whole", progress=False)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt, match="after step 8 of"):
        start_and_interrupt(asked, tmp_path / "cut", patched, 7)
    resume_run(tmp_path / "cut", progress=False)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    for name in ("model.json", "model.safetensors"):
        (tmp_path / "cut" / name).unlink()
    resume_run(tmp_path / "cut", progress=False)  # after the last step
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    assert load_run(tmp_path / "whole")[1].epsilon == 0
    plain = dataclasses.replace(asked, training=TRAINING)
    assert identity(asked.to_dict()) != identity(plain.to_dict())
