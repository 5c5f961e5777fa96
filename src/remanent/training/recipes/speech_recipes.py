"""Recipes for spoken words."""

import dataclasses

from remanent.records.configuration import Experiment
from remanent.records.training_config import TrainingConfig
from remanent.tasks import Keyword, SpokenDigits
from remanent.training.recipes.recipe_parts import long_training, model_for


def spoken_digits() -> Experiment:
    """Name a spoken digit from frames of 10 ms, by majority vote over them."""
    return Experiment(SpokenDigits(), model_for(SpokenDigits()), TrainingConfig(steps=500))


def spoken_digits_paper() -> Experiment:
    """Name a spoken digit of Google Speech Commands, in a wider model."""
    task = SpokenDigits(dataset="speech-commands")
    return Experiment(task, dataclasses.replace(model_for(task), hidden_size=128), long_training(10_000))


def keyword() -> Experiment:
    """Tell one spoken digit from all others."""
    return Experiment(Keyword(), model_for(Keyword()), TrainingConfig(steps=500))


def keyword_paper() -> Experiment:
    """Tell one of 35 spoken words from all others, with 32 channels."""
    task = Keyword(dataset="speech-commands", keyword="seven")
    return Experiment(task, dataclasses.replace(model_for(task), hidden_size=32, num_layers=1), long_training(10_000))
