"""Runs whose folders lie on storage that machines share: another machine resumes them, and none is done twice."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from cases import rarely
from remanent.cli import main
from remanent.records.record import RECORD_FILE
from remanent.sweep.combinations import GridRun
from remanent.sweep.grid import GridOptions, run_grid
from remanent.sweep.jobs import Job, failure, work
from remanent.sweep.storage import Storage
from remanent.sweep.workers import Ended
from remanent.training import resume_run, start_run
from remanent.training.variants import Variant, experiment_for

CHANGES = {
    "task.steps": 2,
    "model.hidden_size": 4,
    "training.steps": 20,
    "training.batch_size": 2,
    "training.checkpoint_every": 5,
}
RUN = GridRun("copy-first", CHANGES, experiment_for("copy-first", "bmru", 0, CHANGES))


@pytest.fixture(params=["memory", "file"])
def address(request, tmp_path):
    """Of a place on two kinds of storage: one of whose paths are no files of this machine."""
    return f"memory://{uuid.uuid4().hex}/run" if request.param == "memory" else str(tmp_path / "storage" / "run")


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class BrokenOffError(Exception):
    """What a test ends a run with."""


def break_off(storage, after):
    """Copies, and breaks off after so many times."""
    copies = []

    def copy():
        storage.copy()
        copies.append(1)
        if len(copies) == after:
            raise BrokenOffError

    return copy


def test_another_machine_resumes_a_run_to_the_same_bits(tmp_path, address):
    start_run(RUN.experiment, tmp_path / "whole", progress=False)
    first = Storage(address, tmp_path / "a")
    assert not first.fetch()
    first.claim()
    with pytest.raises(BrokenOffError):
        start_run(RUN.experiment, tmp_path / "a", progress=False, after_checkpoint=break_off(first, 3))
    second = Storage(address, tmp_path / "b")
    second.claim()
    assert second.fetch()
    assert content(tmp_path / "b") == content(tmp_path / "a")
    index = json.loads((tmp_path / "b" / "checkpoints" / "index.json").read_text())
    assert index["checkpoints"][-1]["step"] == 15
    resume_run(tmp_path / "b", progress=False, after_checkpoint=second.copy)
    second.copy()
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "b")]
    assert weights[0] == weights[1]
    third = Storage(address, tmp_path / "c")
    assert third.fetch()
    assert content(tmp_path / "c") == content(tmp_path / "b")


def test_a_process_whose_run_was_taken_over_notices_and_writes_nothing(tmp_path, address):
    first = Storage(address, tmp_path / "a")
    first.claim()
    with pytest.raises(BrokenOffError):
        start_run(RUN.experiment, tmp_path / "a", progress=False, after_checkpoint=break_off(first, 2))
    second = Storage(address, tmp_path / "b")
    second.claim()
    with pytest.raises(OSError, match="another has taken the run over"):
        resume_run(tmp_path / "a", progress=False, after_checkpoint=first.copy)
    assert second.fetch()
    index = json.loads((tmp_path / "b" / "checkpoints" / "index.json").read_text())
    assert index["checkpoints"][-1]["step"] == 10


def test_a_copy_that_breaks_off_leaves_what_the_index_lists(tmp_path, address, monkeypatch):
    storage = Storage(address, tmp_path / "a")
    storage.claim()
    pipe, written = storage.files.pipe_file, []

    def limited(path, value):
        written.append(path)
        if len(written) > 9:
            raise OSError("the network is gone")
        pipe(path, value)

    with monkeypatch.context() as network:
        network.setattr(storage.files, "pipe_file", limited)
        with pytest.raises(OSError, match="the network is gone"):
            start_run(RUN.experiment, tmp_path / "a", progress=False, after_checkpoint=storage.copy)
    assert any("step-10.ckpt" in path for path in written)
    other = Storage(address, tmp_path / "b")
    other.claim()
    assert other.fetch()
    resume_run(tmp_path / "b", progress=False)
    start_run(RUN.experiment, tmp_path / "whole", progress=False)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "b")]
    assert weights[0] == weights[1]


def test_half_a_file_of_one_that_broke_off_is_cleared_away(tmp_path, address):
    storage = Storage(address, tmp_path / "a")
    storage.claim()
    storage.files.pipe_file(f"{storage.root}/.config.json.{storage.mark}", b"{")
    storage.files.pipe_file(f"{storage.root}/.notes", b"the user's own")
    Storage(address, tmp_path / "b").claim()
    hidden = [Path(path).name for path in storage.files.find(storage.root) if Path(path).name.startswith(".")]
    assert hidden == [".notes"]


def test_a_working_copy_that_was_lost_deletes_no_checkpoint(tmp_path, address):
    storage = Storage(address, tmp_path / "a")
    storage.claim()
    places = [tmp_path / "a" / "checkpoints" / name for name in ("index.json", "step-1.ckpt", "step-2.ckpt")]
    places[0].parent.mkdir(parents=True)
    for path in places:
        path.write_text("{}")
    storage.files.makedirs(f"{storage.root}/checkpoints", exist_ok=True)
    storage.files.pipe_file(f"{storage.root}/checkpoints/best.ckpt", b"the user's own")
    storage.copy()
    places[1].unlink()
    storage.copy()
    kept = ["best.ckpt", "index.json", "step-2.ckpt"]
    assert sorted(Path(path).name for path in storage.files.find(f"{storage.root}/checkpoints")) == kept
    places[0].unlink()
    places[2].unlink()
    storage.copy()
    assert sorted(Path(path).name for path in storage.files.find(f"{storage.root}/checkpoints")) == kept


def job(tmp_path, address, **changes):
    values = {
        "variant": Variant("copy-first", CHANGES),
        "config": RUN.experiment.to_dict(),
        "folder": str(tmp_path / "unused"),
        "results": str(tmp_path / "unused.jsonl"),
        "failing_limit": 4,
        "storage": address,
    }
    return Job(**(values | changes))


def test_a_job_leaves_its_record_on_the_storage_and_is_done_once(tmp_path, address, monkeypatch):
    assert work(job(tmp_path, address)) == 0
    record = Storage(address, tmp_path).read_record()
    assert (record.id, record.status) == (RUN.id, "done")
    assert [test.length for test in record.tests] == [2, 20, 200, 2000]
    assert not (tmp_path / "unused").exists()
    monkeypatch.setattr("remanent.training.run.start_run", None)
    assert work(job(tmp_path, address)) == 0
    assert Storage(address, tmp_path).read_record() == record


def test_a_job_that_is_resumed_counts_the_seconds_of_both(tmp_path, address, monkeypatch):
    real, seen = Storage.copy, []

    def copy(self):
        real(self)
        seen.append(self.folder)
        if len(seen) == 3:
            raise OSError("gone")

    monkeypatch.setattr(Storage, "copy", copy)
    with pytest.raises(OSError, match="gone"):
        work(job(tmp_path, address))
    Storage(address, tmp_path).write("seconds.json", {"seconds": 1000.0})
    assert work(job(tmp_path, address)) == 0
    record = Storage(address, tmp_path).read_record()
    assert 1000 < record.seconds.train < 1200


OUTSIDE = ["../outside.json", "checkpoints/../../outside.json", "/outside.json", "C:\\outside.json", "a\\..\\..\\b"]


@pytest.mark.parametrize("key", OUTSIDE)
def test_a_key_that_leaves_the_folder_is_refused(tmp_path, monkeypatch, key):
    storage = Storage(f"memory://{uuid.uuid4().hex}/run", tmp_path / "worker" / "run")
    storage.claim()
    storage.write("config.json", {})
    listed = [key if key.startswith("/") else f"{storage.root}/{key}", f"{storage.root}/config.json"]
    monkeypatch.setattr(storage.files, "find", lambda root: listed)
    monkeypatch.setattr(storage.files, "cat_file", lambda path: b"{}")
    with pytest.raises(ValueError, match=r"/run must list files inside it alone, got '.*(outside\.json|b)'"):
        storage.fetch()
    assert not list(tmp_path.rglob("*.json"))
    assert not list(tmp_path.rglob("b"))


def test_only_parts_of_files_that_a_killed_process_left_are_removed(tmp_path):
    storage = Storage(str(tmp_path / "run"), tmp_path)
    storage.claim()
    (tmp_path / "run" / ".notes").write_text("mine")
    (tmp_path / "run" / f".model.json.{storage.mark}").write_text("{")
    storage.claim()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".notes", "owner.json"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("record.json", b"[]"),
        ("record.json", b"\xff"),
        ("record.json", b"{}"),
        ("owner.json", b"5"),
        ("seconds.json", b'{"seconds": "1"}'),
        ("seconds.json", b"[1]"),
    ],
)
def test_a_file_of_another_shape_is_named(tmp_path, name, content):
    storage = Storage(str(tmp_path / "run"), tmp_path)
    storage.claim()
    (tmp_path / "run" / name).write_bytes(content)
    read = {"record.json": storage.read_record, "owner.json": storage.copy, "seconds.json": storage.read_seconds}[name]
    with pytest.raises(ValueError, match=rf"{name} must "):
        read()


def test_a_wrong_record_on_the_storage_fails_its_own_run_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = GridOptions(Path("results.jsonl"), Path("runs"), workers=1, storage="storage", retries=0)
    other = GridRun("copy-first", CHANGES, experiment_for("copy-first", "bmru", 1, CHANGES))
    failed = failure(job(tmp_path, ""), "by hand").to_dict() | {"id": other.id}
    for run, text in ((RUN, "[]"), (other, json.dumps(failed))):
        (tmp_path / "storage" / run.name).mkdir(parents=True)
        (tmp_path / "storage" / run.name / RECORD_FILE).write_text(text)
    monkeypatch.setattr("remanent.sweep.grid.make_workers", lambda *others: AtOnce())
    assert run_grid([RUN, other], options, progress=False) == (0, 2, 0, 0)
    first, second = (json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines())
    assert (first["id"], second["id"], second["error"]) == (RUN.id, other.id, "by hand")
    assert first["error"].endswith("record.json must hold a JSON object, got '[]'")


class AtOnce:
    """Workers that find every run done as soon as it is begun."""

    def __init__(self):
        self.keys = []

    def room(self):
        return 1

    def start(self, key, job):
        self.keys.append(key)

    def ended(self, seconds):
        done, self.keys = self.keys, []
        return [Ended(key, 0, "") for key in done]

    def close(self):
        assert not self.keys


def test_a_run_that_failed_is_done_again_where_that_is_asked_for(tmp_path, address):
    broken = job(tmp_path, address)
    Storage(address, tmp_path).write(RECORD_FILE, failure(broken, "it exploded").to_dict())
    assert work(broken) == 0
    assert Storage(address, tmp_path).read_record().status == "failed"
    assert work(dataclasses.replace(broken, known=1)) == 0
    assert Storage(address, tmp_path).read_record().status == "done"


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("nowhere://bucket", "`storage` must be an address that fsspec reads, got 'nowhere://bucket'"),
        ("s3://bucket", "`storage` must have its package installed, got 's3://bucket': Install s3fs"),
    ],
)
def test_an_unknown_storage_is_refused_before_anything_is_done(tmp_path, monkeypatch, capsys, storage, message):
    monkeypatch.chdir(tmp_path)
    if importlib.util.find_spec("s3fs") is not None and "s3fs" in message:
        pytest.skip("s3fs is installed")
    assert main(["grid", "--task", "copy-first", "--storage", storage]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_gpus_are_a_number_that_ray_hands_out(monkeypatch):
    with pytest.raises(ValueError, match=r"`gpus` must be in \[0, inf\), got -1"):
        GridOptions(gpus=-1)
    monkeypatch.setattr("remanent.sweep.grid.has_ray", lambda: False)
    with pytest.raises(ValueError, match=r"`--gpus` needs Ray, pip install \"remanent\[cluster\]\", got 0.5"):
        GridOptions(gpus=0.5)


SET = ["task.steps=2", "model.hidden_size=4", "training.batch_size=2", "training.checkpoint_every=5"]


def grid(*arguments):
    return [sys.executable, "-m", "remanent", "grid", "--task", "copy-first", "--set", *SET, *arguments]


def eventually(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def newest(storage):
    """The highest step of the runs' checkpoints."""
    steps = [0]
    for path in Path(storage).glob("*/checkpoints/index.json"):
        with contextlib.suppress(ValueError, OSError):
            steps.append(json.loads(path.read_text())["checkpoints"][-1]["step"])
    return max(steps)


