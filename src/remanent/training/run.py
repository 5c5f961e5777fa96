"""A run: one folder from configuration to weights, which can be interrupted and goes on exactly."""

import importlib.metadata
import json
import logging
import os
import platform
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.loggers import TensorBoardLogger

from remanent._files import new_folder, read_json, write_json, write_whole
from remanent._machine import processor_name
from remanent._terminal import Terminated
from remanent.distributed.heartbeat import Heartbeat
from remanent.distributed.ranks import Launch, Ranks, joined
from remanent.models import SequenceModel
from remanent.models.sequence import CONFIG_FILE, WEIGHTS_FILE
from remanent.records.configuration import Experiment
from remanent.records.identity import identity
from remanent.training.callbacks import (
    AdvanceHeartbeat,
    AnnealEpsilon,
    LateErrors,
    MetricsFile,
    ProgressBar,
    WriteCheckpoint,
)
from remanent.training.checkpoints import Checkpoints, owned
from remanent.training.data import TaskData
from remanent.training.experiment import ExperimentModule
from remanent.training.live import ShowMemory
from remanent.training.seconds import note_resumed
from remanent.training.sharing import check_fit, check_same, losses_named, place

PACKAGES = ("remanent", "torch", "numpy", "numba", "pytorch-lightning", "scikit-learn")


def start_run(
    experiment: Experiment,
    folder: str | Path,
    *,
    progress: bool = True,
    launch: Launch | None = None,
    after_checkpoint: Callable[[], None] | None = None,
    recipe: str | None = None,
) -> SequenceModel:
    """Trains from the first step, in a folder that must not exist yet.

    Where a launcher such as torchrun has started several processes, each calls this function with the same arguments:
    they train one model together, and the first writes the folder, which all must be able to read.

    The folder comes to hold `config.json`, `versions.json` (with the seed), `metrics.jsonl`,
    `checkpoints/`, `tensorboard/`, and at the end `model.json` and `model.safetensors`.

    Args:
        experiment: the whole configuration.
        folder: where the run is kept.
        progress: whether a bar is drawn.
        launch: how several processes share the work.
        after_checkpoint: called on the first process after each checkpoint is written.
        recipe: the name of the recipe that the configuration was made from, which `versions.json` then names.

    Returns:
        The trained model, on every process.

    Raises:
        ValueError: the processes do not fit the run, or were not given the same one.
        FileExistsError: the folder exists.
        OSError: it cannot be made.
        FloatingPointError: the loss was not finite; the message names the step and the batch's seed.
        KeyboardInterrupt: the run was interrupted; it can be resumed.
        Terminated: SIGTERM came; a checkpoint was written, from which it can be resumed.
        RuntimeError: another process was lost, or trains in this folder.
    """
    folder = Path(folder)
    with joined(launch or Launch()) as ranks, ExitStack() as held:
        ranks.all_do(lambda: check_fit(experiment, ranks))  # reads the data's size: what is missing is missed here
        check_same(experiment.to_dict(), ranks)
        ranks.first_does(lambda: _begin(experiment, folder, ranks, recipe))
        ranks.all_do(lambda: read_experiment(folder))  # does each process see it?
        ranks.all_do(lambda: held.enter_context(owned(folder)) if ranks.rank == 0 else None)
        return _fit(experiment, folder, progress, ranks, after_checkpoint)


def _begin(experiment: Experiment, folder: Path, ranks: Ranks, recipe: str | None) -> None:
    """Makes the run's folder."""
    if folder.exists():
        raise FileExistsError(
            f"the run's folder must not exist yet, got {folder}; to go on with it, `remanent train --resume {folder}`"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder) as staged:
        (staged / "checkpoints").mkdir()
        write_json(staged / "config.json", experiment.to_dict())
        began = {"seed": experiment.training.seed} | ({} if recipe is None else {"recipe": recipe})
        write_json(staged / "versions.json", {**began, **versions(), **_shared(ranks)})


def _shared(ranks: Ranks) -> dict[str, Any]:
    """By how many processes, and how, a run was begun; nothing where it was one."""
    if ranks.size == 1:
        return {}
    launch = ranks.launch
    how = {"strategy": launch.strategy, "time_shards": launch.time_shards, "accelerator": launch.accelerator}
    return {"processes": ranks.size, **how}


