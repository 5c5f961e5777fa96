"""A grid of runs: each is done once, also where its processes are killed, and where several grids share the work."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from remanent._files import lock_of
from remanent._options import check_at_least, check_range
from remanent.records.identity import identity
from remanent.records.lines import repair
from remanent.records.record import RECORD_FILE, Record, append_record, read_records
from remanent.sweep.board import Board, Working, outcome_line, share_done
from remanent.sweep.combinations import GridRun
from remanent.sweep.jobs import CLAIMED, Job, failure
from remanent.sweep.storage import Storage
from remanent.sweep.workers import Ended, Workers, has_ray, make_workers
from remanent.training.folder import METRICS_FILE, read_experiment
from remanent.training.variants import Variant

WAIT = 0.5
"""Seconds between two checks of what other grids have claimed."""


class Summary(NamedTuple):
    """How the runs of a grid ended.

    Attributes:
        done: the number of runs that this grid finished.
        failed: the number of runs that failed in this grid.
        skipped: the number of runs that the results held before, or that another grid did meanwhile.
        failed_before: how many of the skipped runs had failed.
    """

    done: int
    failed: int
    skipped: int
    failed_before: int


@dataclass(frozen=True)
class GridOptions:
    """Where and how the runs of a grid are done.

    Args:
        results: the results file.
        folder: the folder that holds the runs' folders.
        workers: runs at a time, at least 1; None for one, or, where Ray is installed, as many as there are cores.
        address: the address of a Ray cluster; None for this machine.
        storage: an address that fsspec reads, under which the runs' folders lie; from there the nodes of a cluster
            resume each other's runs, and need to share nothing else. None where they share `results` and `folder`.
        gpus: the number of GPUs that a run takes, in [0, infinity); below 1, runs share one. Ray assigns them.
        retries: how often a run whose process died is tried again, at least 0.
        retry_failed: whether runs that have failed are done again.
        failing_limit: the longest word in the search for failing lengths, at least 1.
        modules: modules of the user, which every process imports first.

    Raises:
        ValueError: a number is too small, or an address is given and Ray is not installed.
        TypeError: a number is not an int.
    """

    results: Path = Path("results/grid.jsonl")
    folder: Path = Path("runs/grid")
    workers: int | None = None
    address: str | None = None
    storage: str | None = None
    gpus: float = 0
    retries: int = 2
    retry_failed: bool = False
    failing_limit: int = 2**20
    modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers is not None:
            check_at_least("workers", self.workers, 1)
        check_at_least("retries", self.retries, 0)
        check_at_least("failing_limit", self.failing_limit, 1)
        check_range("gpus", self.gpus, 0, float("inf"))
        for name, value in (("address", self.address), ("gpus", self.gpus or None)):
            if value is not None and not has_ray():
                raise ValueError(f'`--{name}` needs Ray, pip install "remanent[cluster]", got {value!r}')
        if self.storage is not None:
            Storage(self.storage, self.folder)


def run_grid(
    runs: Sequence[GridRun], options: GridOptions, *, progress: bool = True, board: Board | None = None
) -> Summary:
    """Does every run that the results do not hold yet, and waits for those that other grids are doing.

    Args:
        runs: the runs, as `combinations` gives them.
        options: where and how they are done.
        progress: whether a bar is drawn, and a line for each run.
        board: what shows the runs, where several grids share one; None for a board of its own.

    Returns:
        How many were done, failed and skipped.

    Raises:
        ValueError: the results file is broken before its last line, or a folder holds another run.
        OSError: a file cannot be written.
        KeyboardInterrupt: the grid was interrupted; the same call resumes it.
    """
    for task in {repr(run.experiment.task): run.experiment.task for run in runs}.values():
        task.split_size("test")  # raises where data are missing, before anything is written
    found = statuses(runs, options.results)
    for run in runs:
        if found[run.id] == "missing" and options.storage is None:
            _check_folder(options.folder / run.name, run)
    aside = repair(options.results)
    if aside is not None:
        print(f"a broken last line of {options.results} was moved to {aside}", file=sys.stderr)
    threads = max((run.experiment.training.threads for run in runs), default=1)
    workers = make_workers(options.workers, threads, options.gpus, options.address)
    try:
        return _Grid(runs, options, workers, board or Board(len(runs), progress)).run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("- the same command resumes the grid") from None
    finally:
        workers.close()


def statuses(runs: Sequence[GridRun], results: Path) -> dict[str, str]:
    """Maps the identity of each run to its status in the results, or to "missing"."""
    found = {record.id: record.status for record in read_records(results, warn=True).records}
    return {run.id: found.get(run.id, "missing") for run in runs}


class _UnusableRecordError(Exception):
    """What a run left on the storage cannot be used; the other runs of the grid go on."""


class _Grid:
    """The state of a grid while it runs."""

    def __init__(self, runs: Sequence[GridRun], options: GridOptions, workers: Workers, board: Board) -> None:
        self.options, self.workers, self.board = options, workers, board
        self.pending = list(runs)
        self.working: dict[str, GridRun] = {}
        self.counts: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.claims: dict[str, FileLock] = {}
        found = statuses(runs, options.results)
        failed = [run for run in runs if found[run.id] == "failed"]
        lines = Counter(record.id for record in read_records(options.results, warn=True).records)
        self.known = {run.id: lines[run.id] for run in failed if options.retry_failed}

    def run(self) -> Summary:
        self.options.folder.mkdir(parents=True, exist_ok=True)
        with self.board:
            while self.pending or self.working:
                while self.workers.room() > 0 and (run := self._next()):
                    self.working[run.id] = run
                    self.workers.start(run.id, self._job(run))
                    self.board.begin(run.name)
                self.board.show(self.counts, [self._progress(run) for run in self.working.values()])
                for ended in self.workers.ended(WAIT):
                    self._settle(self.working.pop(ended.key), ended)
            self.board.show(self.counts, [])
        self.board.before += self.counts["done"] + self.counts["failed"] + self.counts["skipped"]
        return Summary(self.counts["done"], self.counts["failed"], self.counts["skipped"], self.counts["failed before"])

    def _progress(self, run: GridRun) -> Working:
        """How far a run is, which only a bar shows; nobody knows where its folder is on another machine."""
        if not self.board.live or self.options.storage is not None:
            return Working(run.name)
        return Working(
            run.name, share_done(self.options.folder / run.name / METRICS_FILE, run.experiment.training.steps)
        )

    def _next(self) -> GridRun | None:
        """The first run that is neither done nor claimed; runs that are done are removed from the list."""
        found = self._records()
        for run in list(self.pending):
            if run.id in found:
                self.pending.remove(run)
                self.counts["skipped"] += 1
                self.counts["failed before"] += found[run.id].status == "failed"
            elif self._claim(run):
                self.pending.remove(run)
                return run
        return None

    def _claim(self, run: GridRun) -> bool:
        """Whether no other grid is doing the run; the grid itself keeps the claim where the run is on storage."""
        claim = FileLock(lock_of(self.options.folder / run.name), timeout=0)
        try:
            claim.acquire()
        except Timeout:
            return False
        if self.options.storage is None:
            claim.release()
        else:
            self.claims[run.id] = claim
        return True

    def _storage(self, run: GridRun) -> str | None:
        """The address of a run's folder on the storage; None where there is none."""
        where = self.options.storage
        if where is None:
            return None
        return f"{(where if '://' in where else str(Path(where).absolute())).rstrip('/')}/{run.name}"

    def _collect(self, run: GridRun, ended: Ended) -> Ended:
        """Appends the record that a run left on the storage, and releases the claim; a wrong record is noted."""
        address = self._storage(run)
        if address is None:
            return ended
        try:
            if ended.status == 0 and run.id not in self._records():
                append_record(self.options.results, self._left(run, address))
        except _UnusableRecordError as error:
            return ended._replace(status=None, note=str(error))
        finally:
            self.claims.pop(run.id).release()
        return ended

    def _left(self, run: GridRun, address: str) -> Record:
        """The record that a run left on the storage."""
        try:
            record = Storage(address, self.options.folder).read_record()
        except (ValueError, OSError) as error:
            raise _UnusableRecordError(str(error)) from None
        if record is None or record.id != run.id:
            found = "none" if record is None else record.id
            raise _UnusableRecordError(f"{address}/{RECORD_FILE} must be of the run {run.id}, got {found}")
        return record

    def _records(self) -> dict[str, Record]:
        """The last record of each run that counts as done."""
        records = read_records(self.options.results, warn=True).records
        count = Counter(record.id for record in records)
        return {record.id: record for record in records if count[record.id] > self.known.get(record.id, 0)}

    def _job(self, run: GridRun) -> Job:
        return Job(
            variant=Variant(run.recipe, run.overrides),
            config=run.experiment.to_dict(),
            folder=str((self.options.folder / run.name).absolute()),
            results=str(self.options.results.absolute()),
            chosen=run.chosen,
            tests=run.tests,
            known=self.known.get(run.id, 0),
            failing_limit=self.options.failing_limit,
            modules=self.options.modules,
            storage=self._storage(run),
            gpus=self.options.gpus,
        )

    def _settle(self, run: GridRun, ended: Ended) -> None:
        """Counts a run that ended; a run whose process died is tried again, or recorded as failed after all retries."""
        ended = self._collect(run, ended)
        found = self._records()
        if ended.status == 0 and run.id in found:
            self._count(run, found[run.id])
        elif ended.status == CLAIMED:
            self.pending.append(run)
        elif self.attempts[run.id] < self.options.retries:
            self.attempts[run.id] += 1
            self.pending.insert(0, run)
            self.board.say(f"{run.name}: {ended.reason}; tried again")
        else:
            self._give_up(run, ended.reason)

    def _give_up(self, run: GridRun, error: str) -> None:
        """Records a run as failed, unless another process has taken it over."""
        try:
            with FileLock(lock_of(self.options.folder / run.name), timeout=0):
                if run.id not in self._records():
                    append_record(self.options.results, failure(self._job(run), error))
                    self._count(run, self._records()[run.id])
                    return
        except Timeout:
            pass
        self.pending.append(run)

    def _count(self, run: GridRun, record: Record) -> None:
        self.counts[record.status] += 1
        self.board.say(f"{run.name}: {outcome_line(record)}")


def _check_folder(folder: Path, run: GridRun) -> None:
    """Raises unless the folder does not exist yet or holds the run."""
    if not folder.exists():
        return
    try:
        same = identity(read_experiment(folder).to_dict()) == run.id
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder} must hold the run {run.name}, got {error}; move it away") from None
    if not same:
        raise ValueError(f"{folder} must hold the run {run.name}, got one of another configuration; move it away")
