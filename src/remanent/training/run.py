"""A run: one folder from configuration to weights, which can be interrupted and goes on exactly."""

import importlib.metadata
import json
import logging
import os
import platform
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from remanent._files import new_folder, read_json, write_json, write_whole
from remanent._machine import processor_name
from remanent.models import SequenceModel
from remanent.models.sequence import CONFIG_FILE, WEIGHTS_FILE
from remanent.training.callbacks import AnnealEpsilon, MetricsFile, ProgressBar, WriteCheckpoint
from remanent.training.checkpoints import Checkpoints
from remanent.training.combinations import identity
from remanent.training.config import Experiment
from remanent.training.data import TaskData
from remanent.training.experiment import ExperimentModule

PACKAGES = ("remanent", "torch", "numpy", "numba", "pytorch-lightning", "scikit-learn")


def start_run(experiment: Experiment, folder: str | Path, *, progress: bool = True) -> SequenceModel:
    """Trains from the first step, in a folder that must not exist yet.

    The folder comes to hold `config.json`, `versions.json` (with the seed), `metrics.jsonl`,
    `checkpoints/`, `tensorboard/`, and at the end `model.json` and `model.safetensors`.

    Args:
        experiment: the whole configuration.
        folder: where the run is kept.
        progress: whether a bar is drawn.

    Returns:
        The trained model.

    Raises:
        FileExistsError: the folder exists.
        OSError: it cannot be made.
        FloatingPointError: the loss was not finite; the message names the step and the batch's seed.
        KeyboardInterrupt: the run was interrupted; it can be resumed.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(
            f"the run's folder must not exist yet, got {folder}; to go on with it, `remanent train --resume {folder}`"
        )
    experiment.task.split_size("validation")  # data that is missing is missed before anything is written
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder) as staged:
        (staged / "checkpoints").mkdir()
        write_json(staged / "config.json", experiment.to_dict())
        write_json(staged / "versions.json", {"seed": experiment.training.seed, **versions()})
    return _fit(experiment, folder, progress)


def resume_run(folder: str | Path, *, progress: bool = True) -> SequenceModel:
    """Goes on with an interrupted run from its last checkpoint, to the same weights, bit for bit.

    Args:
        folder: of a run that `start_run` began; its own configuration is used.
        progress: whether a bar is drawn.

    Returns:
        The trained model; one that was finished already is loaded.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: its configuration or its checkpoint is corrupt.
    """
    folder = Path(folder)
    experiment = read_experiment(folder)
    if (folder / CONFIG_FILE).exists():
        return SequenceModel.load(folder)
    return _fit(experiment, folder, progress)


def load_run(folder: str | Path) -> tuple[Experiment, SequenceModel]:
    """Reads a finished run: its configuration and its model.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: a file is corrupt or has an unknown key.
    """
    folder = Path(folder)
    experiment = read_experiment(folder)
    if not (folder / CONFIG_FILE).exists():
        raise FileNotFoundError(
            f"the run must be finished, got {folder}, which is not; go on with `remanent train --resume {folder}`"
        )
    return experiment, SequenceModel.load(folder)


def read_experiment(folder: Path) -> Experiment:
    """Reads the configuration of a run's folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"the run's folder must exist, got {folder}")
    return Experiment.from_dict(read_json(folder / "config.json"), str(folder / "config.json"))


def versions() -> dict[str, Any]:
    """What made a number: packages, Python, machine."""
    return {
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
    }


def _fit(experiment: Experiment, folder: Path, progress: bool) -> SequenceModel:
    config = experiment.training
    checkpoints = Checkpoints(folder / "checkpoints", identity(experiment.to_dict()))
    checkpoint, step = checkpoints.newest() or (None, 0)
    _cut_metrics(folder / "metrics.jsonl", step)
    callbacks: list[pl.Callback] = [
        MetricsFile(folder / "metrics.jsonl", config),
        WriteCheckpoint(checkpoints, config),
    ]
    if config.anneal:
        callbacks.append(AnnealEpsilon(config))
    if progress:
        callbacks.append(ProgressBar(f"{experiment.task.name} {experiment.model.unit}", config))
    module = ExperimentModule(experiment)
    with _quiet(config.threads):
        trainer = pl.Trainer(
            accelerator="cpu",
            max_steps=config.steps,
            gradient_clip_val=config.gradient_clip,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            logger=TensorBoardLogger(folder, name="tensorboard", version="", purge_step=step),
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            deterministic=True,
        )
        data = TaskData(experiment.task, config)
        try:
            trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
        except SystemExit:  # how Lightning ends after Ctrl-C, which it then ignores
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt(f"- go on with `remanent train --resume {folder}`") from None
    if trainer.global_step < config.steps:
        raise RuntimeError(
            f"the run stopped in step {trainer.global_step} of {config.steps}; go on with it by resuming"
        )
    module.model.eval()
    (folder / WEIGHTS_FILE).unlink(missing_ok=True)  # of this run, where it was cut off between its last two files
    module.model.save(folder)
    return module.model


def _cut_metrics(path: Path, step: int) -> None:
    """Drops the lines of steps that will be done again, and a line that was cut short."""
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


@contextmanager
def _quiet(threads: int) -> Iterator[None]:
    """The configured threads, and none of Lightning's advice, for the time of a fit."""
    before = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic)
        logger.setLevel(level)
