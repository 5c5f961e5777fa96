"""A run: one folder from configuration to weights, which can be interrupted and resumes to the same bits."""

import remanent._lightning  # isort: skip # noqa: F401 - before all that imports Lightning

import logging
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from remanent._terminal import Terminated
from remanent.distributed.heartbeat import Heartbeat
from remanent.distributed.ranks import Launch, Ranks, joined
from remanent.models import SequenceModel
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
from remanent.training.folder import (
    CHECKPOINTS_FOLDER,
    METRICS_FILE,
    TENSORBOARD_FOLDER,
    begin_folder,
    cut_metrics,
    is_finished,
    read_experiment,
    write_model,
)
from remanent.training.seconds import note_resumed
from remanent.training.sharing import KnownRanks, RunTrainer, check_fit, check_same, losses_named, place, rank_known
from remanent.training.tensorboard import ShowMemory


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

    If a launcher such as torchrun has started several processes, each of them calls this function with the same
    arguments: they train one model together, and the first writes the folder, which all must be able to read.

    The folder will hold `config.json`, `versions.json` (with the seed), `metrics.jsonl`,
    `checkpoints/`, `tensorboard/`, and at the end `model.json` and `model.safetensors`.

    Args:
        experiment: the whole configuration.
        folder: the folder of the run.
        progress: whether a progress bar is drawn.
        launch: the processes and devices that share the work; None for one process on the CPU.
        after_checkpoint: called on the first process after each checkpoint is written.
        recipe: the name of the recipe that the configuration was made from, noted in `versions.json`.

    Returns:
        The trained model, on every process.

    Raises:
        ValueError: the processes do not fit the run, or got different configurations.
        FileExistsError: the folder exists.
        OSError: the folder cannot be made.
        FloatingPointError: the loss was not finite; the message names the step and the batch's seed.
        KeyboardInterrupt: the run was interrupted; it can be resumed.
        Terminated: SIGTERM ended the run after a checkpoint, from which it can be resumed.
        RuntimeError: another process was lost, or trains in this folder.
    """
    folder = Path(folder)
    with joined(launch or Launch()) as ranks, ExitStack() as held:
        ranks.all_do(lambda: check_fit(experiment, ranks))  # reads the data's size: missing files are found here
        check_same(experiment.to_dict(), ranks)
        ranks.first_does(lambda: begin_folder(folder, experiment, ranks, recipe))
        ranks.all_do(lambda: read_experiment(folder))  # raises on a process that does not see the folder
        ranks.all_do(lambda: held.enter_context(owned(folder)) if ranks.rank == 0 else None)
        return _fit(experiment, folder, progress, ranks, after_checkpoint)


def resume_run(
    folder: str | Path,
    *,
    progress: bool = True,
    launch: Launch | None = None,
    after_checkpoint: Callable[[], None] | None = None,
) -> SequenceModel:
    """Resumes an interrupted run from its last checkpoint; it ends in the same weights, bit for bit.

    With another number of processes than before, or with another strategy, they are the same up to rounding.

    Args:
        folder: the folder of a run that `start_run` began; the configuration in it is used.
        progress: whether a progress bar is drawn.
        launch: the processes and devices that share the work; None for one process on the CPU.
        after_checkpoint: called on the first process after each checkpoint is written.

    Returns:
        The trained model, on every process; a run that is finished already is loaded.

    Raises:
        FileNotFoundError: the folder holds no run, or a process does not see it.
        ValueError: the configuration or the checkpoints are corrupt, or the processes do not fit the run.
        FloatingPointError: the loss was not finite; the message names the step and the batch's seed.
        KeyboardInterrupt: the run was interrupted; it can be resumed.
        Terminated: SIGTERM ended the run after a checkpoint, from which it can be resumed.
        RuntimeError: another process was lost, or trains in this folder.
    """
    folder = Path(folder)
    with joined(launch or Launch()) as ranks, ExitStack() as held:
        experiment = ranks.all_do(lambda: read_experiment(folder))
        ranks.all_do(lambda: check_fit(experiment, ranks))
        if ranks.first_does(lambda: is_finished(folder)):
            return SequenceModel.load(folder)
        ranks.all_do(lambda: held.enter_context(owned(folder)) if ranks.rank == 0 else None)
        return _fit(experiment, folder, progress, ranks, after_checkpoint, resumed=True)


def _fit(
    experiment: Experiment,
    folder: Path,
    progress: bool,
    ranks: Ranks,
    after_checkpoint: Callable[[], None] | None,
    *,
    resumed: bool = False,
) -> SequenceModel:
    """Trains from the last checkpoint, or from the first step if there is none, and writes the model."""
    config, advice = experiment.training, ranks.launch.advice(folder, ranks.local_size)
    checkpoints = Checkpoints(folder / CHECKPOINTS_FOLDER, identity(experiment.to_dict()))
    checkpoint, step = ranks.first_does(checkpoints.newest) or (None, 0)
    if resumed:  # only once a checkpoint was found whole: a run that is rejected stays as it is
        ranks.first_does(lambda: note_resumed(folder))
    ranks.first_does(lambda: cut_metrics(folder, step))
    heartbeat, io = Heartbeat(ranks, advice), LateErrors()
    writer = WriteCheckpoint(checkpoints, config, ranks, io, advice, after_checkpoint)
    module, data = ExperimentModule(experiment, ranks), TaskData(experiment.task, config, ranks)
    with _quiet(config.threads), rank_known(ranks):
        trainer = RunTrainer(
            **place(ranks),
            plugins=[io, KnownRanks(ranks)],
            default_root_dir=folder,  # Lightning looks there, in a job of SLURM, for the checkpoint of another run
            max_steps=config.steps,
            gradient_clip_val=config.gradient_clip,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            logger=TensorBoardLogger(folder, name=TENSORBOARD_FOLDER, version="", purge_step=step),
            callbacks=_callbacks(experiment, folder, progress, ranks, heartbeat, writer),
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            deterministic=True,
        )
        try:
            with heartbeat.beating(), losses_named(heartbeat, advice):
                trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
                weights = trainer.strategy.lightning_module_state_dict()
        except Terminated:
            raise
        except SystemExit:  # Lightning exits after Ctrl-C, and ignores the next one
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt(f"- {advice}") from None
    if trainer.global_step < config.steps:
        raise RuntimeError(f"the run stopped in step {trainer.global_step} of {config.steps}; {advice}")
    ranks.first_does(lambda: write_model(folder, experiment, weights, module.model.epsilon))
    return module.model.eval() if ranks.size == 1 else SequenceModel.load(folder).eval()


def _callbacks(
    experiment: Experiment,
    folder: Path,
    progress: bool,
    ranks: Ranks,
    heartbeat: Heartbeat,
    writer: WriteCheckpoint,
) -> list[pl.Callback]:
    """What happens between steps on this process, in this order: the first process alone writes and shows."""
    config, first = experiment.training, ranks.rank == 0
    callbacks: list[pl.Callback] = [AdvanceHeartbeat(heartbeat)]
    if first:
        callbacks.append(MetricsFile(folder / METRICS_FILE, config))
    callbacks.append(writer)
    if config.anneal:
        callbacks.append(AnnealEpsilon(config))
    if first and ranks.launch.strategy != "fsdp":
        callbacks.append(ShowMemory(experiment))
    if first and progress:
        callbacks.append(ProgressBar(f"{experiment.task.name} {experiment.model.unit}", config))
    return callbacks


@contextmanager
def _quiet(threads: int) -> Iterator[None]:
    """Sets the configured threads and silences the advice of Lightning within the context."""
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
