"""The run of an agent: one folder from configuration to weights, which is resumed to the same bits."""

import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from remanent._files import to_json
from remanent._plugins import suggested
from remanent._restore import handlers_kept, threads_set
from remanent._terminal import Terminated, progress_bar
from remanent.distributed.ranks import Ranks
from remanent.models import SequenceModel
from remanent.rl.agent_config import AgentExperiment, read_agent
from remanent.rl.agent_scores import score_agent
from remanent.rl.agent_training import AgentTraining
from remanent.tasks.metrics import METRICS
from remanent.training.checkpoints import NOTE, Checkpoints, Note
from remanent.training.folder import (
    CHECKPOINTS_FOLDER,
    EXPERIMENT_FILE,
    METRICS_FILE,
    check_identity,
    check_new,
    check_nothing_lost,
    cut_metrics,
    is_finished,
    make_folder,
    owned,
    save_trained,
)
from remanent.training.interrupts import Interrupted, heeding_interrupts
from remanent.training.loggers import check_logger, make_logger
from remanent.training.seconds import note_resumed

VALIDATED = 100
"""The number of episodes in which an agent is scored before each checkpoint."""


def start_agent(
    experiment: AgentExperiment,
    folder: str | Path,
    *,
    progress: bool = True,
    logger: str = "tensorboard",
    after_checkpoint: Callable[[], None] | None = None,
) -> SequenceModel:
    """Trains an agent from the first frame, in a folder that must not exist yet.

    The folder holds what that of `remanent train` holds: `config.json`, `versions.json`, `metrics.jsonl`,
    `checkpoints/`, `tensorboard/`, and at the end `model.json` and `model.safetensors`.

    Args:
        experiment: the whole configuration.
        folder: the folder of the run.
        progress: whether a progress bar is drawn.
        logger: where metrics go beside `metrics.jsonl`, one of "tensorboard", "csv", "wandb", "mlflow" and "none".
        after_checkpoint: called after each checkpoint is written.

    Returns:
        The trained model.

    Raises:
        FileExistsError: the folder exists.
        OSError: the folder cannot be made.
        FloatingPointError: the loss was not finite; the message names the update.
        KeyboardInterrupt: Ctrl-C ended the run after its update, with a checkpoint, from which it can be resumed.
        Terminated: SIGTERM ended the run after a checkpoint, from which it can be resumed.
        RuntimeError: another process trains in this folder.
    """
    folder = Path(folder)
    check_logger(logger)
    check_new(folder, "rl")
    began = {"run": experiment.identity, "seed": experiment.agent.seed, "recipe": experiment.environment.name}
    make_folder(folder, experiment.to_dict(), began)
    with owned(folder):
        return _fit(experiment, folder, progress, logger, after_checkpoint)


def resume_agent(
    folder: str | Path,
    *,
    progress: bool = True,
    logger: str = "tensorboard",
    after_checkpoint: Callable[[], None] | None = None,
) -> SequenceModel:
    """Resumes the interrupted run of an agent from its last checkpoint; it ends in the same weights, bit for bit.

    Args:
        folder: the folder of a run that `start_agent` began; the configuration in it is used.
        progress: whether a progress bar is drawn.
        logger: where metrics go from here on, beside `metrics.jsonl`: one of those of `start_agent`.
        after_checkpoint: called after each checkpoint is written.

    Returns:
        The trained model; a run that is finished already is loaded.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: the configuration or the checkpoints are corrupt or lost, or the configuration has changed.
        FloatingPointError: the loss was not finite; the message names the update.
        KeyboardInterrupt: Ctrl-C ended the run after its update, with a checkpoint, from which it can be resumed.
        Terminated: SIGTERM ended the run after a checkpoint, from which it can be resumed.
        RuntimeError: another process trains in this folder.
    """
    folder = Path(folder)
    check_logger(logger)
    experiment = read_run(folder)
    if is_finished(folder):
        return SequenceModel.load(folder)
    with owned(folder):
        if is_finished(folder):  # its owner has finished it since the first look
            return SequenceModel.load(folder)
        return _fit(experiment, folder, progress, logger, after_checkpoint, resumed=True)


