"""What TensorBoard shows of a training, and of a model's memory in it; and a warning where a layer hardly writes."""

import statistics
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

from remanent.analysis import Writes, write_statistics
from remanent.analysis.automata.heads import all_heads, maps_reached, tables_of
from remanent.analysis.portrait import example_inputs, first_loop, first_raster, has_latches, write_summary
from remanent.models import SequenceModel
from remanent.records.configuration import Experiment
from remanent.training.steps.step_callback import StepCallback

EVERY = 200
"""The number of steps between two looks; a shorter training has none."""
HARDLY = 0.1
"""A layer hardly writes whose channels are written fewer times in a sequence, in the mean."""
MOST = 0.6
"""The largest share of steps in which the channels of a healthy layer are written."""
FLUSH_SECONDS = 2
"""The seconds after which events are written at the latest, even where the writing thread was not notified."""


class Board(TensorBoardLogger):
    """Writes events into a folder, whatever its name is.

    Lightning would take `::` and `file:` in a name for addresses, and `$` or `~` for a variable or a home folder.

    Args:
        folder: the folder of the events.
        step: the number of steps that are done; TensorBoard leaves out what was written of later ones.
    """

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__("", name="", version="", purge_step=step, flush_secs=FLUSH_SECONDS)
        self.folder = folder

    @property
    def log_dir(self) -> str:
        """The folder of the events."""
        return str(self.folder)

    def save(self) -> None:
        """Writes out what was logged."""
        if self._experiment is not None:
            self._experiment.flush()


class ShowMemory(StepCallback):
    """Looks at the memory of the model on validation examples every 200 steps, and warns where a layer hardly writes.

    It shows write rates, dead channels, a hysteresis loop and a raster of states; and of K-state heads on letters, how
    many maps the tables of each reach, up to 1,000. Before the first step it only counts writes. It draws no random
    number and changes no weight, and skips a model whose weights are distributed.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.task = experiment.task
        # before the first step, the statistics of a batch norm come from no data, unless they came with the write rates
        self.from_start = experiment.model.gate_norm != "batch" or experiment.training.write_rates
        self.inputs: torch.Tensor | None = None
        self.warned: set[str] = set()

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Counts the writes of a model that begins."""
        if self.from_start and trainer.global_step == 0 and has_latches(module.model):
            self._count(trainer, module)

    def on_step_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Takes a look after every 200th step."""
        if trainer.global_step % EVERY:
            return
        from remanent.report.figures import hysteresis_loop, trajectory

        model, step = module.model, trainer.global_step
        board = trainer.logger.experiment if isinstance(trainer.logger, Board) else None  # others take numbers alone
        if board is not None:
            raster = first_raster(model, self._inputs(module))
            picture = trajectory(raster.inputs.cpu(), raster.states.cpu(), title=f"{raster.name}, step {step}")
            board.add_figure("states", picture, step)
        scalars: dict[str, float] = {}
        heads = head_maps(model)
        if heads:
            module.memory, module.looked_at = {**module.memory, "head_maps": heads}, step
            for unit, maps in heads.items():
                scalars[f"head_maps/{unit}/fewest"] = min(maps)
                scalars[f"head_maps/{unit}/median"] = statistics.median(maps)
        if has_latches(model):
            writes = self._count(trainer, module)
            by_layer = {f"write_rate/{layer}": rate for layer, rate in module.memory["write_rates"].items()}
            scalars |= {k: v for k, v in (module.memory | by_layer).items() if not isinstance(v, dict)}
            loop = first_loop(model, writes) if board is not None else None
            if board is not None and loop is not None:
                title = f"{loop.name}, step {step}"
                curve = (loop.candidate.cpu(), loop.state.cpu())
                board.add_figure("loop", hysteresis_loop(*curve, threshold=loop.threshold, title=title), step)
        if trainer.logger is not None:
            for name, value in scalars.items():
                if board is not None:
                    board.add_scalar(name, value, step)
                else:
                    trainer.logger.log_metrics({name: value}, step)

    def _inputs(self, module: Any) -> torch.Tensor:
        if self.inputs is None:
            self.inputs = example_inputs(self.task).to(module.device)
        return self.inputs

    def _count(self, trainer: pl.Trainer, module: Any) -> list[Writes]:
        """Counts the writes, notes them for the progress bar and the metrics, and warns of a layer the first time."""
        x, step = self._inputs(module), trainer.global_step
        writes = write_statistics(module.model, x)
        rates = {layer.name: layer.rate.mean().item() for layer in writes}
        module.memory = {**module.memory, **write_summary(writes), "write_rates": rates}
        module.looked_at = step
        once = 1 / x.shape[1]
        for name, rate in rates.items():
            if rate < HARDLY * once and name not in self.warned:
                self.warned.add(name)
                when = f"after step {step}" if step else "before the first step"
                warnings.warn(
                    f"{name} hardly writes {when}: its channels are written in {rate:.2%} of the steps, healthy are "
                    f"{min(once, MOST):.2%} (once in a sequence) to {MOST:.0%}; what is not written does not learn. "
                    "Remedy: `training.write_rates` sets the thresholds on the first batch, `model.gate_norm` keeps "
                    "the gates near them; `remanent.diagnose(model, batch)` says more",
                    stacklevel=2,
                )
        return writes


def head_maps(model: SequenceModel) -> dict[str, list[int]]:
    """How many maps the tables of each head reach, by the name of the unit whose heads see letters alone."""
    found = {}
    for unit in dict.fromkeys(head.unit for head in all_heads(model) if head.block == 0):
        try:
            found[f"blocks.0.layer.units.{unit}"] = maps_reached(tables_of(model, unit))
        except ValueError:  # its heads also see other letters, a clock, or features
            continue
    return found
