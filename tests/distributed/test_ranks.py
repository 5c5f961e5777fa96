"""Several processes train one run as one would have, whichever of them is killed, stopped, or told to leave."""

import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from cases import case_id, exhaustive, rarely
from helpers import with_traps
from remanent.cli import main
from remanent.distributed import Launch
from remanent.distributed.ranks import Ranks
from remanent.tasks import CopyFirst
from remanent.training import Experiment, TrainingConfig, resume_run, start_run
from remanent.training.data import StepBatches
from remanent.training.variants import experiment_for
from team import Team, together, train, train_in_float64, train_on_a_full_disk

pytestmark = pytest.mark.skipif(
    not dist.is_available() or sys.platform == "win32", reason="needs torch.distributed and signals"
)
SIZES = {"model.hidden_size": 16, "training.steps": 50, "training.batch_size": 8, "training.checkpoint_every": 20}


def experiment(recipe, unit, **changes):
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return experiment_for(recipe, unit, 0, SIZES | changes)


RUN = experiment("copy-first", "bmru+lru", task__steps=30, training__steps=120, model__dropout=0.1)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder):
    return torch.tensor([line["loss"] for line in lines(folder) if "loss" in line], dtype=torch.float64)


def scores(folder):
    names = {name for line in lines(folder) for name in line if name.startswith("validation_")}
    assert len(names) == 1
    return torch.tensor([line[name] for name in names for line in lines(folder) if name in line])


def assert_same_training(one, other, atol=1e-5):
    torch.testing.assert_close(losses(one), losses(other), rtol=0, atol=atol)
    torch.testing.assert_close(scores(one), scores(other), rtol=0, atol=atol)
    weights, others = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, others[name], rtol=0, atol=1e-3, msg=name)


def assert_equal_bits(one, other):
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert lines(one) == lines(other)


@pytest.fixture
def float64():
    """Numbers of double precision, where rounding hides nothing."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def seconds_used(rank):
    return time.process_time()


def test_processes_of_tests_start_with_everything_imported():
    """Else each of some hundred would import torch and Lightning by itself, for five seconds."""
    assert together(1, seconds_used)[0] < 1.5


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a run on one process, to the end; each run is trained once."""
    folders = {}

    def make(run):
        if run not in folders:
            folder = tmp_path_factory.mktemp("alone") / "run"
            start_run(run, folder, progress=False)
            folders[run] = folder
        return folders[run]

    return make


class Finished(NamedTuple):
    folder: Path
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """RUN on two processes, to the end, and how long it took."""
    folder, began = tmp_path_factory.mktemp("undisturbed") / "run", time.monotonic()
    assert together(2, train, RUN.to_dict(), folder, {}) == ["done"] * 2
    return Finished(folder, time.monotonic() - began)


LAUNCHES = [(2, {"strategy": "ddp"}), (2, {"time_shards": 2}), (4, {"time_shards": 2, "strategy": "fsdp"})]
TRAINED = [
    experiment("copy-first", "cmru", task__steps=41),  # an answer after the last step
    experiment("denoising", "lru", task__steps=211),  # values asked for at the last steps: not in every shard
    experiment("parity", "bmru+min_gru", task__steps=33),  # classes at every step
    experiment("copy-first", "alpha_cmru", task__steps=29, model__clock="sinusoid", model__head="mean"),
    experiment(  # everything that helps a latch to learn
        "parity",
        "bmru+alpha_bmru",
        task__steps=33,
        model__gate_norm="batch",
        model__conv_size=4,
        training__write_rates=True,
        training__curriculum_start=5,
        training__curriculum_steps=4,
        training__length_jitter=1.5,
    ),
]
ALIKE = [
    pytest.param(*launch, run, marks=() if (i, j) in ((0, 0), (2, 1), (1, 2), (1, 3)) else exhaustive)
    for i, launch in enumerate(LAUNCHES)
    for j, run in enumerate(TRAINED)
]


@pytest.mark.parametrize(
    ("size", "launch", "run"),
    ALIKE,
    ids=lambda v: f"{v.task.name}-{v.model.unit}" if isinstance(v, Experiment) else None,
)
def test_several_processes_train_what_one_does(tmp_path, float64, run, size, launch):
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, steps=25))
    start_run(run, tmp_path / "one", progress=False)
    assert together(size, train_in_float64, run.to_dict(), tmp_path / "several", launch) == ["done"] * size
    assert_same_training(tmp_path / "one", tmp_path / "several", atol=1e-8)
    versions = json.loads((tmp_path / "several" / "versions.json").read_text())
    assert versions["processes"] == size
    assert versions["time_shards"] == launch.get("time_shards", 1)


