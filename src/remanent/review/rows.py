"""Which runs a report may show together, and which of them share a row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remanent._identity import BY_CONTENT, OWN_COLUMN, UNCOUNTED
from remanent.records.configuration import Experiment
from remanent.records.identity import identity, options_that
from remanent.review.measures import RunMeasures
from remanent.training.folder import load_run

ByUnit = dict[str, list[RunMeasures]]


def by_way(measured: Sequence[RunMeasures]) -> ByUnit:
    """The runs by unit; a unit that was trained in several ways has an entry for each, named by its differences."""
    plain: dict[str, dict[str, Any]] = {}
    by_unit: ByUnit = {}
    for run in measured:
        unit, ways = run.experiment.model.unit, _ways(run.experiment)
        first = plain.setdefault(unit, ways)
        other = [f"{key}={value}" for key, value in ways.items() if value != first.get(key)]
        by_unit.setdefault(unit + (f" ({', '.join(other)})" if other else ""), []).append(run)
    return by_unit


def _ways(experiment: Experiment) -> dict[str, Any]:
    """The options of a configuration that must be the same for all seeds of a row."""
    config = experiment.to_dict()
    values = {f"{table}.{key}": value for table in ("model", "training") for key, value in config[table].items()}
    shared = options_that(UNCOUNTED, OWN_COLUMN)
    return {key: value for key, value in values.items() if key not in shared}


def check_runs(runs: Sequence[Path], data_dir: str | None = None) -> None:
    """Raises unless runs are finished, of one task with the same options, and all different.

    Args:
        runs: the folders of the runs.
        data_dir: the folder that holds their data now; None for the places that their configurations name.

    Raises:
        FileNotFoundError: a folder holds no finished run.
        ValueError: the runs cannot be shown together, or a file is corrupt.
    """
    experiments = [load_run(folder, data_dir=data_dir)[0] for folder in runs]
    seen: dict[tuple[str, int], Path] = {}
    for folder, experiment in zip(runs, experiments, strict=True):
        key = (identity(experiment.to_dict()), experiment.training.seed)
        if key in seen:
            raise ValueError(
                f"`RUN` must be different runs, got {seen[key]} and {folder}, of one configuration and seed"
            )
        seen[key] = folder
        first, other = _task_options(experiments[0]), _task_options(experiment)
        differing = [
            f"{k} {first.get(k)!r} and {other.get(k)!r}" for k in first | other if first.get(k) != other.get(k)
        ]
        if differing:
            raise ValueError(f"`RUN` must be runs of one task, got in {runs[0]} and {folder}: {', '.join(differing)}")


def _task_options(experiment: Experiment) -> dict[str, Any]:
    """What makes the task another one: its options, and what a user's file says instead of where it lies."""
    skipped = options_that(UNCOUNTED, BY_CONTENT)
    options = {k: v for k, v in experiment.to_dict()["task"].items() if f"task.{k}" not in skipped}
    content = experiment.task.fingerprint
    return options | ({"content": content} if content else {})
