"""Training: recipes, runs that can be interrupted and resumed, scores at any length. Needs the extra `train`."""

import remanent._lightning  # noqa: F401 - before all that imports Lightning
from remanent.distributed import Launch
from remanent.records.configuration import Experiment, TrainingConfig
from remanent.training.evaluate import evaluate, failing_length
from remanent.training.folder import load_run
from remanent.training.outcome import record_run
from remanent.training.recipes import RECIPES
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