def check_each_once(tmp_path, count):
    lines = [json.loads(line) for line in (tmp_path / "results" / "grid.jsonl").read_text().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines) == count
    assert {line["status"] for line in lines} == {"done"}
    folders = list((tmp_path / "storage").iterdir())
    assert len(folders) == count
    for folder in folders:
        run = experiment_for("copy-first", "bmru", int(folder.name.split("-")[3]), CHANGES | {"training.steps": 400})
        start_run(run, tmp_path / "whole" / folder.name, progress=False)
        weights = (tmp_path / "whole" / folder.name / "model.safetensors").read_bytes()
        assert (folder / "model.safetensors").read_bytes() == weights


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")
@pytest.mark.parametrize("runs", [rarely(2)])
def test_a_grid_on_storage_is_resumed_when_its_process_and_then_itself_is_killed(tmp_path, runs):
    command = grid("training.steps=400", "--storage", "storage", "--workers", "1", "--seed", f"0:{runs}")
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    eventually(lambda: newest(tmp_path / "storage") > 50)
    parents = {int(p.name): _parent(p) for p in Path("/proc").iterdir() if p.name.isdigit()}
    children = [pid for pid in parents if process.pid in (parents[pid], parents.get(parents[pid]))]
    worker = max(children)
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: newest(tmp_path / "storage") > 150)
    process.kill()
    said, _ = process.communicate()
    assert "the process was ended by SIGKILL; tried again" in said
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    check_each_once(tmp_path, runs)
    record = json.loads((tmp_path / "results" / "grid.jsonl").read_text().splitlines()[0])
    assert record["seconds"]["train"] > 0


