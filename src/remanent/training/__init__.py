"""Training: recipes, runs that can be interrupted and resumed, scores at any length. Needs the extra `train`."""

from typing import TYPE_CHECKING, Any

from remanent.distributed import Launch
from remanent.records.configuration import Experiment
from remanent.records.training_config import TrainingConfig
from remanent.training.evaluate import evaluate, failing_length
from remanent.training.folder import load_run
from remanent.training.outcome import record_run
from remanent.training.recipes import RECIPES

if TYPE_CHECKING:
    from remanent.training.run import resume_run, start_run

__all__ = [
    "RECIPES",
    "Experiment",
    "Launch",
    "TrainingConfig",
    "evaluate",
    "failing_length",
    "load_run",
    "record_run",
    "resume_run",
    "start_run",
]


def __getattr__(name: str) -> Any:
    """Imports Lightning, which takes seconds, only where a run is started or resumed."""
    if name not in ("resume_run", "start_run"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from remanent.training import run

    return getattr(run, name)
