"""One run of a grid in a process of its own: claimed, trained, tested, and appended to the results."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from remanent._allocator import reuse_freed_memory
from remanent._files import lock_of, partial_folders
from remanent._plugins import import_modules
from remanent.distributed.ranks import Launch
from remanent.models import SequenceModel
from remanent.records.chosen import Chosen
from remanent.records.configuration import Experiment
from remanent.records.identity import identity
from remanent.records.record import RECORD_FILE, Record, append_record, read_records
from remanent.sweep.storage import SECONDS, Storage
from remanent.training.folder import METRICS_FILE, FolderInUseError, read_experiment
from remanent.training.outcome import LengthTest, failed, grid_tests, plain_record, scored, trained
from remanent.training.seconds import note_resumed, training_seconds
from remanent.training.variants import Variant

CLAIMED = 75
"""The exit status of a process whose run another process has claimed."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a process needs to know to do one run.

    Attributes:
        variant: the run's recipe, and what is changed in it.
        config: the whole configuration, as `Experiment.to_dict` gives it.
        folder: of the run.
        results: the results file.
        chosen: how the variant was chosen among trials; None where it was not.
        tests: the lengths that are tested, each with a number of examples; None for those of `grid_tests`. Without any,
            the score on validation is taken alone, and no failing length is looked for.
        known: how many records of this run the results held when the grid began; with more, it is done.
        failing_limit: the longest word in the search of the failing length.
        modules: of the user, that register what the run is made of.
        storage: the address of the run's folder, where machines share it; None for `folder`.
        gpus: the share of the GPUs that the run was given.
    """

    variant: Variant
    config: dict[str, Any]
    folder: str
    results: str
    chosen: Chosen | None = None
    tests: tuple[LengthTest, ...] | None = None
    known: int = 0
    failing_limit: int = 2**20
    modules: tuple[str, ...] = ()
    storage: str | None = None
    gpus: float = 0


def work(job: Job) -> int:
    """Does a job, unless another process has claimed or done it.

    The claim is a lock that the system frees when this process dies, however it dies. The process that holds the
    claim appends the record before it releases the claim, so that the next holder sees the record: no run has two
    records, whatever is killed.

    Returns:
        The process's exit status: 0 when the results hold the run, `CLAIMED` if another process is doing it.
    """
    import_modules(job.modules)
    if job.storage is not None:
        return _work_on_storage(job, job.storage)
    claim = FileLock(lock_of(Path(job.folder)), timeout=0)
    try:
        claim.acquire()
    except Timeout:
        return CLAIMED
    with claim:
        reuse_freed_memory()
        results = Path(job.results)
        if sum(record.id == identity(job.config) for record in read_records(results, warn=True).records) > job.known:
            return 0
        try:
            record = _measured(job, Path(job.folder))
        except FolderInUseError:  # by `remanent train --resume`; the grid waits for it, as for another grid
            return CLAIMED
        aside = append_record(results, record)
        if aside is not None:
            print(f"a broken last line of {results} was moved to {aside}", file=sys.stderr)
    return 0


def _work_on_storage(job: Job, address: str) -> int:
    """Does a job in a folder of this machine, copies it to the storage, and leaves the record there.

    The grid holds the claim, and appends the record to its results.
    """
    reuse_freed_memory()
    with tempfile.TemporaryDirectory(prefix="remanent-") as place:
        folder = Path(place) / "run"
        storage = Storage(address, folder)
        record = storage.read_record()
        if record is not None and not (job.known and record.status == "failed"):
            return 0
        storage.claim()
        if storage.fetch():
            note_resumed(folder, storage.read_seconds())

        def copy() -> None:
            storage.copy()
            storage.write(SECONDS, {"seconds": training_seconds(folder, METRICS_FILE)})

        storage.write(RECORD_FILE, _measured(job, folder, copy).to_dict())
    return 0


def failure(job: Job, error: str, seconds: float = 0.0) -> Record:
    """The record of a run that failed."""
    return failed(plain_record(Experiment.from_dict(job.config), job.variant, job.chosen), error, seconds)


def _measured(job: Job, folder: Path, copy: Callable[[], None] | None = None) -> Record:
    """The record of a run. An error that would happen again is recorded; a lack of disk or memory is raised."""
    began = time.monotonic()
    try:
        model = _train(job, folder, copy)
        if copy is not None:
            copy()
        experiment = read_experiment(folder)
        record = plain_record(experiment, job.variant, job.chosen)
        tests = grid_tests(experiment) if job.tests is None else job.tests
        record = scored(record, experiment, model, tests, failing_limit=job.failing_limit if tests else None)
        return trained(record, folder)
    except (OSError, MemoryError, FolderInUseError):
        raise
    except Exception as error:
        return failure(job, f"{type(error).__name__}: {error}", round(time.monotonic() - began, 2))


def _train(job: Job, folder: Path, copy: Callable[[], None] | None) -> SequenceModel:
    """Trains a new run, or resumes one that was interrupted."""
    from remanent.training.run import resume_run, start_run  # with Lightning, which the grid itself does not need

    experiment, launch = Experiment.from_dict(job.config), Launch(accelerator="gpu" if job.gpus else "cpu")
    for staged in partial_folders(folder):  # left by a process that was killed as it began
        shutil.rmtree(staged)
    if not folder.exists():
        recipe = job.variant.recipe
        return start_run(experiment, folder, progress=False, launch=launch, after_checkpoint=copy, recipe=recipe)
    if identity(read_experiment(folder).to_dict()) != identity(experiment.to_dict()):
        raise ValueError(f"{folder} must hold this run, got one of another configuration")
    return resume_run(folder, progress=False, launch=launch, after_checkpoint=copy)
