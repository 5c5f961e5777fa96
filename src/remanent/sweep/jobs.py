"""One run of a grid in a process of its own: claimed, trained, tested, and appended to the results."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock, Timeout

from remanent._files import read_json, write_json
from remanent._memory import reuse_freed_memory
from remanent._plugins import import_modules
from remanent._results import append_record, read_records
from remanent.distributed.ranks import Launch
from remanent.models import SequenceModel
from remanent.models.sequence import CONFIG_FILE
from remanent.records.configuration import Experiment
from remanent.records.identity import identity
from remanent.sweep.storage import RECORD, SECONDS, Storage
from remanent.training.evaluate import evaluate, failing_length
from remanent.training.run import read_experiment, resume_run, start_run, versions

CLAIMED = 75
"""The exit status of a process that found its run claimed by another."""
FACTORS = (1, 10, 100, 1000)
"""How many times the training length is tested."""
STEPS = 1_000_000
"""About how many steps a test reads, in all its examples."""
FEWEST = 16
"""The examples of a test, at the least."""
ATTENTION_LENGTH, ATTENTION_LIMIT = 10_000, 4096
"""How long attention, whose cost grows with the square, is tested; and how long its words may be."""
WENT_ON = "went-on.json"


class Job(NamedTuple):
    """What a process is told.

    Attributes:
        recipe: the run's recipe.
        overrides: what was changed in it.
        config: the whole configuration.
        folder: of the run.
        results: the results file.
        known: how many lines of this run the results held when the grid began; with more, it is done.
        limit: how long words may get in the search of the failing length.
        modules: of the user, that register what the run is made of.
        storage: the address of the run's folder, where machines share it; None for `folder`.
        gpus: what the run was given of them.
    """

    recipe: str
    overrides: dict[str, Any]
    config: dict[str, Any]
    folder: str
    results: str
    known: int
    limit: int
    modules: tuple[str, ...] = ()
    storage: str | None = None
    gpus: float = 0


def work(job: Job) -> int:
    """Does a job, unless another process has claimed it or has done it.

    The claim is a lock that the system frees when this process dies, however it dies. The line is
    appended before the claim is given up, and by the process that holds it: whoever gets the claim next
    sees the line. So no run has two lines, whatever else is killed.

    Returns:
        The process's exit status: 0 when the results hold the run, `CLAIMED` if it is another's.
    """
    import_modules(job.modules)
    if job.storage is not None:
        return _work_on_storage(job, job.storage)
    claim = FileLock(claim_of(job.folder), timeout=0)
    try:
        claim.acquire()
    except Timeout:
        return CLAIMED
    with claim:
        reuse_freed_memory()
        results = Path(job.results)
        if sum(record.get("id") == identity(job.config) for record in read_records(results)) > job.known:
            return 0
        aside = append_record(results, _measured(job, Path(job.folder)))
        if aside is not None:
            print(f"a broken last line of {results} was moved to {aside}", file=sys.stderr)
    return 0


def _work_on_storage(job: Job, address: str) -> int:
    """Does a job in a folder of this machine that is copied to the storage, and leaves its record there.

    It is claimed by the grid, which appends the record to its results.
    """
    reuse_freed_memory()
    with tempfile.TemporaryDirectory(prefix="remanent-") as place:
        folder = Path(place) / "run"
        storage = Storage(address, folder)
        record = storage.read(RECORD)
        if record is not None and not (job.known and record["status"] == "failed"):
            return 0
        storage.claim()
        if storage.fetch():
            before = storage.read(SECONDS) or {"seconds": 0.0}
            write_json(folder / WENT_ON, {"seconds": before["seconds"], "began": time.time()})

        def copy() -> None:
            storage.copy()
            storage.write(SECONDS, {"seconds": _seconds(folder, "metrics.jsonl")})

        storage.write(RECORD, _measured(job, folder, copy))
    return 0


def claim_of(folder: str | Path) -> str:
    """The lock file of a run's folder, beside it."""
    return f"{folder}.lock"


def failure(job: Job, error: str, seconds: float = 0.0) -> dict[str, Any]:
    """The record of a run that failed."""
    record = _about(job, Experiment.from_dict(job.config))
    times = {"train": seconds, "test": 0.0}
    return record | {"status": "failed", "error": error, "seconds": times, **_versions()}


