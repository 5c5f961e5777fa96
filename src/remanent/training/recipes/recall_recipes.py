"""Recipes for tokens that are found among others and given again."""

import dataclasses

from remanent.records.configuration import Experiment
from remanent.records.training_config import TrainingConfig
from remanent.tasks import InductionHeads, MultiQueryRecall, SelectiveCopying
from remanent.training.recipes.recipe_parts import long_training, model_for


def selective_copying() -> Experiment:
    """Find four symbols among 64 steps, nearly all of them blank, and repeat them in order."""
    task = SelectiveCopying()
    return Experiment(task, model_for(task), TrainingConfig(steps=1000))


def selective_copying_paper() -> Experiment:
    """Find 16 symbols among 4,096 steps, nearly all of them blank, and repeat them in order."""
    task = SelectiveCopying(steps=4096, items=16, symbols=15)
    training = dataclasses.replace(long_training(400_000), learning_rate=1e-4)
    return Experiment(task, model_for(task), training)


def induction_heads() -> Experiment:
    """Say what followed the special token among 64, when it stands at the end again."""
    task = InductionHeads(steps=64)
    model = dataclasses.replace(model_for(task), conv_size=4)
    return Experiment(task, model, TrainingConfig(steps=600))


def induction_heads_paper() -> Experiment:
    """Say what followed the special token among 256, when it stands at the end again."""
    task = InductionHeads()
    model = dataclasses.replace(model_for(task), conv_size=4)
    training = dataclasses.replace(long_training(204_800), batch_size=8)
    return Experiment(task, model, training)


def multi_query_recall() -> Experiment:
    """Read four of eight keys with their values, and say the value of each when the key comes again."""
    task = MultiQueryRecall()
    model = dataclasses.replace(model_for(task), conv_size=4)
    return Experiment(task, model, TrainingConfig(steps=1000))


def multi_query_recall_paper() -> Experiment:
    """Read 64 of 4,096 keys with their values, and say the value of each when the key comes again, in a wider model."""
    task = MultiQueryRecall(steps=512, pairs=64, keys=4096, values=4096)
    model = dataclasses.replace(model_for(task), hidden_size=512, conv_size=4)
    return Experiment(task, model, long_training(100_000))
