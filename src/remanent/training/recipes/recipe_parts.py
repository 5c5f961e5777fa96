"""What recipes have in common: models that fit a task, and long trainings."""

import dataclasses

from remanent.models import ModelConfig
from remanent.records.configuration import fitting
from remanent.records.training_config import TrainingConfig
from remanent.tasks import Task


def model_for(task: Task) -> ModelConfig:
    """A model of two blocks of 64, with the sizes of the task."""
    return ModelConfig(**fitting(task))


def timed(task: Task, pixels: int) -> ModelConfig:
    """A model of two blocks of 64 for an image read pixel by pixel, with a clock that fades as the image ends."""
    return dataclasses.replace(model_for(task), clock="sinusoid", clock_span=pixels)


def long_training(steps: int) -> TrainingConfig:
    """A long training, at a learning rate for wide models."""
    return TrainingConfig(steps=steps, learning_rate=2e-3, checkpoint_every=500)
