"""The LightningModule of an experiment: its model, loss and optimiser, all as the configuration says."""

import math
import statistics
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import MeanMetric

from remanent._restore import generators_kept
from remanent.distributed.ranks import Ranks
from remanent.latches import WriteRates
from remanent.latches.layer_runs import Arguments
from remanent.latches.write_rates import set_rates_but, unsettable
from remanent.models import SequenceModel, set_statistics
from remanent.records.configuration import Experiment
from remanent.records.training_config import TrainingConfig
from remanent.tasks import Task
from remanent.tasks.base import derive_seed
from remanent.tasks.metrics import METRICS
from remanent.training.data import Batch, StepBatches
from remanent.training.interrupts import SIGNALS
from remanent.training.pace.lengths import Lengths
from remanent.training.pace.running_score import batch_score
from remanent.training.pace.schedules import rate_share
from remanent.training.pace.settling import Settling
from remanent.training.steps.averaging import AverageWeights
from remanent.training.steps.carrying import CarriedStates
from remanent.training.steps.compiling import compiled
from remanent.units import RecurrentUnit


class ExperimentModule(pl.LightningModule):
    """Trains the model of an experiment on its task.

    Args:
        experiment: the whole configuration; its seed determines the initial weights.
        ranks: the processes that train the model, each on a part of the batch or of the time; None for a single one.
    """

    def __init__(self, experiment: Experiment, ranks: Ranks | None = None) -> None:
        super().__init__()
        self.experiment, self.ranks = experiment, ranks or Ranks()
        with generators_kept():
            torch.manual_seed(derive_seed("weights", experiment.training.seed))
            self.model = new_model(experiment)
        self.score = MeanMetric()
        self.losses: list[float] = []
        """The loss of each batch of the last step, over all processes."""
        self.scores: list[float] = []
        """The score of each batch of the last step, over all processes; only while something waits for it."""
        self.lengths = Lengths(experiment.task, experiment.training)
        """How long the sequences of a step are."""
        self.settling = Settling(experiment.task, experiment.training, self.lengths)
        """When epsilon and the learning rate fall, and the run ends."""
        config = experiment.training
        self.compiled = compiled(self.model) if config.compile else None
        """The model's compiled forward pass, for training; None where it is not compiled."""
        self.carried = CarriedStates(self.model, config, self.ranks) if config.carry_state else None
        """The states between the windows of streams; None where no state is carried."""
        self.average = AverageWeights(self.model, config) if config.average != "none" else None
        """The averaged weights; None where nothing is averaged."""
        self.memory: dict[str, Any] = {}
        """What the last look of `ShowMemory` counted: `write_rate` and `dead_channels`, `write_rates` by layer, and
        `head_maps` by unit."""
        self.looked_at: int | None = None
        """How many steps were done at that look."""
        self.signalled = 0
        """The number of the signal, one of `SIGNALS`, that this process received and that ends the run; 0 for none."""
        self.stopping = 0
        """The number of the signal that any process had received in the last step; all processes agree on it."""

    @property
    def step_loss(self) -> float:
        """The loss of the last step, over all of its batches so far."""
        return statistics.fmean(self.losses) if self.losses else math.nan

    @property
    def step_score(self) -> float:
        """The score of the last step, over all of its batches so far; NaN where nothing waits for it."""
        return statistics.fmean(self.scores) if self.scores else math.nan

    @property
    def is_final(self) -> bool:
        """Whether epsilon is what it is in the end, so that scores are those of a model as it is used."""
        return not self.experiment.training.anneal or self.model.epsilon in (None, 0.0)

    def configure_model(self) -> None:
        """Shares statistics over the processes, and, if the strategy is "fsdp", distributes the weights by blocks."""
        for unit in self.model.modules():
            if isinstance(unit, RecurrentUnit) and self.ranks.size > 1:
                unit.statistics_group = dist.group.WORLD
        if self.ranks.size == 1 or self.ranks.launch.strategy != "fsdp":
            return
        from torch.distributed.fsdp import fully_shard

        mesh = self.device_mesh["data_parallel"]  # type: ignore[index]
        for block in self.model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(self.model, mesh=mesh)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch; with several processes, a part whose average over them is the loss.

        Lightning divides it by the number of a step's batches.

        Raises:
            FloatingPointError: the loss is not finite; the message names the step and the batch's seed.
        """
        x, y, seed, *lengths = batch
        # for dropout: a resumed run repeats its draws, and every process has draws of its own
        torch.manual_seed(seed if self.ranks.size == 1 else derive_seed("dropout", seed, self.ranks.rank))
        if batch_idx % self.experiment.training.accumulate == 0:
            self.losses, self.scores = [], []
        output, target = self._answer(x, y, *lengths)
        loss = self._loss(output, target)
        if self.settling.is_scored:
            task, kind = self.experiment.task, self.experiment.training.curriculum_score
            self.scores.append(batch_score(output.detach(), target, task, kind, self.ranks))
        if not math.isfinite(self.losses[-1]):
            raise FloatingPointError(
                f"the loss must be finite, got {self.losses[-1]} in step {self.global_step} (batch seed {seed})"
            )
        self.log("loss", self.step_loss)
        if self.model.epsilon is not None:
            self.log("epsilon", self.model.epsilon)
        return loss

    def begin_again(self, times: int) -> None:
        """Draws all weights again, and forgets what the optimiser has gathered.

        Args:
            times: how often this was done, this time included, which makes the draw another one.
        """
        config = self.experiment.training
        with generators_kept():
            torch.manual_seed(derive_seed("weights", config.seed, times))
            fresh = new_model(self.experiment)
        if self.model.epsilon is not None:
            fresh.set_epsilon(self.model.epsilon)
        if config.write_rates and any(unit.latches for unit in fresh.recurrences):
            begin_with_rates(fresh, self.lengths.task_at(0), config, said=False)
        self.model.load_state_dict(fresh.state_dict())
        (optimizer,) = self.trainer.optimizers
        optimizer.state.clear()

    def on_validation_epoch_start(self) -> None:
        """Resets the score."""
        self.score.reset()

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Adds one batch to the score."""
        metric = METRICS[self.experiment.task.metric]
        tally = metric.tally(*self._answer(*batch))
        if self.experiment.task.head == "every":
            tally = self.ranks.sum_over_time(tally)
        self.score.update(*metric.finish(tally))

    def on_validation_epoch_end(self) -> None:
        """Logs the score of the whole split."""
        self.log(f"validation_{self.experiment.task.metric}", self.score.compute())

    def configure_optimizers(self) -> Any:
        """AdamW, whose rate rises and, once it may, falls as the schedule says; it changes at every step.

        Only matrices decay, except those that a unit calls `undecayed`: decay to 0 would change what a bias, a norm, a
        latch's alpha or an LRU's time constants mean, and would soften an MRU's tables.
        """
        config = self.experiment.training
        units = [unit for unit in self.model.modules() if isinstance(unit, RecurrentUnit)]
        kept = {id(p) for unit in units for p in unit.undecayed()}
        matrices = [p for p in self.model.parameters() if p.dim() > 1 and id(p) not in kept]
        others = [p for p in self.model.parameters() if p.dim() <= 1 or id(p) in kept]
        groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(step, config, self.settling))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the epsilon at which the weights were saved, until the next step sets its own."""
        notes = getattr(checkpoint.get("state_dict"), "_metadata", {})
        epsilons = [note["epsilon"] for note in notes.values() if "epsilon" in note]
        if self.model.epsilon is not None and epsilons:
            self.model.set_epsilon(epsilons[0])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Numbers the states of the optimiser in the order of the model's parameters, as FSDP reads and writes them."""
        if self.ranks.size > 1 and self.ranks.launch.strategy == "fsdp":
            return
        place = {p: i for i, p in enumerate(self.parameters())}
        (optimizer,) = self.trainer.optimizers
        number = [place[p] for group in optimizer.param_groups for p in group["params"]]
        (state,) = checkpoint["optimizer_states"]
        groups = [{**group, "params": [number[i] for i in group["params"]]} for group in state["param_groups"]]
        values = {number[i]: value for i, value in state["state"].items()}
        checkpoint["optimizer_states"] = [{"state": values, "param_groups": groups}]

    def _answer(self, x: Tensor, y: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The model's answers in this process's steps, or after the last of all steps, and their targets.

        Where sequences differ in length, `lengths` says how many steps of each are real.

        In training, the state goes from a window of a stream to its next one, where that is asked for.
        """
        carried = self.carried if self.training else None
        number = len(self.losses)  # of this batch in its step
        before = None if carried is None else carried.before(number, x)
        run = self.model if self.compiled is None or not self.training else self.compiled
        output, after = run(self.ranks.steps(x), before, lengths=lengths, group=self.ranks.time_group)
        if carried is not None:
            carried.after(number, after)
        return output, self.ranks.steps(y) if self.experiment.task.head == "every" else y

    def _loss(self, output: Tensor, target: Tensor) -> Tensor:
        """A loss whose average over the processes is that of the whole batch, though targets may ask for more in some.

        An answer after the last step belongs to all processes that share the sequence, so each counts a part of it.
        """
        task, ranks = self.experiment.task, self.ranks
        if ranks.size == 1:
            loss = task.loss(output, target)
            self.losses.append(loss.item())
            self.stopping = self.signalled
            return loss
        asked = task.asked(target)
        loss = task.loss(output, target) if asked else 0 * output.sum()
        weight = asked if task.head == "every" else asked / ranks.time.size
        mine = [float(self.signalled == number) for number in SIGNALS]
        total, weights, *received = ranks.sum(loss.item() * weight, weight, *mine)
        self.losses.append(total / weights if weights else math.nan)
        self.stopping = next((number for number, count in zip(SIGNALS, received, strict=True) if count), 0)
        return loss * (weight * ranks.size / max(weights, 1.0))


def new_model(experiment: Experiment) -> SequenceModel:
    """A model with weights from torch's generator, the task's names, and its statistics where it standardises."""
    model = SequenceModel(experiment.model)
    model.names = experiment.task.names.check(experiment.model, f"the names of the task {experiment.task.name}")
    statistics = experiment.task.statistics if experiment.model.standardise else None
    if statistics is not None:
        set_statistics(model, statistics)
    return model


def begin_with_rates(model: SequenceModel, task: Task, config: TrainingConfig, said: bool = True) -> dict[str, Any]:
    """Sets the write rates of a model on the whole first batch, which every process draws, and says what was set.

    Args:
        model: the model, before its first step.
        task: the task at the length of the first step.
        config: the training's configuration.
        said: whether a warning names the latches that stay as they are, since their rates cannot be set.

    Returns:
        For each layer of latches the rates before, wanted and after, as plain numbers.
    """
    x, _, _, *lengths = StepBatches(task, config, 0, 1, Ranks())[0]
    left = unsettable(model)
    if left and said:
        reasons = "; ".join(map(str, left.values()))
        warnings.warn(f"the write rates of {', '.join(left)} stay as they are: {reasons}", stacklevel=2)
    batch = Arguments((x,), {"lengths": lengths[0]}) if lengths else x
    low = 1 / lengths[0].double().mean().clamp(min=2).item() if lengths else None  # one write in a sequence
    return {layer.name: _plain(layer) for layer in set_rates_but(model, batch, left, low=low)}


def _plain(layer: WriteRates) -> dict[str, list[float]]:
    rates = {"before": layer.before, "wanted": layer.wanted, "after": layer.after}
    return {name: [round(rate, 6) for rate in values.tolist()] for name, values in rates.items()}
