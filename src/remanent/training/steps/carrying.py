"""Truncated back-propagation: streams whose windows continue one another, and the states between the windows."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from remanent.analysis._probe import evaluating
from remanent.distributed.ranks import Ranks
from remanent.models import ModelState, SequenceModel
from remanent.models.state import batch_axis, take_state
from remanent.records.training_config import TrainingConfig

Named = dict[str, Tensor]
"""The states of all streams of a batch, by the names of `ModelState.named`; empty before the first window."""


class CarriedStates(pl.Callback):
    """The state of each stream after its last window, through which no gradient flows.

    Of several batches in a step, each has streams of its own. A checkpoint holds the states of all streams, whichever
    process reads them, so that a run resumes with another number of processes.

    Args:
        model: the model of the training.
        config: the training's configuration.
        ranks: the processes of the run.
    """

    def __init__(self, model: SequenceModel, config: TrainingConfig, ranks: Ranks) -> None:
        self.model, self.rows, self.ranks = model, ranks.rows(config.batch_size), ranks
        self.states: list[ModelState | None] = [None] * config.accumulate
        self.read: list[Named] = []

    def before(self, number: int, x: Tensor) -> ModelState | None:
        """The state before the next window of a step's batch; None before the first one.

        Args:
            number: the number of the batch in its step, from 0.
            x: the window, for the form of the state.
        """
        if self.read:
            self.states, self.read = [self._take(named, x) for named in self.read], []
        return self.states[number]

    def after(self, number: int, state: ModelState) -> None:
        """Keeps the state after the window of a step's batch."""
        self.states[number] = state.detach()

    def state_dict(self) -> dict[str, Any]:
        """The states of all streams; to be called on all processes."""
        return {"states": self.read or [self._whole(state) for state in self.states]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave, with the next window."""
        self.read = state_dict["states"]

    def _whole(self, state: ModelState | None) -> Named:
        """The states of all processes, each of which reads some streams, or a part of the time of some."""
        mine = {} if state is None else {name: part.cpu() for name, part in state.named().items()}
        found = self.ranks.gather((self.ranks.data.place, self.ranks.time.place, mine))
        parts = [named for _, time, named in found if time == 0]  # ranks are in the order of the batch's parts
        return {name: torch.cat([named[name] for named in parts], batch_axis(name)) for name in mine}

    def _take(self, named: Named, x: Tensor) -> ModelState | None:
        if not named:
            return None
        rows = torch.tensor(self.rows)
        mine = {name: part.index_select(batch_axis(name), rows) for name, part in named.items()}
        with evaluating(self.model), torch.no_grad():
            like = self.model(x[:, :1])[1]
        return take_state(mine, like)