def tests_of(experiment: Experiment) -> list[tuple[int, int]]:
    """The lengths that a run is tested at, each with a number of examples."""
    task = experiment.task
    lengths = sorted({task.length * factor for factor in FACTORS})
    if task.longest is not None:
        lengths = [length for length in lengths if length <= task.longest]
    if "attention" in experiment.model.unit:
        lengths = [length for length in lengths if length <= max(task.length, ATTENTION_LENGTH)]
    size = task.split_size("test")
    return [(length, min(size, max(FEWEST, STEPS // max(length, 1)))) for length in lengths]


def commit() -> str | None:
    """The commit of the package's source, "-dirty" if it was changed; None outside a repository."""
    source = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not a repository that only lies around it
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _measured(job: Job, folder: Path, copy: Callable[[], None] | None = None) -> dict[str, Any]:
    """The record of a run; what would fail again is recorded, what a machine lacks is raised."""
    began = time.monotonic()
    try:
        launch = Launch(accelerator="gpu" if job.gpus else "cpu")
        model = _train(Experiment.from_dict(job.config), folder, launch, copy)
        if copy is not None:
            copy()
        experiment = read_experiment(folder)
        return _tested(job, experiment, model, _seconds(folder, CONFIG_FILE))
    except (OSError, MemoryError):
        raise
    except Exception as error:
        return failure(job, f"{type(error).__name__}: {error}", round(time.monotonic() - began, 2))


def _train(experiment: Experiment, folder: Path, launch: Launch, copy: Callable[[], None] | None) -> SequenceModel:
    """A new run, or the rest of one that was cut off."""
    for staged in folder.parent.glob(f".{folder.name}.*"):  # of one that was cut off as it began
        shutil.rmtree(staged)
    if not folder.exists():
        return start_run(experiment, folder, progress=False, launch=launch, after_checkpoint=copy)
    if identity(read_experiment(folder).to_dict()) != identity(experiment.to_dict()):
        raise ValueError(f"{folder} must hold this run, got one of another configuration")
    if not (folder / CONFIG_FILE).exists():
        write_json(folder / WENT_ON, {"seconds": _seconds(folder, "metrics.jsonl"), "began": time.time()})
    return resume_run(folder, progress=False, launch=launch, after_checkpoint=copy)


def _seconds(folder: Path, last: str) -> float:
    """The seconds of training until a file was last written, without those between a kill and what came after."""
    note = {"seconds": 0.0, "began": (folder / "config.json").stat().st_mtime}
    if (folder / WENT_ON).exists():
        note = read_json(folder / WENT_ON)
    if not (folder / last).exists():
        return note["seconds"]
    return round(note["seconds"] + max(0.0, (folder / last).stat().st_mtime - note["began"]), 2)


def _tested(job: Job, experiment: Experiment, model: SequenceModel, seconds: float) -> dict[str, Any]:
    began = time.monotonic()
    task = experiment.task
    torch.set_num_threads(experiment.training.threads)
    tests = []
    for length, examples in tests_of(experiment):
        score = evaluate(model, task, length=length, examples=examples)
        finite = abs(score) < float("inf")  # false for NaN; JSON has neither
        tests.append({"length": length, "examples": examples, "score": score if finite else None})
    failing = None
    if task.metric == "sequence_accuracy" and task.endless:
        limit = min(job.limit, ATTENTION_LIMIT) if "attention" in experiment.model.unit else job.limit
        failing = failing_length(model, task, limit=limit)
    times = {"train": seconds, "test": round(time.monotonic() - began, 2)}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return _about(job, experiment) | {
        "tests": tests,
        "failing_length": failing,
        "parameters": parameters,
        "seconds": times,
        **_versions(),
    }


def _about(job: Job, experiment: Experiment) -> dict[str, Any]:
    """What is known of a run before it is done, in the order of a record."""
    return {
        "id": identity(job.config),
        "recipe": job.recipe,
        "unit": experiment.model.unit,
        "seed": experiment.training.seed,
        "set": job.overrides,
        "status": "done",
        "error": None,
        "metric": experiment.task.metric,
        "chance": experiment.task.chance,
        "length_name": experiment.task.length_name,
        "length": experiment.task.length,
        "tests": [],
        "failing_length": None,
        "parameters": None,
        "steps": experiment.training.steps,
        "seconds": None,
        "config": experiment.to_dict(),
    }


def _versions() -> dict[str, Any]:
    return {"commit": commit(), **versions()}