@pytest.mark.parametrize(
    ("unit", "launch"),
    [
        pytest.param("bmru", {}, id="bmru-ddp"),
        pytest.param("bmru+lru", {"strategy": "fsdp"}, id="bmru+lru-fsdp"),
        pytest.param("bmru", {"time_shards": 2}, id="bmru-time"),
        pytest.param("bmru+lru", {}, id="bmru+lru-ddp", marks=exhaustive),
        pytest.param("bmru", {"strategy": "fsdp"}, id="bmru-fsdp", marks=exhaustive),
        pytest.param("bmru+lru", {"time_shards": 2}, id="bmru+lru-time", marks=exhaustive),
    ],
)
def test_two_processes_give_the_losses_of_one_in_float32(tmp_path, alone, unit, launch):
    run = experiment("copy-first", unit, task__steps=100)
    assert together(2, train, run.to_dict(), tmp_path / "several", launch) == ["done"] * 2
    assert len(losses(tmp_path / "several")) == 50
    assert_same_training(alone(run), tmp_path / "several", atol=1e-5)


@pytest.mark.parametrize("unit", ["fq_bmru", "min_lstm"])
def test_every_unit_whose_time_is_shared_trains_alike(tmp_path, float64, unit):
    run = experiment("copy-first", unit, task__steps=41, training__steps=20)
    start_run(run, tmp_path / "one", progress=False)
    assert together(2, train_in_float64, run.to_dict(), tmp_path / "several", {"time_shards": 2}) == ["done"] * 2
    assert_same_training(tmp_path / "one", tmp_path / "several", atol=1e-8)


def test_a_sequence_shorter_than_the_processes_leaves_some_without_a_step(tmp_path, float64):
    run = experiment("copy-first", "bmru+lru", task__steps=3, training__steps=20)
    start_run(run, tmp_path / "one", progress=False)
    assert together(4, train_in_float64, run.to_dict(), tmp_path / "several", {"time_shards": 4}) == ["done"] * 4
    assert_same_training(tmp_path / "one", tmp_path / "several", atol=1e-8)


def test_each_process_draws_its_part_of_the_batch_alone(tmp_path, monkeypatch):
    parts = dataclasses.replace(RUN.training, batch_parts=4)
    drawn = []
    batch = CopyFirst.batch
    monkeypatch.setattr(CopyFirst, "batch", lambda self, size, g: drawn.append(size) or batch(self, size, g))
    whole = StepBatches(RUN.task, parts, 0, 9, Ranks())[5]
    assert drawn == [2, 2, 2, 2]
    assert len(whole[0].unique(dim=0)) == 8
    for place, expected in (((0, 2), 2), ((1, 2), 2), ((1, 3), 2), ((3, 8), 1)):
        drawn.clear()
        ranks = Ranks(data=place)
        x, y, seed = StepBatches(RUN.task, parts, 0, 9, ranks)[5]
        rows = ranks.rows(8)
        assert torch.equal(x, whole[0][rows.start : rows.stop])
        assert torch.equal(y, whole[1][rows.start : rows.stop])
        assert seed == whole[2]
        assert len(drawn) == expected
    run = dataclasses.replace(RUN, training=dataclasses.replace(parts, steps=20), model=no_dropout())
    monkeypatch.undo()
    start_run(run, tmp_path / "one", progress=False)
    assert together(2, train, run.to_dict(), tmp_path / "several", {}) == ["done"] * 2
    assert_same_training(tmp_path / "one", tmp_path / "several")


def no_dropout():
    return dataclasses.replace(RUN.model, dropout=0.0)


def test_no_process_drops_what_another_drops(alone, undisturbed):
    assert not torch.allclose(losses(alone(RUN)), losses(undisturbed.folder))


def wait_for_steps(folder, count):
    path = folder / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not (path.exists() and path.read_text().count("learning_rate") >= count):
        time.sleep(0.002)


