"""How processes share a run: what they must agree on, on what Lightning trains, and which process was lost."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy

from remanent._launched import Launched, launched
from remanent.distributed.heartbeat import Heartbeat
from remanent.distributed.ranks import Ranks
from remanent.records.configuration import Experiment
from remanent.training.data import seen_examples
from remanent.training.experiment import ExperimentModule
from remanent.training.steps.capabilities import check_capabilities


def check_fit(experiment: Experiment, ranks: Ranks) -> None:
    """Raises unless every process gets a part of the batch and the validation split, and can take the run's steps.

    A batch is drawn once, since options may fit no example, or ask for more examples than there are.
    """
    size, rows, seen = ranks.data.size, experiment.training.batch_size, seen_examples(experiment.task)
    if size > rows:
        raise ValueError(f"`training.batch_size` must be at least 1 for each of the {size} processes, got {rows}")
    if size > seen:
        raise ValueError(f"the processes that share a batch must be at most the {seen} examples seen, got {size}")
    if ranks.time.size > 1 and not ExperimentModule(experiment).model.shares_time:
        unit = experiment.model.unit
        raise ValueError(
            f"`time_shards` must be 1 for a model of {unit}, whose time is not shared, got {ranks.time.size}"
        )
    if ranks.time.size > 1 and experiment.task.ragged:
        rule = f"`time_shards` must be 1 for the task {experiment.task.name}, whose sequences differ in length"
        raise ValueError(f"{rule}, got {ranks.time.size}")
    check_capabilities(experiment.training, ranks)
    experiment.task.batch(rows // experiment.training.batch_parts, torch.Generator().manual_seed(0))


def check_same(config: dict[str, Any], ranks: Ranks) -> None:
    """Raises unless all processes got the same configuration."""
    first, *others = ranks.gather(config)
    for rank, other in enumerate(others, start=1):
        for key, mine in _flat(first).items():
            theirs = _flat(other).get(key)
            if mine != theirs:
                found = f"{key} {mine!r} on rank 0 and {theirs!r} on rank {rank}"
                raise ValueError(f"every process must be given the same configuration, got {found}")


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    return {f"{table}.{key}": value for table, values in config.items() for key, value in values.items()}


def place(ranks: Ranks) -> dict[str, Any]:
    """The arguments of Lightning's `Trainer` that say on what it trains."""
    launch = ranks.launch
    placed: dict[str, Any] = {"accelerator": launch.accelerator, "devices": ranks.local_size}
    if ranks.size == 1:
        return placed
    if launch.strategy == "fsdp":
        strategy: Any = ModelParallelStrategy(ranks.size, 1, save_distributed_checkpoint=False)
    else:  # with `find_unused_parameters`, gradients are summed in one order from the first step on
        strategy = DDPStrategy(find_unused_parameters=True)
    return {**placed, "num_nodes": ranks.size // ranks.local_size, "strategy": strategy}


class KnownRanks(ClusterEnvironment):
    """Tells Lightning the place of this process as the run knows it, so that it does not look for a scheduler's.

    Args:
        ranks: the processes of the run.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks, self.given = ranks, launched() or Launched()

    @property
    def creates_processes_externally(self) -> bool:
        """True: Lightning starts no process."""
        return True

    @property
    def main_address(self) -> str:
        """Where the processes meet, which they have done before Lightning asks."""
        return os.environ["MASTER_ADDR"]

    @property
    def main_port(self) -> int:
        """The port at which the processes meet."""
        return int(os.environ["MASTER_PORT"])

    @staticmethod
    def detect() -> bool:
        """False, since a run is always given its place."""
        return False

    def world_size(self) -> int:
        """The number of processes."""
        return self.ranks.size

    def set_world_size(self, size: int) -> None:
        """Does nothing: the launcher has set it."""

    def global_rank(self) -> int:
        """The number of this process."""
        return self.ranks.rank

    def set_global_rank(self, rank: int) -> None:
        """Does nothing: the launcher has set it."""

    def local_rank(self) -> int:
        """The number of this process on its machine."""
        return self.given.local_rank

    def node_rank(self) -> int:
        """The number of this machine."""
        return self.ranks.rank // self.ranks.local_size


class RunTrainer(pl.Trainer):
    """Lightning's trainer under a name of its own, since it reads defaults from variables such as PL_TRAINER_MAX_TIME.

    The variables are named by the class, so that those which are meant for a program of the user's have no effect.
    """


@contextmanager
def rank_known(ranks: Ranks) -> Iterator[None]:
    """Tells Lightning's loggers the rank of this process within the context, whatever they guessed before."""
    holder: Any = rank_zero_only  # a function, with the rank as its attribute
    before = holder.rank
    holder.rank = ranks.rank
    try:
        yield
    finally:
        holder.rank = before


@contextmanager
def losses_named(heartbeat: Heartbeat, advice: str) -> Iterator[None]:
    """Names the lost process in the error that its absence raises within the context."""
    try:
        yield
    except RuntimeError as error:
        lost = heartbeat.lost()
        if not lost:
            raise
        raise RuntimeError(f"{lost}; {advice}") from error