def resume_run(
    folder: str | Path,
    *,
    progress: bool = True,
    launch: Launch | None = None,
    after_checkpoint: Callable[[], None] | None = None,
) -> SequenceModel:
    """Goes on with an interrupted run from its last checkpoint, to the same weights, bit for bit.

    On another number of processes than before, or with another strategy, they are the same up to rounding.

    Args:
        folder: of a run that `start_run` began; its own configuration is used.
        progress: whether a bar is drawn.
        launch: how several processes share the work.
        after_checkpoint: called on the first process after each checkpoint is written.

    Returns:
        The trained model, on every process; one that was finished already is loaded.

    Raises:
        FileNotFoundError: the folder holds no run, or a process does not see it.
        ValueError: its configuration or its checkpoint is corrupt, or the processes do not fit the run.
        KeyboardInterrupt, Terminated, FloatingPointError, RuntimeError: as `start_run`.
    """
    folder = Path(folder)
    with joined(launch or Launch()) as ranks, ExitStack() as held:
        experiment = ranks.all_do(lambda: read_experiment(folder))
        ranks.all_do(lambda: check_fit(experiment, ranks))
        if ranks.first_does((folder / CONFIG_FILE).exists):
            return SequenceModel.load(folder)
        ranks.all_do(lambda: held.enter_context(owned(folder)) if ranks.rank == 0 else None)
        ranks.first_does(lambda: note_resumed(folder))
        return _fit(experiment, folder, progress, ranks, after_checkpoint)


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


def _fit(
    experiment: Experiment,
    folder: Path,
    progress: bool,
    ranks: Ranks,
    after_checkpoint: Callable[[], None] | None,
) -> SequenceModel:
    config, advice = experiment.training, ranks.launch.advice(folder, ranks.local_size)
    checkpoints = Checkpoints(folder / "checkpoints", identity(experiment.to_dict()))
    checkpoint, step = ranks.first_does(checkpoints.newest) or (None, 0)
    ranks.first_does(lambda: _cut_metrics(folder / "metrics.jsonl", step))
    heartbeat, io = Heartbeat(ranks, advice), LateErrors()
    callbacks: list[pl.Callback] = [AdvanceHeartbeat(heartbeat)]
    if ranks.rank == 0:
        callbacks.append(MetricsFile(folder / "metrics.jsonl", config))
    callbacks.append(WriteCheckpoint(checkpoints, config, ranks, io, advice, after_checkpoint))
    if config.anneal:
        callbacks.append(AnnealEpsilon(config))
    if ranks.rank == 0 and ranks.launch.strategy != "fsdp":
        callbacks.append(ShowMemory(experiment))
    if progress and ranks.rank == 0:
        callbacks.append(ProgressBar(f"{experiment.task.name} {experiment.model.unit}", config))
    module = ExperimentModule(experiment, ranks)
    with _quiet(config.threads):
        trainer = pl.Trainer(
            **place(ranks),
            plugins=[io] if ranks.size == 1 else [io, TorchElasticEnvironment()],
            max_steps=config.steps,
            gradient_clip_val=config.gradient_clip,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            logger=TensorBoardLogger(folder, name="tensorboard", version="", purge_step=step),
            callbacks=callbacks,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            deterministic=True,
        )
        data = TaskData(experiment.task, config, ranks)
        try:
            with heartbeat.beating(), losses_named(heartbeat, advice):
                trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
                weights = trainer.strategy.lightning_module_state_dict()
        except Terminated:
            raise
        except SystemExit:  # how Lightning ends after Ctrl-C, which it then ignores
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt(f"- {advice}") from None
    if trainer.global_step < config.steps:
        raise RuntimeError(f"the run stopped in step {trainer.global_step} of {config.steps}; {advice}")
    ranks.first_does(lambda: _save(module, weights, folder))
    return module.model.eval() if ranks.size == 1 else SequenceModel.load(folder).eval()


def _save(module: ExperimentModule, weights: dict[str, Any], folder: Path) -> None:
    """Writes the model, whose weights no process may hold whole."""
    (folder / WEIGHTS_FILE).unlink(missing_ok=True)  # of this run, where it was cut off between its last two files
    model = SequenceModel(module.experiment.model)
    model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
    if module.model.epsilon is not None:
        model.set_epsilon(module.model.epsilon)
    model.save(folder)


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
            warnings.filterwarnings("ignore", message=".*LeafSpec.*|.*find_unused_parameters=True was specified.*")
            warnings.filterwarnings("ignore", message=".*FSDP2-wrapped module .* returned a view tensor.*")
            yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic)
        logger.setLevel(level)