@pytest.mark.parametrize("rank", [0, 1])
def test_sigterm_to_any_process_writes_a_checkpoint_and_all_leave(tmp_path, undisturbed, rank):
    folder = tmp_path / "run"
    team = Team(2, train, RUN.to_dict(), folder, {})
    wait_for_steps(folder, 27)
    team.send(rank, signal.SIGTERM)
    outcomes = team.outcomes()
    team.close()
    index = json.loads((folder / "checkpoints" / "index.json").read_text())
    step = index["checkpoints"][-1]["step"]
    assert 27 <= step < 120
    words = f"by SIGTERM after step {step} of 120; resume with `remanent train --resume {folder} --devices 2`"
    assert outcomes == [("Terminated", words)] * 2
    assert len(losses(folder)) == step
    assert together(2, train, RUN.to_dict(), folder, {}) == ["done"] * 2
    assert_equal_bits(folder, undisturbed.folder)


@exhaustive
def test_a_run_goes_on_with_other_numbers_of_processes_and_strategies(tmp_path):
    # in float32 the number of processes changes the rounding: from this start it flips no gate
    model = dataclasses.replace(no_dropout(), write_span=None)
    training = dataclasses.replace(RUN.training, write_rates=False)
    run = dataclasses.replace(RUN, model=model, training=training)
    start_run(run, tmp_path / "one", progress=False)
    folder = tmp_path / "run"
    shares = ((2, {}, 15), (2, {"strategy": "fsdp"}, 35), (4, {"time_shards": 2}, 55), (2, {}, 75))
    for size, launch, until in shares:
        team = Team(size, train, run.to_dict(), folder, launch)
        wait_for_steps(folder, until)
        team.send(size - 1, signal.SIGTERM)
        assert {name for name, _ in team.outcomes()} == {"Terminated"}
        team.close()
    resume_run(folder, progress=False)
    assert_same_training(folder, tmp_path / "one", atol=1e-4)


@pytest.mark.parametrize(("seed", "count"), [(0, 3), rarely(1, 10), rarely(2, 7)])
def test_killed_at_twenty_random_moments_a_run_ends_with_the_same_weights(tmp_path, undisturbed, seed, count):
    """Twenty in all: three of them in `make test`."""
    folder, draw = tmp_path / "run", random.Random(seed)
    kills = 0
    while kills < count:
        team = Team(2, train, RUN.to_dict(), folder, {})
        victim = draw.randrange(2)
        time.sleep(draw.uniform(0, undisturbed.seconds))
        team.send(victim, signal.SIGKILL)
        outcomes = team.outcomes(grace=10.0)
        team.close()
        kills += 1
        if (folder / "model.json").exists():  # killed too late: from the beginning
            assert_equal_bits(folder, undisturbed.folder)
            folder.rename(tmp_path / f"done-{kills}")
            continue
        assert "done" not in outcomes
        assert outcomes[victim] == -signal.SIGKILL
    assert together(2, train, RUN.to_dict(), folder, {}) == ["done"] * 2
    assert_equal_bits(folder, undisturbed.folder)


def test_the_others_name_a_process_that_was_lost_and_end(tmp_path):
    folder = tmp_path / "run"
    team = Team(2, train, RUN.to_dict(), folder, {})
    wait_for_steps(folder, 5)
    team.send(1, signal.SIGKILL)
    (name, words), status = team.outcomes()
    team.close()
    assert status == -signal.SIGKILL
    assert name == "RuntimeError"
    assert words.startswith("rank 1 was lost or stopped in step ")
    assert words.endswith(f"; resume with `remanent train --resume {folder} --devices 2`")


