"""A grid: what its runs are and are called, and that each is done once, whatever is killed."""

import contextlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from cases import exhaustive, rarely
from helpers import with_traps
from remanent import ModelConfig
from remanent._files import LOCKS
from remanent.cli import main
from remanent.sweep.combinations import combinations, read_choices
from remanent.sweep.grid import GridOptions
from remanent.sweep.workers import Ended, make_workers
from remanent.tasks import CopyFirst, Parity, SequentialImage
from remanent.tasks.metrics import METRICS
from remanent.training import RECIPES, Experiment, TrainingConfig, evaluate, failing_length, load_run
from remanent.training.outcome import grid_tests

SMALL = ["--set", "task.steps=2", "model.hidden_size=4", "training.batch_size=2", "training.checkpoint_every=5"]
GRID = ["grid", "--task", "copy-first", *SMALL, "--workers", "1"]
LONG = "training.steps=20"
HOLD = """
import time
from pathlib import Path
from remanent.training import run

def held(train):
    def wait():
        while Path(__file__).with_name("hold").exists():
            time.sleep(0.01)
    return lambda *given, **options: train(*given, **options | {"after_checkpoint": wait})

run.start_run, run.resume_run = held(run.start_run), held(run.resume_run)
"""
"""A module that keeps every run at a checkpoint until a file is deleted, so that a test can kill it there."""


def small(**choices):
    return read_choices(["task.steps=2", "model.hidden_size=4", *(f"training.{k}={v}" for k, v in choices.items())])


def records(folder):
    return [json.loads(line) for line in (folder / "results" / "grid.jsonl").read_text().splitlines()]


def test_what_is_tested_of_a_run():
    training = TrainingConfig()
    run = Experiment(CopyFirst(300), ModelConfig(1, 1), training)
    assert grid_tests(run) == [(300, 512), (3_000, 333), (30_000, 33), (300_000, 16)]
    attention = Experiment(CopyFirst(300), ModelConfig(1, 1, unit="bmru+attention"), training)
    assert grid_tests(attention) == [(300, 512), (3_000, 333)]
    long = Experiment(CopyFirst(20_000), ModelConfig(1, 1, unit="attention"), training)
    assert grid_tests(long) == [(20_000, 50)]
    unpadded = Experiment(SequentialImage(padding=0), ModelConfig(8, 10), training)
    assert grid_tests(unpadded) == [(0, 360)]
    text = RECIPES["characters"]()
    assert [length for length, _ in grid_tests(text)] == [256, 2_560, 25_600]  # a test part of 46,000 or so


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (Ended("a", -9, ""), "the process was ended by SIGKILL"),
        (Ended("a", 1, "OSError: no"), "the process ended with status 1, OSError: no"),
        (Ended("a", 3, ""), "the process ended with status 3"),
        (Ended("a", None, "WorkerCrashedError: lost"), "WorkerCrashedError: lost"),
    ],
)
def test_how_a_process_ended_in_words(ended, reason):
    assert ended.reason == reason


def test_only_runs_that_are_missing_are_done(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*GRID, "--seed", "0", "--set", "training.steps=2", "--dry-run"]) == 0
    assert "1 run, 1 of them missing" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert main([*GRID, "--seed", "0", "--set", "training.steps=2"]) == 0
    shown = capsys.readouterr().out
    assert "1 run: 1 done, 0 failed, 0 there already" in shown
    first = (tmp_path / "results" / "grid.jsonl").read_bytes()
    assert main([*GRID, "--seed", "0:2", "--set", "training.steps=2", "--quiet"]) == 0
    assert capsys.readouterr().out == "2 runs: 1 done, 0 failed, 1 there already; results/grid.jsonl has them.\n"
    assert (tmp_path / "results" / "grid.jsonl").read_bytes().startswith(first)
    assert [record["seed"] for record in records(tmp_path)] == [0, 1]
    record = records(tmp_path)[0]
    assert f"mean squared error {record['tests'][0]['score']:.4f} at 2" in shown
    experiment, model = load_run(tmp_path / "runs" / "grid" / f"copy-first-bmru-0-{record['id'][:8]}")
    check_record(record, experiment, model)


