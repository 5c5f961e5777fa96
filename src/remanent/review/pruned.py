"""Models that were pruned from runs: what lies beside one in its folder, and reading it with the run's task."""

from pathlib import Path
from typing import Any

from remanent._files import read_json, write_json
from remanent.analysis.automata import Pruned
from remanent.models import SequenceModel
from remanent.records.configuration import Experiment, fitting
from remanent.records.identity import identity
from remanent.training.folder import PRUNED_FILE, load_run


def pruned_record(pruned: Pruned) -> dict[str, Any]:
    """What was kept of a model, as plain data."""
    kept = {"heads": pruned.heads, "kept": [tuple(head) for head in pruned.kept], "maps": pruned.maps}
    parameters = sum(parameter.numel() for parameter in pruned.model.parameters())
    return kept | {"readout_steps": pruned.readout_steps, "parameters": parameters}


def save_pruned(folder: Path, experiment: Experiment, pruned: Pruned) -> None:
    """Writes a pruned model, and beside it what was kept and the configuration of the run that it is from."""
    config = experiment.located().to_dict()
    pruned.model.save(folder)
    write_json(folder / PRUNED_FILE, {"run": identity(config), **pruned_record(pruned), "config": config})


def load_model(folder: Path, *, data_dir: str | None = None) -> tuple[Experiment, SequenceModel]:
    """Reads the model of a finished run, or one that was pruned from it; in both cases with the run's configuration.

    Args:
        folder: the folder of the run, or of the pruned model.
        data_dir: the folder that holds the task's data now; None for the place that the configuration names.

    Raises:
        FileNotFoundError: the folder holds neither.
        ValueError: a file is corrupt, or the model or what the task reads is another one than it was.
    """
    path = folder / PRUNED_FILE
    if not path.is_file():
        return load_run(folder, data_dir=data_dir)
    noted = read_json(path)
    config = noted.get("config")
    experiment = Experiment.from_dict(config if isinstance(config, dict) else {}, str(path), data_dir=data_dir)
    found = identity(experiment.to_dict())
    if found != noted.get("run"):
        rule = f"{path} must hold the configuration of its run, {noted.get('run')}"
        raise ValueError(f"{rule}, got that of {found}: the file or the data of its task have changed since")
    model = SequenceModel.load(folder)
    for name in fitting(experiment.task):
        asked, given = getattr(experiment.model, name), getattr(model.config, name)
        if given != asked:
            raise ValueError(f"the model in {folder} must have the `{name}` of {PRUNED_FILE}, {asked!r}, got {given!r}")
    return experiment, model