def stop_by(how, rank, config, folder, launch, capture):
    """Trains, and hangs rank 1 in a step: by a signal, or in its data."""
    sys.stderr = (capture / f"{rank}").open("w")
    draw = CopyFirst.batch

    def hang(self, size, generator):
        if (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").read_text().count("learning_rate") > 20:
            signal.raise_signal(signal.SIGSTOP) if how == "stopped" else time.sleep(1000)
        return draw(self, size, generator)

    if rank == 1:
        CopyFirst.batch = hang
    return train(rank, config, folder, launch)


def hang_stopped(rank, *arguments):
    return stop_by("stopped", rank, *arguments)


def hang_asleep(rank, *arguments):
    return stop_by("asleep", rank, *arguments)


@pytest.mark.parametrize("hang", [hang_stopped, hang_asleep])
def test_a_process_that_hangs_ends_the_run_and_is_named(tmp_path, hang):
    folder = tmp_path / "run"
    team = Team(2, hang, RUN.to_dict(), folder, {"timeout": 4.0}, tmp_path)
    first = team.processes[0]
    first.join(200)
    team.close()
    assert first.exitcode == 70
    said = (tmp_path / "0").read_text()
    how = "lost or stopped" if hang is hang_stopped else "behind the others"
    assert said.startswith(f"remanent: error: rank 0: rank 1 was {how} in step 2")
    assert said.endswith(f": nothing moved for 4 s; resume with `remanent train --resume {folder} --devices 2`\n")


def test_a_loss_that_is_not_finite_on_one_process_stops_all(tmp_path):
    outcomes = together(2, poisoned, RUN.to_dict(), tmp_path / "run", {})
    assert {name for name, _ in outcomes} == {"FloatingPointError"}
    assert len({words for _, words in outcomes}) == 1
    assert "the loss must be finite, got nan in step 7 " in outcomes[0][1]


def poisoned(rank, *arguments):
    loss, calls = CopyFirst.loss, []

    def poison(self, output, target):
        calls.append(1)
        return loss(self, output, target) * (float("nan") if rank == 1 and len(calls) == 8 else 1)

    CopyFirst.loss = poison
    return train(rank, *arguments)


def test_a_full_disk_ends_all_processes(tmp_path):
    outcomes = together(2, train_on_a_full_disk, 40, RUN.to_dict(), tmp_path / "run", {})
    assert outcomes[0][0] == outcomes[1][0] == "OSError"
    assert outcomes[0][1].startswith("the checkpoint of step 40 must be written to ")
    assert outcomes[1][1] == outcomes[0][1] + " (on rank 0)"
    assert together(2, train, RUN.to_dict(), tmp_path / "run", {}) == ["done"] * 2


def unequal(rank, folder):
    config = dataclasses.replace(RUN, model=dataclasses.replace(RUN.model, hidden_size=16 if rank else 8))
    return train(rank, config.to_dict(), folder, {})


def launched_unlike(rank, folder):
    return train(rank, RUN.to_dict(), folder, {"time_shards": rank + 1})


def test_processes_that_were_given_different_runs_all_say_so(tmp_path):
    message = "every process must be given the same configuration, got model.hidden_size 8 on rank 0 and 16 on rank 1"
    assert together(2, unequal, tmp_path / "run") == [("ValueError", message)] * 2
    outcomes = together(2, launched_unlike, tmp_path / "run")
    assert all(words.startswith("every process must be launched alike, got Launch") for _, words in outcomes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("size", "run", "launch", "message"),
    [
        (2, RUN, {"time_shards": 3}, "`time_shards` must divide the number of processes, 2, got 3"),
        (2, RUN, {"devices": 3}, "`devices` must be the number of processes that were started, got 3 and 2 on"),
        (
            2,
            dataclasses.replace(RUN, training=dataclasses.replace(RUN.training, batch_size=1)),
            {},
            "`training.batch_size` must be at least 1 for each of the 2 processes, got 1",
        ),
        (
            2,
            dataclasses.replace(RUN, model=dataclasses.replace(RUN.model, unit="bmru,gru")),
            {"time_shards": 2},
            "`time_shards` must be 1 for a model of bmru,gru, whose time is not shared, got 2",
        ),
        (
            2,
            dataclasses.replace(RUN, model=dataclasses.replace(RUN.model, unit="attention")),
            {"time_shards": 2},
            "`time_shards` must be 1 for a model of attention, whose time is not shared, got 2",
        ),
    ],
)
def test_processes_that_do_not_fit_the_run_all_say_so(tmp_path, size, run, launch, message):
    for name, words in together(size, train, run.to_dict(), tmp_path / "run", launch):
        assert name == "ValueError"
        assert words.startswith(message)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_refused_on_every_process(tmp_path):
    (tmp_path / "mine").write_text("mine")
    outcomes = together(2, begin, tmp_path)
    assert outcomes[0][0] == outcomes[1][0] == "FileExistsError"
    assert all("the run's folder must not exist yet" in words for _, words in outcomes)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def begin(rank, folder):
    return start_run(RUN, folder, progress=False)


def test_a_process_that_does_not_see_the_folder_is_named(tmp_path):
    start_run(dataclasses.replace(RUN, training=dataclasses.replace(RUN.training, steps=5)), tmp_path / "run")
    outcomes = together(2, resume_elsewhere, tmp_path)
    assert outcomes[0] == ("FileNotFoundError", f"the run's folder must exist, got {tmp_path / 'none'} (on rank 1)")
    assert outcomes[1][0] == "FileNotFoundError"


def resume_elsewhere(rank, folder):
    return resume_run(folder / ("none" if rank else "run"), progress=False)


@pytest.mark.parametrize("change", ["another model", "a later version"])
def test_checkpoints_that_do_not_fit_are_refused_on_every_process(tmp_path, change):
    folder = tmp_path / "run"
    start_run(dataclasses.replace(RUN, training=dataclasses.replace(RUN.training, steps=20)), folder, progress=False)
    (folder / "model.json").unlink()
    index = folder / "checkpoints" / "index.json"
    if change == "another model":
        config = json.loads((folder / "config.json").read_text())
        config["model"]["hidden_size"] = 32
        (folder / "config.json").write_text(json.dumps(config))
        rule = "index.json must be of the run in config.json"
    else:
        index.write_text(json.dumps(json.loads(index.read_text()) | {"format": 2}))
        rule = "index.json must have the format 1 of this version, got 2"
    before = index.read_bytes()
    for name, words in together(2, train, {}, folder, {}):
        assert name == "ValueError"
        assert rule in words
    assert index.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"devices": 0}, ValueError, "`devices` must be at least 1, got 0"),
        ({"time_shards": 1.5}, TypeError, "`time_shards` must be an int, got 1.5"),
        ({"strategy": "dp"}, ValueError, "`strategy` must be one of ddp, fsdp, got 'dp'"),
        ({"timeout": 0}, ValueError, r"`timeout` must be in \(0, inf\), got 0"),
        ({"accelerator": "tpu"}, ValueError, "`accelerator` must be one of cpu, gpu, got 'tpu'"),
    ],
)
def test_bad_launches_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        Launch(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_must_be_there():
    with pytest.raises(ValueError, match="`accelerator` must be cpu where torch finds no GPU, got gpu"):
        Launch(accelerator="gpu")


def test_parts_must_divide_the_batch():
    with pytest.raises(ValueError, match="`batch_parts` must divide `batch_size`, 64, got 5"):
        TrainingConfig(batch_parts=5)


FLAGS = ["--task.steps=30", "--model.hidden_size=8", "--training.batch_size=4", "--training.threads=1"]


def command(*arguments):
    return [sys.executable, "-P", "-m", "remanent", "train", *arguments]


def commanded(rank, said, alone, *arguments):
    """Runs `remanent train` as a process that a launcher started, or as the only one; its words go into a folder."""
    if alone:
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            del os.environ[name]
    sys.stdout, sys.stderr = ((said / f"{rank}.{name}").open("w", buffering=1) for name in ("out", "err"))
    return main(["train", *arguments])


def test_one_process_heeds_sigterm_in_the_middle_of_an_epoch(tmp_path):
    flags = [*FLAGS, "--training.steps=300", "--training.checkpoint_every=100", "--quiet"]
    whole, folder = tmp_path / "whole", tmp_path / "run"
    team = Team(1, commanded, tmp_path, True, "copy-first", "--out", str(folder), *flags)
    wait_for_steps(folder, 130)
    team.send(0, signal.SIGTERM)
    assert team.outcomes() == [143]
    team.close()
    step = len(losses(folder))
    assert 130 <= step < 300
    assert step % 100, "the signal came at the end of an epoch, by chance"
    words = f"remanent: ended by SIGTERM after step {step} of 300; resume with `remanent train --resume {folder}`\n"
    assert (tmp_path / "0.err").read_text() == words
    run = Experiment.from_dict(json.loads((folder / "config.json").read_text()))
    start_run(run, whole, progress=False)
    resume_run(folder, progress=False)
    assert_equal_bits(folder, whole)


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        rarely(signal.SIGTERM, 143, "ended by SIGTERM"),
        rarely(signal.SIGINT, 130, "interrupted"),
    ],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_the_command_starts_its_processes_itself_and_passes_a_signal_on(tmp_path, number, status, words):
    folder = tmp_path / "run"
    flags = [*FLAGS, "--training.steps=60", "--training.checkpoint_every=20", "--quiet"]
    process = subprocess.Popen(
        command("copy-first", "--out", str(folder), *flags, "--devices", "2"),
        stderr=subprocess.PIPE,
        text=True,
        cwd=with_traps(tmp_path),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a shell's background processes ignore
    )
    wait_for_steps(folder, 5)
    process.send_signal(number)
    _, said = process.communicate(timeout=200)
    assert process.returncode == status
    step = len(losses(folder))
    assert (folder / "checkpoints" / f"step-{step}.ckpt").is_file()
    advice = f"{words} after step {step} of 60; resume with `remanent train --resume {folder} --devices 2`"
    assert sorted(said.splitlines()) == [f"remanent: rank {rank}: {advice}" for rank in range(2)]
    resumed = ("--resume", str(folder), "--devices", "2", "--time-shards", "2", "--quiet")
    assert together(2, commanded, tmp_path, False, *resumed) == [0, 0]  # what a launcher starts, without its imports
    end = f"{folder} is finished; score it with `remanent evaluate {folder}`.\n"
    assert [(tmp_path / f"{rank}.out").read_text() for rank in range(2)] == [end, ""]
    assert len(losses(folder)) == 60
    assert json.loads((folder / "record.json").read_text())["recipe"] == "copy-first"