def check_record(record, experiment, model):
    assert record["config"] == experiment.to_dict()
    assert record["set"] == {
        "task.steps": 2,
        "model.hidden_size": 4,
        "training.batch_size": 2,
        "training.checkpoint_every": 5,
        "training.steps": 2,
    }
    expected = {"recipe": "copy-first", "unit": "bmru", "seed": 0, "status": "done", "error": None, "metric": "mse"}
    expected |= {"chance": 1.0, "length_name": "steps", "length": 2, "failing_length": None, "steps": 2}
    assert {key: record[key] for key in expected} == expected
    assert record["parameters"] == sum(p.numel() for p in model.parameters())
    assert [(t["length"], t["examples"]) for t in record["tests"]] == [(2, 512), (20, 512), (200, 512), (2000, 500)]
    validated = evaluate(model, experiment.task, split="validation")
    assert record["validation"] == {"length": 2, "examples": 512, "score": validated}
    for test in record["tests"][:2]:
        assert test["score"] == evaluate(model, experiment.task, length=test["length"])
    assert record["seconds"]["train"] > 0 < record["seconds"]["test"]
    assert {"commit", "packages", "python", "platform", "processor", "cores"} < set(record)
    assert record["metric"] in METRICS


def test_words_are_tested_for_their_failing_length(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = ["task.steps=2", "model.hidden_size=4", "training.steps=2", "training.batch_size=2"]
    assert main(["grid", "--task", "parity", "--quiet", "--workers", "1", "--failing-limit", "4", "--set", *tiny]) == 0
    (record,) = records(tmp_path)
    _, model = load_run(next(path for path in (tmp_path / "runs" / "grid").iterdir() if path.is_dir()))
    assert record["metric"] == "sequence_accuracy"
    assert record["failing_length"] == failing_length(model, Parity(steps=2), limit=4)


def test_without_ray_several_runs_are_processes_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("remanent.sweep.workers.has_ray", lambda: False)
    assert [make_workers(count, 1, 0, None).room() for count in (None, 1, 4)] == [1, 1, 4]
    assert main([*GRID[:-1], "2", "--seed", "0:3", "--set", "training.steps=2"]) == 0
    check_each_once(tmp_path, 3)
    assert capsys.readouterr().out.count(": mean squared error ") == 3


@exhaustive
def test_a_grid_executes_no_file_of_the_working_directory(tmp_path):
    command = [sys.executable, "-P", "-m", "remanent", *GRID, "--set", "training.steps=2", "--quiet"]
    done = subprocess.run(command, cwd=with_traps(tmp_path), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 done" in done.stdout


def test_a_cluster_needs_ray(monkeypatch):
    monkeypatch.setattr("remanent.sweep.grid.has_ray", lambda: False)
    with pytest.raises(ValueError, match=r"`--address` needs Ray, pip install \"remanent\[cluster\]\", got 'auto'"):
        GridOptions(address="auto")


def test_a_loss_that_is_not_finite_fails_the_run_and_only_when_asked_is_it_done_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [*GRID, "--unit", "gru", "--set", "training.steps=4", "training.learning_rate=1e30"]
    assert main([*arguments, "training.warmup=0"]) == 1
    assert "failed, FloatingPointError: the loss must be finite, got nan in step" in capsys.readouterr().out
    assert main([*arguments, "training.warmup=0"]) == 1
    assert "0 done, 0 failed, 1 there already" in capsys.readouterr().out
    assert len(records(tmp_path)) == 1
    assert main([*arguments, "training.warmup=0", "--retry-failed"]) == 1
    assert "0 done, 1 failed, 0 there already" in capsys.readouterr().out
    assert [record["status"] for record in records(tmp_path)] == ["failed", "failed"]
    record = records(tmp_path)[0]
    assert record["error"].startswith("FloatingPointError: the loss must be finite, got nan")
    assert (record["tests"], record["failing_length"]) == ([], None)


def test_a_broken_last_line_is_announced_and_its_run_is_measured_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [*GRID, "--seed", "0:2", "--set", "training.steps=2", "--quiet"]
    assert main(arguments) == 0
    path = tmp_path / "results" / "grid.jsonl"
    expected = records(tmp_path)
    weights = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("model.safetensors")}
    path.write_bytes(path.read_bytes()[:-100])
    assert main(arguments) == 0
    message = "a broken last line of results/grid.jsonl was moved to results/grid.jsonl.broken-1"
    assert message in capsys.readouterr().err
    for before, after in zip(expected, records(tmp_path), strict=True):
        assert after | {"seconds": None} == before | {"seconds": None}
        assert after["seconds"]["train"] == before["seconds"]["train"]
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("model.safetensors")} == weights


