"""How a run is shared out among processes: what they must agree on, where Lightning trains them, and who was lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy

from remanent.distributed.heartbeat import Heartbeat
from remanent.distributed.ranks import Ranks
from remanent.records.configuration import Experiment
from remanent.training.data import seen_examples
from remanent.training.experiment import ExperimentModule


def check_fit(experiment: Experiment, ranks: Ranks) -> None:
    """Raises unless each process has a part of the batch and of the validation split, and the model shares time."""
    size, rows, seen = ranks.data[1], experiment.training.batch_size, seen_examples(experiment.task)
    if size > rows:
        raise ValueError(f"`training.batch_size` must be at least 1 for each of the {size} processes, got {rows}")
    if size > seen:
        raise ValueError(f"the processes that share a batch must be at most the {seen} examples seen, got {size}")
    if ranks.time[1] > 1 and not ExperimentModule(experiment).model.shares_time:
        unit = experiment.model.unit
        raise ValueError(
            f"`time_shards` must be 1 for a model of {unit}, whose time is not shared, got {ranks.time[1]}"
        )


def check_same(config: dict[str, Any], ranks: Ranks) -> None:
    """Raises unless all processes were given the same configuration."""
    first, *others = ranks.gather(config)
    for rank, other in enumerate(others, start=1):
        for key, mine in _flat(first).items():
            theirs = _flat(other).get(key)
            if mine != theirs:
                came = f"{key} {mine!r} on rank 0 and {theirs!r} on rank {rank}"
                raise ValueError(f"every process must be given the same configuration, got {came}")


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    return {f"{table}.{key}": value for table, values in config.items() for key, value in values.items()}


def place(ranks: Ranks) -> dict[str, Any]:
    """Where Lightning trains."""
    launch = ranks.launch
    placed: dict[str, Any] = {"accelerator": launch.accelerator, "devices": ranks.local_size}
    if ranks.size == 1:
        return placed
    if launch.strategy == "fsdp":
        strategy: Any = ModelParallelStrategy(ranks.size, 1, save_distributed_checkpoint=False)
    else:  # unused parameters are looked for so that gradients are added up in one order from the first step on
        strategy = DDPStrategy(find_unused_parameters=True)
    return {**placed, "num_nodes": ranks.size // ranks.local_size, "strategy": strategy}


@contextmanager
def losses_named(heartbeat: Heartbeat, advice: str) -> Iterator[None]:
    """Where the others no longer answer, says which of them was lost."""
    try:
        yield
    except RuntimeError as error:
        lost = heartbeat.lost()
        if not lost:
            raise
        raise RuntimeError(f"{lost}; {advice}") from error