@exhaustive
def test_processes_whose_launcher_is_killed_write_a_checkpoint_and_end(tmp_path):
    folder = tmp_path / "run"
    flags = [*FLAGS, "--training.steps=3000", "--training.checkpoint_every=1000", "--quiet"]
    words = command("copy-first", "--out", str(folder), *flags, "--devices", "2")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    wait_for_steps(folder, 5)
    with pytest.raises(RuntimeError, match=f"the run's folder must not be in use, got {re.escape(str(folder))}"):
        resume_run(folder, progress=False)
    process.kill()
    _, said = process.communicate(timeout=200)  # until the last process has ended
    step = len(losses(folder))
    assert step < 3000
    again = f"resume with `remanent train --resume {folder} --devices 2`"
    lines = [f"remanent: rank {rank}: ended by SIGTERM after step {step} of 3000; {again}" for rank in range(2)]
    assert sorted(line for line in said.splitlines() if "ended by" in line) == lines
    assert (folder / "checkpoints" / f"step-{step}.ckpt").is_file()
    assert not (folder / ".lock").exists()


def test_the_advice_repeats_how_a_run_was_shared_out():
    folder = Path("runs/my run")
    assert Launch().advice(folder, 1) == "resume with `remanent train --resume 'runs/my run'`"
    shared = Launch(devices=4, strategy="fsdp", time_shards=2, timeout=3)
    words = "remanent train --resume 'runs/my run' --devices 4 --strategy fsdp --time-shards 2"
    assert shared.advice(folder, 4) == f"resume with `{words}`"


