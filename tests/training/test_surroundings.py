"""A function gives back what it found: torch's generators and switches, the process's variables, a model's mode."""

import logging
import os
import signal
import warnings

import pytest
import torch
from torch.distributed.launcher import api

from remanent import ModelConfig, SequenceModel
from remanent._restore import ENDING
from remanent.distributed.launcher import launch
from remanent.records.configuration import fitting
from remanent.tasks import CopyFirst, Parity
from remanent.training import (
    Experiment,
    TrainingConfig,
    evaluate,
    failing_length,
    record_run,
    resume_run,
    start_run,
)

RUN = Experiment(
    CopyFirst(steps=20),
    ModelConfig(input_size=1, output_size=1, hidden_size=4, dropout=0.1),
    TrainingConfig(steps=2, batch_size=4, checkpoint_every=1, threads=2),
)


def surroundings():
    return {
        "generator": torch.get_rng_state().tolist(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "benchmark": torch.backends.cudnn.benchmark,
        "threads": torch.get_num_threads(),
        "variables": dict(os.environ),
        "handlers": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
        "level": logging.getLogger("pytorch_lightning").level,
        "filters": list(warnings.filters),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
    }


def test_a_run_leaves_its_process_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.set_deterministic_debug_mode("warn")
    torch.manual_seed(5)
    before = surroundings()
    folder = tmp_path / "run"
    start_run(RUN, folder, progress=False)
    assert surroundings() == before
    (folder / "model.json").unlink()
    resume_run(folder, progress=False)
    record_run(folder)
    resume_run(folder, progress=False)
    assert surroundings() == before


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_every_part_of_a_model_in_its_mode(training):
    model = SequenceModel(RUN.model).train(training)
    model.blocks[0].train(not training)  # a part that the user froze
    modes = [part.training for part in model.modules()]
    torch.manual_seed(5)
    before = surroundings()
    score = evaluate(model, RUN.task, examples=2)
    assert [part.training for part in model.modules()] == modes
    assert score == evaluate(model.eval(), RUN.task, examples=2)
    words = Parity(steps=4)
    sizes = fitting(words)
    answers = SequenceModel(ModelConfig(**sizes, hidden_size=4))
    answers.train(training)
    failing_length(answers, words, words=2, limit=8)
    assert all(part.training is training for part in answers.modules())
    with pytest.raises(ValueError, match="`length` must be at least 1"):
        evaluate(answers, words, length=0)
    assert all(part.training is training for part in answers.modules())
    assert surroundings()["threads"] == before["threads"]


def test_a_launcher_gives_the_handlers_of_signals_back(monkeypatch):
    """The launcher of torch installs its own, which would end a later run with an error of theirs."""
    before = {number: signal.getsignal(number) for number in ENDING}

    def start(config, entrypoint):
        def run(*arguments):
            for number in ENDING:
                signal.signal(number, signal.SIG_IGN)

        return run

    monkeypatch.setattr(api, "elastic_launch", start)
    assert launch(["list"], 2) == 0
    assert {number: signal.getsignal(number) for number in ENDING} == before
