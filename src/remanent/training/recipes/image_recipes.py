"""Recipes for images that are read by rows or pixels."""

import dataclasses

from remanent.models import ModelConfig
from remanent.records.configuration import Experiment
from remanent.records.training_config import TrainingConfig
from remanent.tasks import Pathfinder, SequentialImage
from remanent.training.recipes.recipe_parts import long_training, model_for, timed


def digits() -> Experiment:
    """Read a real digit of 8 x 8 by rows, wait 136 empty steps, name it."""
    return Experiment(
        SequentialImage(),
        ModelConfig(input_size=8, output_size=10, gate=True, initial_state="learned", r_min=0.5, r_max=0.95),
        TrainingConfig(steps=900, learning_rate=8e-3, weight_decay=0.1, anneal_ramp=0.5),
    )


def digits_pixels() -> Experiment:
    """Read a real digit pixel by pixel, wait 136 empty steps, name it."""
    task = SequentialImage(reading="pixel")
    return Experiment(task, timed(task, 64), TrainingConfig(steps=2000))


def permuted_digits() -> Experiment:
    """Read a real digit pixel by pixel in a fixed random order, wait 136 empty steps, name it."""
    task = SequentialImage(reading="pixel", permuted=True)
    return Experiment(task, timed(task, 64), TrainingConfig(steps=600))


def mnist() -> Experiment:
    """Read an MNIST image by rows, wait 136 empty steps, name it."""
    return Experiment(
        SequentialImage(dataset="mnist"),
        ModelConfig(input_size=28, output_size=10, hidden_size=128),
        TrainingConfig(steps=3000),
    )


def permuted_mnist() -> Experiment:
    """Read one of 10,000 MNIST images pixel by pixel in a fixed random order, wait to step 1,000, name it."""
    task = SequentialImage(dataset="mnist", reading="pixel", permuted=True, padding=216, examples=10_000)
    return Experiment(task, timed(task, 784), TrainingConfig(steps=800))


def permuted_mnist_paper() -> Experiment:
    """Read one of all 55,000 MNIST images in a fixed random order, wait to step 1,000, name it, in a larger model."""
    task = SequentialImage(dataset="mnist", reading="pixel", permuted=True, padding=216)
    model = dataclasses.replace(timed(task, 784), hidden_size=256, num_layers=3)
    return Experiment(task, model, long_training(20_000))


def cifar() -> Experiment:
    """Read a CIFAR-10 image by rows, wait 136 empty steps, name it."""
    task = SequentialImage(dataset="cifar-10")
    return Experiment(task, dataclasses.replace(model_for(task), hidden_size=128), TrainingConfig(steps=3000))


def cifar_paper() -> Experiment:
    """Read a CIFAR-10 image pixel by pixel, three colours at a time, and name it, in a larger model."""
    task = SequentialImage(dataset="cifar-10", reading="pixel", padding=0)
    model = dataclasses.replace(timed(task, 1024), hidden_size=256, num_layers=6)
    return Experiment(task, model, long_training(100_000))


def pathfinder() -> Experiment:
    """Say whether two dots are joined by a dashed curve, in pictures of 16 x 16 read pixel by pixel."""
    task = Pathfinder(size=16)
    return Experiment(task, timed(task, 256), TrainingConfig(steps=2000, checkpoint_every=200))


def pathfinder_paper() -> Experiment:
    """Say whether two dots are joined by a dashed curve, in pictures of 32 x 32, in a larger model."""
    model = dataclasses.replace(timed(Pathfinder(), 1024), hidden_size=256, num_layers=6)
    return Experiment(Pathfinder(), model, long_training(50_000))
