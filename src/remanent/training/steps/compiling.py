"""The compiled model, and what its compilation costs."""

import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch

from remanent._terminal import write_line
from remanent.models import SequenceModel
from remanent.training.steps.step_callback import StepCallback

BACKEND = "inductor"
"""The backend of `torch.compile`."""


def compiled(model: SequenceModel) -> Callable[..., Any]:
    """The model's forward pass, compiled for each shape alone: a graph for any shape would depend on the first ones.

    What this process has compiled before is forgotten, since torch compiles a function only for a few models, and runs
    it as it is for more.
    """
    torch.compiler.reset()
    return torch.compile(model.forward, dynamic=False, backend=BACKEND)


class SayCompilation(StepCallback):
    """Says that the first step of a process waits for the compiler, and how long it waited: every resumption does."""

    def __init__(self) -> None:
        self.began: float | None = None

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Says that the step will wait."""
        self.began = time.monotonic()
        write_line("the model is compiled in the first step, which may take minutes")

    def on_step_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Says, after the first step, how long it took."""
        if self.began is not None:
            write_line(
                f"the first step took {time.monotonic() - self.began:.1f} s, nearly all of it to compile the model"
            )
            self.began = None
