"""Which runs a report may show together, and which of them make one row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remanent.training.combinations import identity
from remanent.training.config import Experiment
from remanent.training.measured import RunMeasures
from remanent.training.run import load_run

ByUnit = dict[str, list[RunMeasures]]
SAME_ROW = ("model.unit", "training.seed", "training.threads", "training.keep_checkpoints")
"""What may differ between the runs of one row."""


def by_way(measured: Sequence[RunMeasures]) -> ByUnit:
    """The runs by unit; a unit that was trained in several ways stands there once for each, with what was other."""
    plain: dict[str, dict[str, Any]] = {}
    by_unit: ByUnit = {}
    for run in measured:
        unit, ways = run.experiment.model.unit, _ways(run.experiment)
        first = plain.setdefault(unit, ways)
        other = [f"{key}={value}" for key, value in ways.items() if value != first.get(key)]
        by_unit.setdefault(unit + (f" ({', '.join(other)})" if other else ""), []).append(run)
    return by_unit


def _ways(experiment: Experiment) -> dict[str, Any]:
    """All of a configuration that may not differ between the seeds of one row."""
    config = experiment.to_dict()
    values = {f"{table}.{key}": value for table in ("model", "training") for key, value in config[table].items()}
    return {key: value for key, value in values.items() if key not in SAME_ROW}


def check_runs(runs: Sequence[Path]) -> None:
    """Raises unless all runs are finished ones of one task, with the same options, and each is another."""
    seen: dict[str, Path] = {}
    for folder in runs:
        config = load_run(folder)[0].to_dict()
        key = f"{identity(config)} {config['training']['seed']}"
        if key in seen:
            raise ValueError(
                f"`RUN` must be different runs, got {seen[key]} and {folder}, of one configuration and seed"
            )
        seen[key] = folder
    _check_one_task(runs)


def _check_one_task(runs: Sequence[Path]) -> None:
    """Raises unless all runs are of one task."""
    first: dict[str, Any] | None = None
    for folder in runs:
        task = load_run(folder)[0].to_dict()["task"]
        task.pop("data_dir", None)
        if first is not None and task != first:
            differing = [
                f"{key} {first.get(key)!r} and {task.get(key)!r}"
                for key in {**first, **task}
                if first.get(key) != task.get(key)
            ]
            raise ValueError(f"`RUN` must be runs of one task, got in {runs[0]} and {folder}: {', '.join(differing)}")
        first = task
