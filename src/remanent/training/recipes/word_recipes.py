"""Recipes for words that are answered as a finite automaton answers, with any unit."""

import dataclasses

from remanent.records.configuration import Experiment
from remanent.records.training_config import TrainingConfig
from remanent.tasks import AutomatonWord, Dyck, FlipFlop, GroupWord, Parity, Tomita
from remanent.training.recipes.recipe_parts import long_training, model_for


def flip_flop() -> Experiment:
    """Keep the value that was set last, at each of 64 steps, in one block of 16."""
    model = dataclasses.replace(model_for(FlipFlop()), hidden_size=16, num_layers=1)
    return Experiment(FlipFlop(), model, TrainingConfig(steps=400))


def flip_flop_paper() -> Experiment:
    """Keep the value that was set last, over 512 steps, in a wider model."""
    task = FlipFlop(steps=512)
    return Experiment(task, dataclasses.replace(model_for(task), hidden_size=256), long_training(10_000))


def parity() -> Experiment:
    """Say at each of 64 steps whether the ones so far are odd."""
    return Experiment(Parity(), model_for(Parity()), TrainingConfig(steps=600))


def parity_paper() -> Experiment:
    """Say at each of 64 steps whether the ones so far are odd, in a wider model and a long training."""
    return Experiment(Parity(), dataclasses.replace(model_for(Parity()), hidden_size=256), long_training(20_000))


def group_word() -> Experiment:
    """Multiply elements of S3, the smallest group that does not commute, at each of 32 steps."""
    task = GroupWord(steps=32)
    return Experiment(task, model_for(task), TrainingConfig(steps=600))


def group_word_paper() -> Experiment:
    """Multiply elements of A5, the smallest group that is not solvable, over 64 steps."""
    task = GroupWord(steps=64, group="A5")
    return Experiment(task, dataclasses.replace(model_for(task), hidden_size=256, num_layers=4), long_training(30_000))


def tomita() -> Experiment:
    """Say at each of 64 steps whether a word of zeros and ones is in a language of Tomita's, the one without 000."""
    return Experiment(Tomita(), model_for(Tomita()), TrainingConfig(steps=600))


def tomita_paper() -> Experiment:
    """Say at each of 512 steps whether a word of zeros and ones is in a language of Tomita's, in a wider model."""
    task = Tomita(steps=512)
    return Experiment(task, dataclasses.replace(model_for(task), hidden_size=256), long_training(10_000))


def dyck() -> Experiment:
    """Say at each of 64 steps whether all brackets of two kinds, at most five open, are closed."""
    return Experiment(Dyck(), model_for(Dyck()), TrainingConfig(steps=600))


def dyck_paper() -> Experiment:
    """Say at each of 512 steps whether all brackets of two kinds, at most five open, are closed, in a wider model."""
    task = Dyck(steps=512)
    return Experiment(task, dataclasses.replace(model_for(task), hidden_size=256), long_training(20_000))


def automaton_word() -> Experiment:
    """Answer as an automaton of your own at each of 64 steps; without one, say whether the word ends in abb."""
    return Experiment(AutomatonWord(), model_for(AutomatonWord()), TrainingConfig(steps=600))


def automaton_word_paper() -> Experiment:
    """Answer as an automaton of your own at each of 512 steps, in a wider model."""
    task = AutomatonWord(steps=512)
    return Experiment(task, dataclasses.replace(model_for(task), hidden_size=256), long_training(20_000))
