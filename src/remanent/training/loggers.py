"""Where a training also writes its metrics: TensorBoard, a CSV file, Weights & Biases, MLflow, or nowhere."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from remanent._plugins import naming_extra
from remanent.training.tensorboard import Board

TENSORBOARD_FOLDER = "tensorboard"
"""The events for TensorBoard."""
CSV_FILE = "metrics.csv"
"""A line for each number: its step, its name and its value."""
HEADER = "step,name,value\n"
PROJECT = "remanent"
"""The name of the project, or of the experiment, under which a service shows the runs."""


class RunLogger(Logger):
    """What all loggers of a run's folder share: its name, and no versions.

    Args:
        folder: the folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @property
    def name(self) -> str:
        """The name of the folder, by which a service shows the run."""
        return self.folder.name

    @property
    def version(self) -> str:
        """Empty: a folder holds one run."""
        return ""

    def log_hyperparams(self, params: Any) -> None:  # type: ignore[override]
        """Nothing: `config.json` has the configuration, which services get as a run begins there."""


class CsvLogger(RunLogger):
    """Appends a line for each number to `metrics.csv`; what was written of steps that are done again is dropped.

    Args:
        folder: the folder of the run.
        step: the number of steps that are done.
    """

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__(folder)
        self.path, self.step = folder / CSV_FILE, step
        self.begun = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Appends numbers of a step."""
        if not self.begun:
            self._begin()
        with self.path.open("a", newline="") as file:
            file.writelines(f"{step},{name},{value!r}\n" for name, value in metrics.items())

    def _begin(self) -> None:
        lines = self.path.read_text().splitlines(keepends=True)[1:] if self.path.exists() else []
        kept = [line for line in lines if line.endswith("\n") and int(line.partition(",")[0]) < self.step]
        self.path.write_text("".join([HEADER, *kept]), newline="")
        self.begun = True


class ServiceLogger(RunLogger):
    """Sends the metrics to a service, by a function that its own package gives.

    Args:
        folder: the folder of the run, whose name the service shows.
        begin: a function that begins or resumes the run there, and gives what sends the numbers of a step, and what
            ends the run with whether it ended well.
    """

    def __init__(
        self,
        folder: Path,
        begin: Callable[[Path], tuple[Callable[[dict[str, float], int], Any], Callable[[bool], Any]]],
    ) -> None:
        super().__init__(folder)
        self.begin = begin
        self.sent: tuple[Any, Any] | None = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Sends numbers of a step."""
        if self.sent is None:
            self.sent = self.begin(self.folder)
        self.sent[0]({name: float(value) for name, value in metrics.items()}, int(step or 0))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Ends the run at the service."""
        if self.sent is not None:
            self.sent[1](status == "success")
            self.sent = None


class StepsAsTaken(pl.Callback):
    """Lets a resumed training write metrics under the steps that are taken; Lightning would go on one step later."""

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Sets Lightning's count to the steps that are done; where an epoch begins again, it has counted one more."""
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def make_logger(name: str, folder: Path, step: int) -> Logger | bool:
    """What writes the metrics of a run beside `metrics.jsonl`.

    Args:
        name: one of `LOGGERS`, which `check_logger` has checked.
        folder: the folder of the run.
        step: the number of steps that are done.

    Returns:
        A logger of Lightning's, or False for none.
    """
    return LOGGERS[name](folder, step)


def check_logger(name: str) -> None:
    """Raises unless there is such a logger and its package is installed, before a run has begun.

    Raises:
        ValueError: there is none of this name.
        ModuleNotFoundError: its package is missing; the message names the extra.
    """
    from remanent._options import check_choice

    check_choice("logger", name, LOGGERS)
    with naming_extra():
        if name == "wandb":
            import wandb  # noqa: F401
        elif name == "mlflow":
            import mlflow  # noqa: F401


def _begin_wandb(folder: Path) -> tuple[Any, Any]:
    """Begins or resumes a run of Weights & Biases, under the name and the identity of the run; files stay in it."""
    import wandb

    from remanent._files import read_json
    from remanent.training.folder import EXPERIMENT_FILE, VERSIONS_FILE

    versions = read_json(folder / VERSIONS_FILE)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=folder.name,
        id=f"{folder.name}-{versions['run'][:8]}",
        resume="allow",
        dir=str(folder),
        config=read_json(folder / EXPERIMENT_FILE),
    )
    return lambda metrics, step: run.log(metrics, step=step), lambda well: run.finish(exit_code=0 if well else 1)


def _begin_mlflow(folder: Path) -> tuple[Any, Any]:
    """Begins a run of MLflow, at the address that MLFLOW_TRACKING_URI names, with the options as its parameters."""
    import mlflow

    from remanent._files import read_json
    from remanent.training.folder import EXPERIMENT_FILE

    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
    mlflow.start_run(run_name=folder.name)
    config = read_json(folder / EXPERIMENT_FILE)
    mlflow.log_params({f"{table}.{key}": value for table, values in config.items() for key, value in values.items()})
    ended = {True: "FINISHED", False: "FAILED"}
    return lambda metrics, step: mlflow.log_metrics(metrics, step=step), lambda well: mlflow.end_run(ended[well])


LOGGERS: dict[str, Callable[[Path, int], Logger | bool]] = {
    "tensorboard": lambda folder, step: Board(folder / TENSORBOARD_FOLDER, step),
    "csv": CsvLogger,
    "wandb": lambda folder, step: ServiceLogger(folder, _begin_wandb),
    "mlflow": lambda folder, step: ServiceLogger(folder, _begin_mlflow),
    "none": lambda folder, step: False,
}
"""Name to a function that makes a logger for the folder of a run, of which so many steps are done."""