def _parent(process):
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray, the extra `cluster`, is not installed")
@pytest.mark.parametrize("runs", [rarely(2)])
def test_when_its_node_dies_a_run_is_resumed_on_another_from_its_last_checkpoint(tmp_path, monkeypatch, runs):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "600")
    monkeypatch.setenv("RAY_health_check_period_ms", "500")  # a node that is silent for so long is dead
    monkeypatch.setenv("RAY_health_check_timeout_ms", "5000")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    process = None
    try:
        node = cluster.add_node(num_cpus=1, resources={"first": 1})
        where = ["--storage", "storage", "--address", cluster.address]
        command = grid("training.steps=400", *where, "--seed", f"0:{runs}")
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        eventually(lambda: newest(tmp_path / "storage") > 50)
        cluster.remove_node(node, allow_graceful=False)
        reached = newest(tmp_path / "storage")
        cluster.add_node(num_cpus=1, resources={"second": 1})
        said, _ = process.communicate(timeout=400)
        assert process.returncode == 0, said
        assert "tried again" in said
    finally:
        if process is not None:
            process.kill()
        cluster.shutdown()
    check_each_once(tmp_path, runs)
    assert reached > 50
    seeds = [json.loads(line)["seed"] for line in (tmp_path / "results" / "grid.jsonl").read_text().splitlines()]
    assert sorted(seeds) == list(range(runs))
