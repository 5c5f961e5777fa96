"""Recipes for expressions and texts."""

import dataclasses

from remanent.records.configuration import Experiment
from remanent.records.training_config import TrainingConfig
from remanent.tasks import Characters, ListOps
from remanent.training.recipes.recipe_parts import long_training, model_for


def listops() -> Experiment:
    """Work out nested operations on lists of digits, of 20 to 100 tokens."""
    task = ListOps(min_tokens=20, max_tokens=100)
    return Experiment(task, model_for(task), TrainingConfig(steps=2000, checkpoint_every=200))


def listops_paper() -> Experiment:
    """Work out nested operations on lists of digits, of 500 to 2,000 tokens, in a larger model."""
    model = dataclasses.replace(model_for(ListOps()), hidden_size=256, num_layers=6)
    return Experiment(ListOps(), model, dataclasses.replace(long_training(50_000), batch_size=32))


def characters() -> Experiment:
    """Say the next character of a text, 256 of them at a time."""
    return Experiment(Characters(), model_for(Characters()), TrainingConfig(steps=1000, checkpoint_every=100))


def characters_paper() -> Experiment:
    """Say the next character of a text, 256 of them at a time, in a larger model."""
    model = dataclasses.replace(model_for(Characters()), hidden_size=512, num_layers=4)
    return Experiment(Characters(), model, long_training(50_000))
