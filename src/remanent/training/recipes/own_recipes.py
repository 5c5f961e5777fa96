"""Recipes for data of the user's own."""

import dataclasses

from remanent.records.configuration import Experiment
from remanent.records.training_config import TrainingConfig
from remanent.tasks import OwnData
from remanent.training.recipes.recipe_parts import long_training, model_for


def own_data() -> Experiment:
    """Sequences in your own files, standardised by their training part; without `task.path`, an example."""
    model = dataclasses.replace(model_for(OwnData()), hidden_size=32, standardise=True)
    return Experiment(OwnData(), model, TrainingConfig(steps=500, batch_size=32))


def own_data_paper() -> Experiment:
    """Sequences in your own files, in a wider model and a long training."""
    model = dataclasses.replace(model_for(OwnData()), hidden_size=128, standardise=True)
    return Experiment(OwnData(), model, long_training(10_000))