def test_a_folder_of_another_run_is_refused_and_nothing_is_done(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = combinations(["copy-first"], ["bmru"], [0], small(steps=2))[0]
    folder = tmp_path / "runs" / "grid" / run.name
    folder.mkdir(parents=True)
    arguments = ["grid", "--task", "copy-first", "--set", "task.steps=2", "model.hidden_size=4", "training.steps=2"]
    assert main(arguments) == 2
    assert f"{run.name} must hold the run {run.name}, got `config.json` must be a file" in capsys.readouterr().err
    (folder / "config.json").write_text(json.dumps(RECIPES["copy-first"]().to_dict()))
    assert main(arguments) == 2
    assert f"must hold the run {run.name}, got one of another configuration; move it away" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


FORKS = """
import json, multiprocessing, os, signal, sys
import remanent.sweep.grid
from remanent.cli import main
from remanent.sweep.workers import IMPORTED_LATE

for name in IMPORTED_LATE:  # as the server of the runs does
    __import__(name)
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell has its background processes ignore
for line in sys.stdin:
    folder, arguments, server = json.loads(line)
    if folder is None:
        print(os.waitstatus_to_exitcode(os.waitpid(arguments, 0)[1]), flush=True)
        continue
    pid = os.fork()
    if pid == 0:
        os.chdir(folder)
        if not server:
            real = multiprocessing.get_context
            multiprocessing.get_context = lambda kind: real("fork")
            multiprocessing.get_all_start_methods = lambda: ["fork"]
        for handle, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT), handle)
        status = main(arguments)
        sys.stdout.flush()
        os._exit(status)
    print(pid, flush=True)
"""


class Forks:
    """Grids that begin at once, since they are forked from a process that has imported everything.

    Their runs are forked from them, and not from a server of their own, unless one is asked for.
    """

    def __init__(self, process):
        self.process = process

    def ask(self, folder, arguments, server=False):
        self.process.stdin.write(json.dumps([folder and str(folder), arguments, server]) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, folder, *arguments, server=False):
        held = ["--import", "held"] if (folder / "held.py").exists() else []
        return self.ask(folder, [*held, *GRID, *arguments], server)

    def wait(self, pid):
        return self.ask(None, pid)


@pytest.fixture(scope="module")
def forks():
    if not hasattr(os, "fork"):
        pytest.skip("the system has no fork")
    process = subprocess.Popen([sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield Forks(process)
    process.stdin.close()
    process.kill()  # to unload all that it has imported would take it seconds
    process.wait()
    process.stdout.close()


@pytest.fixture
def hold(tmp_path):
    """Runs that a test starts in its folder stay at their first checkpoint until this file is deleted."""
    (tmp_path / "held.py").write_text(HOLD)
    (tmp_path / "hold").touch()
    return tmp_path / "hold"


def eventually(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("it did not come about")


def checkpoints(folder):
    """The index of the checkpoints of every run that has one."""
    return list(folder.glob("runs/grid/copy*/checkpoints/index.json"))


def descendants(pid):
    """The living processes that a process has started, and those that they have."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            if state != "Z":
                parents[int(folder.name)] = int(parent)
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def is_over(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system has no /proc")


def check_each_once(folder, count):
    found = records(folder)
    assert Counter(Counter(record["id"] for record in found).values()) == {1: count}
    assert {record["status"] for record in found} == {"done"}
    assert (folder / "results" / "grid.jsonl").read_bytes().endswith(b"\n")


@pytest.mark.parametrize(("kills", "steps"), [(3, 20), rarely(10, 40)])
def test_a_grid_that_is_killed_many_times_does_each_run_once(tmp_path, forks, kills, steps):
    draw = random.Random(0)
    arguments = ["--seed", "0:3", "--unit", "bmru", "lru", "--set", f"training.steps={steps}", "--quiet"]
    for _ in range(kills):
        pid = forks.start(tmp_path, *arguments)
        time.sleep(draw.uniform(0.2, 2.5))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        assert forks.wait(pid) in (0, -signal.SIGKILL)
    assert forks.wait(forks.start(tmp_path, *arguments)) == 0
    check_each_once(tmp_path, 6)
    names = {path.name for path in (tmp_path / "runs" / "grid").iterdir()} - {LOCKS}
    assert len(names) == 6  # and nothing of runs that were cut off as they began, nor a lock that `runs/*` finds
    whole = tmp_path / "whole"
    whole.mkdir()
    assert forks.wait(forks.start(whole, *arguments)) == 0
    scores = [{r["id"]: r["tests"] for r in records(folder)} for folder in (tmp_path, whole)]
    assert scores[0] == scores[1]


def test_two_grids_at_once_share_the_work(tmp_path, forks):
    arguments = ["--seed", "0:4", "--set", "training.steps=20", "--quiet"]
    pids = [forks.start(tmp_path, *arguments) for _ in range(2)]
    assert [forks.wait(pid) for pid in pids] == [0, 0]
    check_each_once(tmp_path, 4)
    shown = (tmp_path / "out").read_text().splitlines()
    done = [int(line.split("runs: ")[1].split()[0]) for line in shown]
    assert sum(done) == 4
    assert all(done)


def test_a_grid_takes_over_what_another_had_claimed_when_it_is_killed(tmp_path, forks, hold):
    arguments = ["--seed", "0", "--set", LONG, "--quiet"]
    first = forks.start(tmp_path, *arguments)
    eventually(lambda: checkpoints(tmp_path))
    second = forks.start(tmp_path, *arguments)
    time.sleep(0.5)
    os.kill(first, signal.SIGKILL)
    assert forks.wait(first) == -signal.SIGKILL
    hold.unlink()
    assert forks.wait(second) == 0
    check_each_once(tmp_path, 1)
    assert "1 done, 0 failed, 0 there already" in (tmp_path / "out").read_text()


@NEEDS_PROC
def test_a_run_whose_process_is_killed_is_resumed_from_its_checkpoint(tmp_path, forks, hold):
    pid = forks.start(tmp_path, "--seed", "0", "--set", LONG)
    checkpoint = eventually(lambda: checkpoints(tmp_path))[0]
    os.kill(descendants(pid)[0], signal.SIGKILL)
    began = checkpoint.stat().st_mtime_ns
    hold.unlink()
    assert forks.wait(pid) == 0
    check_each_once(tmp_path, 1)
    assert "the process was ended by SIGKILL; tried again" in (tmp_path / "out").read_text()
    assert checkpoint.stat().st_mtime_ns > began
    assert (checkpoint.parents[1] / "resumed.json").exists()


@NEEDS_PROC
def test_a_run_whose_process_is_killed_too_often_has_failed(tmp_path, forks, hold):
    arguments = ["--seed", "0", "--set", LONG, "--retries"]
    pid = forks.start(tmp_path, *arguments, "1")
    killed = []
    for _ in range(2):
        child = eventually(lambda: [p for p in descendants(pid) if p not in killed])[0]
        killed.append(child)
        os.kill(child, signal.SIGKILL)
    assert forks.wait(pid) == 1
    record = records(tmp_path)[0]
    assert (record["status"], record["error"]) == ("failed", "the process was ended by SIGKILL")
    assert (record["tests"], record["seconds"]) == ([], {"train": 0.0, "test": 0.0})
    hold.unlink()
    assert forks.wait(forks.start(tmp_path, *arguments, "0", "--retry-failed")) == 0
    assert [record["status"] for record in records(tmp_path)] == ["failed", "done"]


@NEEDS_PROC
def test_ctrl_c_ends_the_grid_and_says_how_to_resume_it(tmp_path, forks, hold):
    arguments = ["--seed", "0", "--set", LONG, "--quiet"]
    pid = forks.start(tmp_path, *arguments)
    eventually(lambda: checkpoints(tmp_path))
    child = descendants(pid)[0]
    os.kill(pid, signal.SIGINT)
    assert forks.wait(pid) == 130
    assert "remanent: interrupted - the same command resumes the grid" in (tmp_path / "err").read_text()
    assert is_over(child)
    hold.unlink()
    assert forks.wait(forks.start(tmp_path, *arguments)) == 0
    check_each_once(tmp_path, 1)


@NEEDS_PROC
def test_when_the_grid_is_killed_its_processes_end_too(tmp_path, forks, hold):
    arguments = ["--seed", "0", "--set", LONG]
    pid = forks.start(tmp_path, *arguments, server=True)
    eventually(lambda: checkpoints(tmp_path))
    children = descendants(pid)
    assert children
    os.kill(pid, signal.SIGKILL)
    assert forks.wait(pid) == -signal.SIGKILL
    eventually(lambda: all(map(is_over, children)), 20)
    assert not (tmp_path / "results").exists()
    hold.unlink()
    assert forks.wait(forks.start(tmp_path, *arguments)) == 0
    check_each_once(tmp_path, 1)


COMMAND = [sys.executable, "-c", "import sys; from remanent.cli import main; sys.exit(main())"]


@pytest.fixture
def begin(tmp_path, hold):
    """Starts a grid; one that a failed test leaves behind is killed."""
    begun = []

    def start(*arguments):
        with (tmp_path / "out").open("a") as out:
            command = [*COMMAND, "--import", "held", *GRID[:-2], *arguments]
            patient = {"RAY_worker_register_timeout_seconds": "600"}  # 60 are too few on a busy machine
            path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
            env = os.environ | patient | path
            begun.append(subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out, env=env))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.wait()


@NEEDS_PROC
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray, the extra `cluster`, is not installed")
@exhaustive  # Ray starts twice; test_storage.py has another loss of a worker
def test_under_ray_each_run_is_done_once_when_a_worker_and_then_the_grid_are_killed(tmp_path, begin, hold):
    arguments = ["--workers", "2", "--seed", "0:3", "--set", LONG]
    process = begin(*arguments)

    def named(name):
        return [pid for pid in descendants(process.pid) if name in Path(f"/proc/{pid}/cmdline").read_bytes()]

    eventually(lambda: checkpoints(tmp_path))
    os.kill(named(b"ray::_work")[0], signal.SIGKILL)
    eventually(lambda: "tried again" in (tmp_path / "out").read_text())
    eventually(lambda: len(checkpoints(tmp_path)) >= 2)
    children = named(b"multiprocessing")  # Ray's own processes take their time
    assert children
    process.kill()
    assert process.wait() == -signal.SIGKILL
    eventually(lambda: all(map(is_over, children)), 60)
    hold.unlink()
    assert begin(*arguments).wait() == 0
    check_each_once(tmp_path, 3)
