"""What the folder of a run holds: the names of its files, how it begins, and how it is read."""

import json
from pathlib import Path
from typing import Any

from remanent._files import new_folder, read_json, write_json, write_whole
from remanent._machine import versions
from remanent._plugins import suggested
from remanent.distributed.ranks import Ranks
from remanent.models import SequenceModel
from remanent.models.saved import CONFIG_FILE, WEIGHTS_FILE
from remanent.records.configuration import Experiment

EXPERIMENT_FILE = "config.json"
"""The whole configuration: task, model and training."""
VERSIONS_FILE = "versions.json"
"""What made the run: seed, recipe, packages, machine, and the processes that began it."""
METRICS_FILE = "metrics.jsonl"
"""A line for every step and every validation."""
CHECKPOINTS_FOLDER = "checkpoints"
"""The last checkpoints and the best one, with their index."""
TENSORBOARD_FOLDER = "tensorboard"
"""The events for TensorBoard."""
RESUMED_FILE = "resumed.json"
"""How long the run had trained when it was last resumed, and when that was; only if it was resumed."""


def begin_folder(folder: Path, experiment: Experiment, ranks: Ranks, recipe: str | None) -> None:
    """Makes the folder of a new run.

    Args:
        folder: the folder, which must not exist.
        experiment: the configuration of the run.
        ranks: the processes that train it.
        recipe: the name of the recipe that the configuration was made from, if it is known.

    Raises:
        FileExistsError: the folder exists.
        OSError: the folder cannot be made.
    """
    if folder.exists():
        raise FileExistsError(
            f"the run's folder must not exist yet, got {folder}; resume it with "
            f"{suggested('train', '--resume', str(folder))}, or choose another folder (`--out`) or seed"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder) as staged:
        (staged / CHECKPOINTS_FOLDER).mkdir()
        write_json(staged / EXPERIMENT_FILE, experiment.to_dict())
        began = {"seed": experiment.training.seed} | ({} if recipe is None else {"recipe": recipe})
        write_json(staged / VERSIONS_FILE, {**began, **versions(), **_processes(ranks)})


def is_finished(folder: Path) -> bool:
    """Whether the folder holds the trained model, which is written last."""
    return (folder / CONFIG_FILE).exists()


def read_experiment(folder: Path) -> Experiment:
    """Reads the configuration of a run's folder.

    Raises:
        FileNotFoundError: the folder does not exist, or holds no configuration, as where a model alone was saved.
        ValueError: the configuration is corrupt or has an unknown key.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"the run's folder must exist, got {folder}")
    if is_finished(folder) and not (folder / EXPERIMENT_FILE).exists():
        rule = f"the folder must hold a run, with its {EXPERIMENT_FILE}, got {folder}"
        raise FileNotFoundError(f"{rule}, which holds a saved model; read it in Python with `SequenceModel.load`")
    return Experiment.from_dict(read_json(folder / EXPERIMENT_FILE), str(folder / EXPERIMENT_FILE))


def load_run(folder: str | Path) -> tuple[Experiment, SequenceModel]:
    """Reads a finished run: its configuration and its model.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: a file is corrupt or has an unknown key.
    """
    folder = Path(folder)
    experiment = read_experiment(folder)
    if not is_finished(folder):
        raise FileNotFoundError(
            f"the run must be finished, got {folder}, which is not; resume it with "
            f"{suggested('train', '--resume', str(folder))}"
        )
    return experiment, SequenceModel.load(folder)


def cut_metrics(folder: Path, step: int) -> None:
    """Drops the lines of steps that will be done again from the metrics, and a line that was cut short."""
    path = folder / METRICS_FILE
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] < step:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError):
            continue
    write_whole(path, "".join(kept).encode())


def write_model(folder: Path, experiment: Experiment, weights: dict[str, Any], epsilon: float | None) -> None:
    """Writes the trained model, which finishes the run.

    Args:
        folder: the folder of the run.
        experiment: the configuration of the run.
        weights: all weights of the LightningModule by name, since no process may hold the whole model.
        epsilon: the epsilon of the model's latches after training; None if it has none.
    """
    (folder / WEIGHTS_FILE).unlink(missing_ok=True)  # an interrupted run may have left one of the model's two files
    model = SequenceModel(experiment.model)
    model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
    if epsilon is not None:
        model.set_epsilon(epsilon)
    model.save(folder)


def _processes(ranks: Ranks) -> dict[str, Any]:
    """How many processes began a run, and how they shared it; empty for a single one."""
    if ranks.size == 1:
        return {}
    launch = ranks.launch
    how = {"strategy": launch.strategy, "time_shards": launch.time_shards, "accelerator": launch.accelerator}
    return {"processes": ranks.size, **how}