def read_run(folder: Path) -> AgentExperiment:
    """Reads the configuration of an agent's run.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: the configuration is corrupt, or another one than the run was begun with.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"the run's folder must exist, got {folder}")
    experiment = read_agent(folder / EXPERIMENT_FILE)
    check_identity(folder, experiment.identity)
    return experiment


def load_agent(folder: str | Path) -> tuple[AgentExperiment, SequenceModel]:
    """Reads the finished run of an agent: its configuration and its model.

    Args:
        folder: the folder of the run.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: a file is corrupt, or has changed since the run began.
    """
    folder = Path(folder)
    experiment = read_run(folder)
    if not is_finished(folder):
        how = suggested("rl", "--resume", str(folder))
        raise FileNotFoundError(f"the run must be finished, got {folder}, which is not; resume it with {how}")
    return experiment, SequenceModel.load(folder)


class _Signals:
    """The number of the signal that this process has received and that ends the run; 0 for none."""

    signalled = 0


def _fit(
    experiment: AgentExperiment,
    folder: Path,
    progress: bool,
    logger: str,
    after_checkpoint: Callable[[], None] | None,
    *,
    resumed: bool = False,
) -> SequenceModel:
    """Trains from the last checkpoint, or from the first frame if there is none, and writes the model."""
    config, checkpoints = experiment.agent, Checkpoints(folder / CHECKPOINTS_FOLDER, experiment.identity)
    training, newest = AgentTraining(experiment), checkpoints.newest()
    if newest is None:
        check_nothing_lost(folder, config.checkpoint_every)
    else:
        training.load_state_dict(torch.load(newest[0], weights_only=True)["training"])
    if resumed:
        note_resumed(folder)
    cut_metrics(folder, training.done)
    signals, advice = _Signals(), f"resume it with {suggested('rl', '--resume', str(folder))}"
    save = partial(_checkpoint, training, checkpoints, folder, after_checkpoint)
    sent: Any = make_logger(logger, folder, training.done)
    try:
        with threads_set(config.threads), handlers_kept(), heeding_interrupts(signals, Ranks(), said=progress):
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, lambda number, _: setattr(signals, "signalled", number))
            _loop(training, folder, sent, save, signals, progress)
    except Interrupted as ended:
        raise KeyboardInterrupt(str(ended) or f"- {advice}") from None
    if training.done < config.updates:
        where = f"after update {training.done} of {config.updates}; {advice}"
        if signals.signalled == signal.SIGINT:
            raise KeyboardInterrupt(where)
        raise Terminated(f"by SIGTERM {where}")
    training.finish()
    return _end(training, checkpoints, folder)


def _loop(
    training: AgentTraining, folder: Path, sent: Any, save: Callable[[bool], None], signals: _Signals, progress: bool
) -> None:
    """Updates until the last one or a signal, with a line of metrics for each, and checkpoints."""
    config, title = training.experiment.agent, METRICS[training.experiment.metric].title
    with progress_bar(config.updates, lines=False) as show:
        while training.done < config.updates and not signals.signalled:
            found, step = training.update(), training.done - 1
            _write(folder, {"step": step, **found})
            if sent:
                sent.log_metrics({name: value for name, value in found.items() if value is not None}, step)
            if training.done % config.checkpoint_every == 0 or training.done == config.updates:
                save(True)
            elif signals.signalled:
                save(False)
            if progress:
                note = f"{title} {found['score']:.2f}" if "score" in found else ""
                show(training.done, f"{training.experiment.environment.name} {training.model.config.unit}  {note}")
    if sent:
        sent.finalize("success")


def _checkpoint(
    training: AgentTraining, checkpoints: Checkpoints, folder: Path, after: Callable[[], None] | None, scored: bool
) -> None:
    """Scores the agent, and writes a checkpoint with what the score is where it counts."""
    config, metric = training.experiment.agent, training.experiment.metric
    score = None
    if scored:
        found = score_agent(training.model, training.experiment.environment, split="validation", episodes=VALIDATED)
        _write(folder, {"step": training.done - 1, f"validation_{metric}": found})
        score = found if training.is_final else None
    note = Note(checkpoints.identity, score)._asdict()
    content = {"global_step": training.done, NOTE: note, "training": training.state_dict()}
    more = METRICS[metric].more_is_better
    checkpoints.write(
        partial(torch.save, content), training.done, score, keep=config.keep_checkpoints, more_is_better=more
    )
    if after is not None:
        after()


def _end(training: AgentTraining, checkpoints: Checkpoints, folder: Path) -> SequenceModel:
    """Writes the model with the weights that the configuration asks for, which finishes the run."""
    model, experiment = training.model, training.experiment
    best = checkpoints.best(METRICS[experiment.metric].more_is_better) if experiment.agent.keep == "best" else None
    if best is not None:
        model.load_state_dict(torch.load(best[0], weights_only=True)["training"]["model"])
    save_trained(folder, model)
    return model.eval()


def _write(folder: Path, line: dict[str, Any]) -> None:
    with (folder / METRICS_FILE).open("a") as file:
        file.write(to_json(line) + "\n")
