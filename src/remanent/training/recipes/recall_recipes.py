"""Recipes for tokens that are found among others and given again."""

import dataclasses

from remanent.models import ModelConfig
from remanent.records.configuration import Experiment
from remanent.records.training_config import TrainingConfig
from remanent.tasks import InductionHeads, MultiQueryRecall, SelectiveCopying, Task
from remanent.training.recipes.recipe_parts import long_training, model_for


def selective_copying() -> Experiment:
    """Find four symbols among 64 steps, nearly all of them blank, and repeat them in order."""
    task = SelectiveCopying()
    model = dataclasses.replace(model_for(task), unit="alpha_cmru,bmru")
    return Experiment(task, model, _growing(steps=1000, start=8))


def selective_copying_paper() -> Experiment:
    """Find 16 symbols among 4,096 steps, nearly all of them blank, and repeat them in order."""
    task = SelectiveCopying(steps=4096, items=16, symbols=15)
    model = dataclasses.replace(model_for(task), unit="alpha_cmru,bmru")
    return Experiment(task, model, dataclasses.replace(long_training(400_000), learning_rate=1e-4))


def induction_heads() -> Experiment:
    """Say what followed the special token among 256, when it stands at the end again."""
    return Experiment(InductionHeads(), _windowed(InductionHeads()), _growing(steps=600, start=16))


def induction_heads_paper() -> Experiment:
    """Say what followed the special token among 256, in batches of eight and a long training."""
    training = dataclasses.replace(long_training(204_800), batch_size=8)
    return Experiment(InductionHeads(), _windowed(InductionHeads()), training)


def multi_query_recall() -> Experiment:
    """Read three of six keys with their values, and say the value of each when the key comes again."""
    task = MultiQueryRecall()
    model = dataclasses.replace(_windowed(task), hidden_size=128)
    return Experiment(task, model, _growing(steps=1200, start=12))


def multi_query_recall_paper() -> Experiment:
    """Read 64 of 4,096 keys with their values, and say the value of each when the key comes again, in a wider model."""
    task = MultiQueryRecall(steps=512, pairs=64, keys=4096, values=4096)
    return Experiment(task, dataclasses.replace(_windowed(task), hidden_size=512), long_training(100_000))


def _windowed(task: Task) -> ModelConfig:
    """A model whose gates see the last four tokens: what is to be kept is known by the token before it."""
    return dataclasses.replace(model_for(task), conv_size=4)


def _growing(*, steps: int, start: int) -> TrainingConfig:
    """A training on sequences that grow from a short length, at which it is soon found out what is asked for."""
    return TrainingConfig(
        steps=steps, curriculum_start=start, curriculum_growth=2.0, curriculum_threshold=0.8, checkpoint_every=100
    )