def test_shares_of_time_that_do_not_fit_are_refused_before_a_process_starts(tmp_path, capsys):
    assert main(["train", "copy-first", "--out", str(tmp_path / "run"), "--devices=2", "--time-shards=3"]) == 2
    assert capsys.readouterr().err == "remanent: error: `--time-shards` must divide --devices, 2, got 3\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (json.JSONDecodeError("no value", "", 0), ValueError),
        (NotADirectoryError("no folder"), OSError),
        (FileExistsError("there"), FileExistsError),
        (FloatingPointError("nan"), RuntimeError),
    ],
    ids=case_id,
)
def test_an_error_on_one_process_is_of_its_nearest_kind_on_the_others(monkeypatch, error, kind):
    def fail():
        raise error

    said = []
    monkeypatch.setattr(Ranks, "gather", lambda self, value: said.append(value) or [("NoneType", "None"), value])
    with pytest.raises(type(error)):
        Ranks(rank=1, size=2).all_do(fail)
    monkeypatch.setattr(Ranks, "gather", lambda self, value: [value, *said])
    with pytest.raises(kind, match=re.escape(f"{error} (on rank 1)")) as raised:
        Ranks(rank=0, size=2).all_do(lambda: None)
    assert raised.type is kind


def test_more_devices_than_one_need_a_launcher_in_python(tmp_path):
    with pytest.raises(ValueError, match="`devices` must be the number of processes that were started, got 2 and none"):
        start_run(RUN, tmp_path / "run", launch=Launch(devices=2))
    assert not list(tmp_path.iterdir())
