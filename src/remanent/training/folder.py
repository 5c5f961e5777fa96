"""What the folder of a run holds: the names of its files, how it begins, is locked, and is read."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remanent._files import new_folder, read_json, remove_partial, write_json, write_whole
from remanent._machine import versions
from remanent._plugins import begun_with, imported, suggested
from remanent.distributed.ranks import Ranks
from remanent.models import SequenceModel
from remanent.models.saved import CONFIG_FILE, WEIGHTS_FILE
from remanent.records.configuration import Experiment
from remanent.records.identity import identity
from remanent.records.lines import parse_line
from remanent.training.checkpoints import INDEX

EXPERIMENT_FILE = "config.json"
"""The whole configuration: task, model and training."""
VERSIONS_FILE = "versions.json"
"""What made the run: its identity, seed, recipe, packages, machine, and the processes that began it."""
METRICS_FILE = "metrics.jsonl"
"""A line for every step and every validation."""
RATES_FILE = "write_rates.json"
"""The write rates of each layer of latches before the first step, found, asked for and set; only if they were set."""
CHECKPOINTS_FOLDER = "checkpoints"
"""The last checkpoints and the best one, with their index."""
PRUNED_FILE = "pruned.json"
"""In the folder of a model that was pruned from a run: what was kept, and the configuration of that run."""


class FolderInUseError(RuntimeError):
    """Another process trains in the folder of a run."""


def begin_folder(folder: Path, experiment: Experiment, ranks: Ranks, recipe: str | None) -> None:
    """Makes the folder of a new run, with a configuration that finds its data from every working directory.

    Args:
        folder: the folder, which must not exist.
        experiment: the configuration of the run.
        ranks: the processes that train it.
        recipe: the name of the recipe that the configuration was made from, if it is known.

    Raises:
        FileExistsError: the folder exists.
        OSError: the folder cannot be made.
    """
    check_new(folder, "train")
    config = experiment.located().to_dict()
    began = {"run": identity(config), "seed": experiment.training.seed}
    make_folder(folder, config, began | ({} if recipe is None else {"recipe": recipe}), _processes(ranks))


def check_new(folder: Path, command: str) -> None:
    """Raises FileExistsError where the folder of a run exists, with the command that resumes it."""
    if folder.exists():
        raise FileExistsError(
            f"the run's folder must not exist yet, got {folder}; resume it with "
            f"{suggested(command, '--resume', str(folder))}, or choose another folder (`--out`) or seed"
        )


def make_folder(
    folder: Path, config: Mapping[str, Any], began: Mapping[str, Any], processes: Mapping[str, Any] | None = None
) -> None:
    """Makes the folder of a run whole: its configuration, and what made it.

    Args:
        folder: the folder, which must not exist.
        config: the whole configuration as plain values.
        began: the run's identity as "run", and what else is noted of its beginning.
        processes: how the processes share the run; None for a single one.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder) as staged:
        (staged / CHECKPOINTS_FOLDER).mkdir()
        write_json(staged / EXPERIMENT_FILE, config)
        imports = {"imports": imported()} if imported() else {}
        write_json(staged / VERSIONS_FILE, {**began, **imports, **versions(), **(processes or {})})


@contextmanager
def owned(folder: Path, seconds: float = 0.0) -> Iterator[None]:
    """Locks the folder of a run against other processes that write in it, until the context or the process ends.

    Whoever holds the lock removes the parts of files that a killed process left.

    Args:
        folder: the folder of the run.
        seconds: how long another process is waited for.

    Raises:
        FolderInUseError: another process trains in the folder.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        raise FolderInUseError(
            f"the run's folder must not be in use, got {folder}, in which another process trains"
        ) from None
    try:
        remove_partial(folder)
        remove_partial(folder / CHECKPOINTS_FOLDER)
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def is_finished(folder: Path) -> bool:
    """Whether the folder holds the trained model, which is written last."""
    return (folder / CONFIG_FILE).exists()


def read_experiment(folder: Path, data_dir: str | None = None) -> Experiment:
    """Reads the configuration of a run's folder.

    Args:
        folder: the folder of the run.
        data_dir: the folder that holds the data now; None for the place that the configuration names.

    Raises:
        FileNotFoundError: the folder does not exist, or holds no configuration, as where a model alone was saved.
        ValueError: the configuration is corrupt or has an unknown key.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"the run's folder must exist, got {folder}")
    if is_finished(folder) and not (folder / EXPERIMENT_FILE).exists():
        rule = f"the folder must hold a run, with its {EXPERIMENT_FILE}, got {folder}"
        if (folder / PRUNED_FILE).exists():
            where = "give the folder of that run, or this one to evaluate, chip or export"
            raise FileNotFoundError(f"{rule}, which holds a model that was pruned from one; {where}")
        raise FileNotFoundError(f"{rule}, which holds a saved model; read it in Python with `SequenceModel.load`")
    values, where = read_json(folder / EXPERIMENT_FILE), str(folder / EXPERIMENT_FILE)
    if "agent" in values:
        raise ValueError(f"{folder} must hold a run of `remanent train`, got one of `remanent rl`")
    try:
        return Experiment.from_dict(values, where, data_dir=data_dir)
    except ValueError as error:
        raise ValueError(f"{error}{begun_with(_noted(folder, 'imports'))}") from None


