"""Recipes for numbers to be held in noise."""

import dataclasses

from remanent.models import ModelConfig
from remanent.records.configuration import Experiment
from remanent.records.training_config import TrainingConfig
from remanent.tasks import Adding, CopyFirst, DelayedIntegration, Denoising
from remanent.training.recipes.recipe_parts import long_training, model_for


def copy_first() -> Experiment:
    """Hold one number through 300 noisy steps."""
    return Experiment(CopyFirst(), ModelConfig(input_size=1, output_size=1), TrainingConfig(steps=500))


def copy_first_paper() -> Experiment:
    """Hold one number through 1,000 noisy steps, in a wider model."""
    model = ModelConfig(input_size=1, output_size=1, hidden_size=256)
    return Experiment(CopyFirst(steps=1000), model, long_training(20_000))


def denoising() -> Experiment:
    """Hold five marked values of 400 steps, the last 200 or more of them noise."""
    return Experiment(Denoising(), model_for(Denoising()), TrainingConfig(steps=1000))


def denoising_paper() -> Experiment:
    """Hold five marked values of 400 steps, in a wider model."""
    return Experiment(Denoising(), dataclasses.replace(model_for(Denoising()), hidden_size=256), long_training(30_000))


def delayed_integration() -> Experiment:
    """Remember for 200 steps which of two noisy channels to average over the next 20."""
    task = DelayedIntegration()
    return Experiment(task, model_for(task), TrainingConfig(steps=1600, learning_rate=1e-2))


def delayed_integration_paper() -> Experiment:
    """Remember over 1,000 steps which of two noisy channels to average, in a wider model."""
    task = DelayedIntegration(delay=1000)
    return Experiment(task, dataclasses.replace(model_for(task), hidden_size=256), long_training(20_000))


def adding() -> Experiment:
    """Find two marked numbers among 100, and say their sum."""
    model = dataclasses.replace(model_for(Adding()), unit="alpha_cmru")
    return Experiment(Adding(), model, TrainingConfig(steps=600))


def adding_paper() -> Experiment:
    """Find two marked numbers among 400, and say their sum, in a wider model."""
    task = Adding(steps=400)
    model = dataclasses.replace(model_for(task), unit="alpha_cmru", hidden_size=128)
    return Experiment(task, model, long_training(20_000))
