"""A run: one folder from configuration to weights, which can be interrupted and resumes to the same bits."""

import remanent._lightning  # isort: skip # noqa: F401 - before all that imports Lightning

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from remanent._files import write_json
from remanent._restore import generators_kept
from remanent._terminal import Terminated
from remanent.distributed.heartbeat import Heartbeat
from remanent.distributed.ranks import Launch, Ranks, joined
from remanent.models import SequenceModel
from remanent.records.configuration import Experiment
from remanent.records.identity import identity
from remanent.records.training_config import TrainingConfig
from remanent.training.callbacks import (
    AdvanceHeartbeat,
    AnnealEpsilon,
    LateErrors,
    MetricsFile,
    ProgressBar,
    WriteCheckpoint,
)
from remanent.training.checkpoints import Checkpoints
from remanent.training.data import TaskData
from remanent.training.experiment import ExperimentModule, begin_with_rates
from remanent.training.folder import (
    CHECKPOINTS_FOLDER,
    METRICS_FILE,
    RATES_FILE,
    begin_folder,
    check_nothing_lost,
    check_unchanged,
    cut_metrics,
    is_finished,
    load_run,
    owned,
    read_experiment,
    write_model,
)
from remanent.training.interrupts import Interrupted, heeding_interrupts
from remanent.training.loggers import StepsAsTaken, check_logger, make_logger
from remanent.training.pace.stopping import StopEarly
from remanent.training.seconds import note_resumed
from remanent.training.sharing import KnownRanks, RunTrainer, check_fit, check_same, losses_named, place, rank_known
from remanent.training.steps.compiling import SayCompilation
from remanent.training.steps.ending import ending_weights
from remanent.training.surroundings import surroundings, with_threads
from remanent.training.tensorboard import ShowMemory


