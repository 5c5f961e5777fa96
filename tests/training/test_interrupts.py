"""Ctrl-C ends a run after its step, with a checkpoint; a second one ends it at once; handlers are given back."""

import dataclasses
import os
import signal
import threading

import pytest

from remanent import ModelConfig
from remanent.distributed.ranks import Ranks
from remanent.tasks import CopyFirst
from remanent.training import Experiment, TrainingConfig, resume_run, start_run
from remanent.training.experiment import ExperimentModule
from remanent.training.interrupts import RELAY, Interrupted, heeding_interrupts

RUN = Experiment(
    CopyFirst(steps=20),
    ModelConfig(input_size=1, output_size=1, hidden_size=4),
    TrainingConfig(steps=9, batch_size=4, checkpoint_every=6, threads=1),
)


def signals_at(monkeypatch, signals):
    """Has signals come in the forward pass of the steps that are given, counted from 1."""
    loss, calls = CopyFirst.loss, []

    def signalled(self, output, target):
        calls.append(1)
        for number in signals.get(len(calls), ()):
            os.kill(os.getpid(), number)
        return loss(self, output, target)

    monkeypatch.setattr(CopyFirst, "loss", signalled)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    start_run(RUN, folder, progress=False)
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(autouse=True)
def handler_of_python():
    """A shell lets what it starts in the background ignore Ctrl-C, and so the tests, which are about Python's own."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("step", "checkpoints"), [(3, [3]), (6, [6]), (8, [6, 8])])
def test_ctrl_c_ends_a_run_after_its_step_with_a_checkpoint(tmp_path, monkeypatch, whole, step, checkpoints):
    signals_at(monkeypatch, {step: [signal.SIGINT]})
    folder = tmp_path / "run"
    message = f"after step {step} of 9; resume with `remanent train --resume {folder}`"
    with pytest.raises(KeyboardInterrupt) as raised:
        start_run(RUN, folder, progress=False)
    assert str(raised.value) == message
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sorted(path.name for path in (folder / "checkpoints").glob("*.ckpt")) == [
        f"step-{n}.ckpt" for n in checkpoints
    ]
    resume_run(folder, progress=False)
    assert (folder / "model.safetensors").read_bytes() == whole


def test_ctrl_c_in_the_last_step_leaves_a_finished_run(tmp_path, monkeypatch, whole):
    signals_at(monkeypatch, {9: [signal.SIGINT]})
    with pytest.raises(KeyboardInterrupt, match=r"after the last step; .*run is finished"):
        start_run(RUN, tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == whole
    resume_run(tmp_path / "run", progress=False)


def test_a_second_ctrl_c_ends_a_run_at_once(tmp_path, monkeypatch, capfd):
    signals_at(monkeypatch, {8: [signal.SIGINT, signal.SIGINT]})
    with pytest.raises(KeyboardInterrupt, match=r"^- resume with `remanent train --resume"):
        start_run(RUN, tmp_path / "run", progress=True)
    assert "the run ends after this step, with a checkpoint; Ctrl-C again ends it at once" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt")] == ["step-6.ckpt"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_a_launcher_passes_on_is_no_second_ctrl_c(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("remanent.training.interrupts.time.monotonic", lambda: now[0])
    module = ExperimentModule(RUN)
    with heeding_interrupts(module, Ranks(rank=1, size=2), said=True):
        for seconds in (0.0, RELAY / 2):
            now[0] = 100.0 + seconds
            signal.raise_signal(signal.SIGINT)
        assert module.signalled == signal.SIGINT
        now[0] = 100.1 + RELAY
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("usual", [signal.SIG_IGN, lambda *_: None], ids=["ignored", "a handler of the user's"])
def test_a_program_that_handles_ctrl_c_itself_goes_on_doing_so(usual):
    before = signal.signal(signal.SIGINT, usual)
    try:
        with heeding_interrupts(ExperimentModule(RUN), Ranks(), said=False):
            assert signal.getsignal(signal.SIGINT) is usual
        assert signal.getsignal(signal.SIGINT) is usual
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_of_the_main_thread_no_handler_is_set(tmp_path):
    short = dataclasses.replace(RUN, training=dataclasses.replace(RUN.training, steps=1))
    thread = threading.Thread(target=start_run, args=(short, tmp_path / "run"), kwargs={"progress": False})
    thread.start()
    thread.join()
    assert (tmp_path / "run" / "model.json").exists()
