"""Training: recipes, runs that can be interrupted, scores at any length. Needs the extra `train`."""

from remanent.records.configuration import Experiment, TrainingConfig
from remanent.training.evaluate import evaluate, failing_length
from remanent.training.recipes import RECIPES
from remanent.training.run import load_run, resume_run, start_run

__all__ = [
    "RECIPES",
    "Experiment",
    "TrainingConfig",
    "evaluate",
    "failing_length",
    "load_run",
    "resume_run",
    "start_run",
]