def start_run(
    experiment: Experiment,
    folder: str | Path,
    *,
    progress: bool = True,
    launch: Launch | None = None,
    after_checkpoint: Callable[[], None] | None = None,
    recipe: str | None = None,
    logger: str = "tensorboard",
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
        logger: where metrics go beside `metrics.jsonl`, one of "tensorboard", "csv", "wandb", "mlflow" and "none".

    Returns:
        The trained model, on every process.

    Raises:
        ValueError: the processes do not fit the run, or got different configurations.
        FileExistsError: the folder exists.
        OSError: the folder cannot be made.
        FloatingPointError: the loss was not finite; the message names the step and the batch's seed.
        KeyboardInterrupt: Ctrl-C ended the run after its step, with a checkpoint, from which it can be resumed; a
            second Ctrl-C ends it at once, and it resumes from the checkpoint before.
        Terminated: SIGTERM ended the run after a checkpoint, from which it can be resumed.
        RuntimeError: another process was lost, or trains in this folder.
    """
    folder = Path(folder)
    check_logger(logger)
    with joined(launch or Launch()) as ranks, generators_kept(), ExitStack() as held:
        ranks.all_do(lambda: check_fit(experiment, ranks))  # reads the data's size: missing files are found here
        check_same(experiment.to_dict(), ranks)
        ranks.first_does(lambda: begin_folder(folder, experiment, ranks, recipe))
        ranks.all_do(lambda: read_experiment(folder))  # raises on a process that does not see the folder
        ranks.all_do(lambda: held.enter_context(owned(folder)) if ranks.rank == 0 else None)
        if ranks.first_does(lambda: is_finished(folder)):  # another process has resumed it since the folder was made
            return SequenceModel.load(folder)
        return _fit(experiment, folder, progress, ranks, after_checkpoint, logger=logger)


def resume_run(
    folder: str | Path,
    *,
    progress: bool = True,
    launch: Launch | None = None,
    after_checkpoint: Callable[[], None] | None = None,
    data_dir: str | None = None,
    threads: int | None = None,
    logger: str = "tensorboard",
) -> SequenceModel:
    """Resumes an interrupted run from its last checkpoint; it ends in the same weights, bit for bit.

    With another number of processes than before, or with another strategy, they are the same up to rounding.

    Args:
        folder: the folder of a run that `start_run` began; the configuration in it is used.
        progress: whether a progress bar is drawn.
        launch: the processes and devices that share the work; None for one process on the CPU.
        after_checkpoint: called on the first process after each checkpoint is written.
        data_dir: the folder that holds the data now; None for the place that the configuration names.
        threads: the number of torch threads from here on, in [1, 1024]; None for the configuration's. With another
            number, sums are rounded in another order, which a warning says.
        logger: where metrics go from here on, beside `metrics.jsonl`: one of those of `start_run`.

    Returns:
        The trained model, on every process; a run that is finished already is loaded.

    Raises:
        FileNotFoundError: the folder holds no run, or a process does not see it.
        ValueError: the configuration or the checkpoints are corrupt or lost, the configuration or a user's text has
            changed, or the processes do not fit the run.
        FloatingPointError: the loss was not finite; the message names the step and the batch's seed.
        KeyboardInterrupt: Ctrl-C ended the run after its step, with a checkpoint, from which it can be resumed; a
            second Ctrl-C ends it at once, and it resumes from the checkpoint before.
        Terminated: SIGTERM ended the run after a checkpoint, from which it can be resumed.
        RuntimeError: another process was lost, or trains in this folder.
    """
    folder = Path(folder)
    check_logger(logger)
    with joined(launch or Launch()) as ranks, generators_kept(), ExitStack() as held:
        experiment = ranks.all_do(
            lambda: with_threads(read_experiment(folder, data_dir), threads, said=ranks.rank == 0)
        )
        ranks.all_do(lambda: check_fit(experiment, ranks))
        if ranks.first_does(lambda: is_finished(folder)):
            return load_run(folder, data_dir=data_dir)[1]
        ranks.all_do(lambda: held.enter_context(owned(folder)) if ranks.rank == 0 else None)
        if ranks.first_does(lambda: is_finished(folder)):  # its owner has finished it since the first look
            return load_run(folder, data_dir=data_dir)[1]
        return _fit(
            experiment, folder, progress, ranks, after_checkpoint, logger=logger, resumed=True, data_dir=data_dir
        )


def _fit(
    experiment: Experiment,
    folder: Path,
    progress: bool,
    ranks: Ranks,
    after_checkpoint: Callable[[], None] | None,
    *,
    logger: str,
    resumed: bool = False,
    data_dir: str | None = None,
) -> SequenceModel:
    """Trains from the last checkpoint, or from the first step if there is none, and writes the model."""
    config, advice = experiment.training, ranks.launch.advice(folder, ranks.local_size, data_dir)
    checkpoints = Checkpoints(folder / CHECKPOINTS_FOLDER, identity(experiment.to_dict()))
    checkpoint, step = ranks.first_does(lambda: _newest(checkpoints, folder, experiment)) or (None, 0)
    if resumed:  # only once a checkpoint was found whole: a run that is rejected stays as it is
        ranks.first_does(lambda: note_resumed(folder))
    ranks.first_does(lambda: cut_metrics(folder, step))
    heartbeat, io = Heartbeat(ranks, advice), LateErrors()
    writer = WriteCheckpoint(checkpoints, config, ranks, io, advice, after_checkpoint)
    module = ExperimentModule(experiment, ranks)
    data = TaskData(experiment.task, config, ranks, module.lengths.task_at)
    if config.write_rates and checkpoint is None and any(unit.latches for unit in module.model.recurrences):
        rates = begin_with_rates(module.model, module.lengths.task_at(0), config, said=ranks.rank == 0)
        ranks.first_does(lambda: write_json(folder / RATES_FILE, rates))
    with surroundings(config.threads), rank_known(ranks):
        trainer = RunTrainer(
            **place(ranks),
            plugins=[io, KnownRanks(ranks)],
            default_root_dir=os.devnull,  # where Lightning finds no checkpoint that a job of SLURM has left
            **_steps(config),
            logger=make_logger(logger, folder, step),
            callbacks=_callbacks(module, folder, progress, heartbeat, writer),
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            deterministic=True,
        )
        try:
            with heartbeat.beating(), losses_named(heartbeat, advice), heeding_interrupts(module, ranks, said=progress):
                trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
                weights = trainer.strategy.lightning_module_state_dict()
        except Interrupted as ended:
            raise KeyboardInterrupt(str(ended) or f"- {advice}") from None
        except Terminated:
            raise
        except SystemExit:  # Lightning exits after a KeyboardInterrupt of the user's own
            raise KeyboardInterrupt(f"- {advice}") from None
    if trainer.global_step < module.settling.end:
        raise RuntimeError(f"the run stopped in step {trainer.global_step} of {module.settling.end}; {advice}")
    chosen = partial(ending_weights, experiment, checkpoints, weights, module.average)
    ranks.first_does(lambda: write_model(folder, experiment, chosen(), module.model.epsilon))
    if signal.SIGINT in ranks.gather(module.signalled):
        raise KeyboardInterrupt(f"after the last step; {folder} is finished")
    own = ranks.size == 1 and config.keep == "last" and module.average is None
    return module.model.eval() if own else SequenceModel.load(folder)


def _steps(config: TrainingConfig) -> dict[str, Any]:
    """The arguments of Lightning's `Trainer` that say what its steps are, and how often it validates."""
    return {
        "max_steps": config.steps,
        "accumulate_grad_batches": config.accumulate,
        "gradient_clip_val": config.gradient_clip,
        "precision": config.precision,
        "reload_dataloaders_every_n_epochs": 1,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }


def _newest(checkpoints: Checkpoints, folder: Path, experiment: Experiment) -> tuple[Path, int] | None:
    """The last whole checkpoint and its step; None if the run has none yet, which is made sure of."""
    found = checkpoints.newest()
    check_unchanged(folder, experiment)
    if found is None:
        check_nothing_lost(folder, experiment.training.checkpoint_every)
    return found


def _callbacks(
    module: ExperimentModule, folder: Path, progress: bool, heartbeat: Heartbeat, writer: WriteCheckpoint
) -> list[pl.Callback]:
    """What happens between steps on this process, in this order: the first process alone writes and shows.

    Whatever has a state or is in the metrics comes before the checkpoint is written, after which a run may end.
    """
    experiment, ranks = module.experiment, module.ranks
    config, first = experiment.training, ranks.rank == 0
    callbacks: list[pl.Callback] = [StepsAsTaken(), AdvanceHeartbeat(heartbeat), module.lengths, module.settling]
    if first and ranks.launch.strategy != "fsdp":
        callbacks.append(ShowMemory(experiment))
    if first:
        callbacks.append(MetricsFile(folder / METRICS_FILE, config))
    if config.anneal:
        callbacks.append(AnnealEpsilon(config, module.model))
    callbacks += [each for each in (module.carried, module.average) if each is not None]
    if config.patience is not None:
        callbacks.append(StopEarly(experiment.task, config.patience))
    callbacks.append(writer)
    if first and progress and config.compile:
        callbacks.append(SayCompilation())
    if first and progress:
        callbacks.append(ProgressBar(f"{experiment.task.name} {experiment.model.unit}", config))
    return callbacks