def load_run(folder: str | Path, *, data_dir: str | None = None) -> tuple[Experiment, SequenceModel]:
    """Reads a finished run: its configuration and its model.

    Args:
        folder: the folder of the run.
        data_dir: the folder that holds the data now; None for the place that the configuration names.

    Raises:
        FileNotFoundError: the folder holds no finished run, or a user's text is missing.
        ValueError: a file is corrupt or has an unknown key, or the configuration, the model or a user's text is another
            one than the run was trained with.
    """
    folder = Path(folder)
    experiment = read_experiment(folder, data_dir)
    if not is_finished(folder):
        raise FileNotFoundError(
            f"the run must be finished, got {folder}, which is not; resume it with "
            f"{suggested('train', '--resume', str(folder))}"
        )
    check_unchanged(folder, experiment)
    model = SequenceModel.load(folder)
    _check_model(folder, experiment, model)
    return experiment, model


def check_unchanged(folder: Path, experiment: Experiment) -> None:
    """Raises unless the configuration of a run, and the text or data that it names, are those that it was begun with.

    Raises:
        ValueError: they have changed since.
    """
    path = getattr(experiment.task, "path", None)
    text = f" and {path or 'the data of its task'}" if experiment.task.fingerprint else ""
    check_identity(folder, identity(experiment.to_dict()), text)


def check_identity(folder: Path, found: str, others: str = "") -> None:
    """Raises ValueError unless a run has the identity that it was begun with; `others` may have changed, too."""
    before = _noted_identity(folder)
    if before is not None and before != found:
        rule = f"{folder / EXPERIMENT_FILE}{others} must be what the run was begun with, {before}, got {found}"
        raise ValueError(f"{rule}: it has changed since; restore it, or train again in another folder")


def _noted(folder: Path, name: str) -> Any:
    """What a run's folder notes of its beginning under a name; None if it notes nothing."""
    return read_json(folder / VERSIONS_FILE).get(name) if (folder / VERSIONS_FILE).is_file() else None


def last_step(folder: Path) -> int | None:
    """The last step that the metrics of a run hold; None if they hold none."""
    return max((step for _, step in _metrics(folder)), default=None)


def check_nothing_lost(folder: Path, every: int) -> None:
    """Raises if a run without a checkpoint had one: if its metrics go on after the first, or its folder is gone.

    Args:
        folder: the folder of the run.
        every: the number of steps between its checkpoints.

    Raises:
        ValueError: a checkpoint was lost, without which the run would begin again from its first step.
    """
    step, place = last_step(folder), folder / CHECKPOINTS_FOLDER
    if step is not None and (step >= every or not place.is_dir()):
        raise ValueError(
            f"{place} must hold a checkpoint, since {METRICS_FILE} goes up to step {step}, got none; "
            "start the run again in another folder"
        )
    place.mkdir(exist_ok=True)


def cut_metrics(folder: Path, step: int) -> None:
    """Drops the lines of steps that will be done again from the metrics, and what is no line of metrics."""
    path = folder / METRICS_FILE
    if path.exists():
        write_whole(path, b"".join(line + b"\n" for line, done in _metrics(folder) if done < step))


def write_model(folder: Path, experiment: Experiment, weights: dict[str, Any], epsilon: float | None) -> None:
    """Writes the trained model, which finishes the run.

    Args:
        folder: the folder of the run.
        experiment: the configuration of the run.
        weights: all weights of the LightningModule by name, since no process may hold the whole model.
        epsilon: the epsilon of the model's latches after training; None if it has none.

    Raises:
        FileExistsError: the folder holds a finished run, of which nothing is ever deleted.
    """
    if is_finished(folder):
        raise FileExistsError(f"the run must not be finished yet, got {folder}, which holds its {CONFIG_FILE}")
    model = SequenceModel(experiment.model)
    model.names = experiment.task.names
    model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
    if epsilon is not None:
        model.set_epsilon(epsilon)
    save_trained(folder, model)


def save_trained(folder: Path, model: SequenceModel) -> None:
    """Saves a trained model, which finishes the run, in the place of what an interrupted one left of its two files."""
    (folder / WEIGHTS_FILE).unlink(missing_ok=True)
    model.save(folder)


def _processes(ranks: Ranks) -> dict[str, Any]:
    """How many processes began a run, and how they shared it; empty for a single one."""
    if ranks.size == 1:
        return {}
    launch = ranks.launch
    how = {"strategy": launch.strategy, "time_shards": launch.time_shards, "accelerator": launch.accelerator}
    return {"processes": ranks.size, **how}


def _metrics(folder: Path) -> list[tuple[bytes, int]]:
    """The whole lines of a run's metrics, each with its step."""
    path = folder / METRICS_FILE
    lines = path.read_bytes().splitlines() if path.exists() else []
    found = [(line, (parse_line(line) or {}).get("step")) for line in lines]
    return [(line, step) for line, step in found if type(step) is int]


def _noted_identity(folder: Path) -> str | None:
    """The identity of the run that was begun in a folder; None if an earlier version began it, without checkpoints."""
    found = _noted(folder, "run")
    index = folder / CHECKPOINTS_FOLDER / INDEX
    if found is None and index.is_file():
        found = read_json(index).get("run")
    return found if isinstance(found, str) else None


def _check_model(folder: Path, experiment: Experiment, model: SequenceModel) -> None:
    """Raises unless the model of a finished run is the configured one; only its epsilon changes in training."""
    asked = dataclasses.asdict(experiment.model)
    for name, value in dataclasses.asdict(model.config).items():
        if name != "epsilon" and value != asked[name]:
            rule = f"{folder / CONFIG_FILE} must have the `{name}` of {EXPERIMENT_FILE}, {asked[name]!r}"
            raise ValueError(f"{rule}, got {value!r}")


def steps_taken(folder: Path) -> int:
    """The steps of a run so far, as its metrics say; fewer than its configuration names where it has settled early."""
    return 1 + max((step for _, step in _metrics(folder)), default=-1)
