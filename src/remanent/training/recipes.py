"""Recipes: functions that return the whole configuration of a run, and their names for the command line."""

import dataclasses
from collections.abc import Callable

from remanent.models import ModelConfig
from remanent.records.configuration import Experiment, fitting
from remanent.records.training_config import TrainingConfig
from remanent.tasks import (
    AutomatonWord,
    Characters,
    CopyFirst,
    DelayedIntegration,
    Denoising,
    Dyck,
    FlipFlop,
    GroupWord,
    Keyword,
    ListOps,
    Parity,
    Pathfinder,
    SequentialImage,
    SpokenDigits,
    Task,
    Tomita,
)
from remanent.training import automata_recipes


def copy_first() -> Experiment:
    """Hold one number through 300 noisy steps."""
    return Experiment(CopyFirst(), ModelConfig(input_size=1, output_size=1), TrainingConfig(steps=500))


def copy_first_paper() -> Experiment:
    """Hold one number through 1,000 noisy steps, in a wider model."""
    model = ModelConfig(input_size=1, output_size=1, hidden_size=256)
    return Experiment(CopyFirst(steps=1000), model, _long(20_000))


def denoising() -> Experiment:
    """Hold five marked values of 400 steps, the last 200 or more of them noise."""
    return Experiment(Denoising(), _model(Denoising()), TrainingConfig(steps=1000))


def denoising_paper() -> Experiment:
    """Hold five marked values of 400 steps, in a wider model."""
    return Experiment(Denoising(), dataclasses.replace(_model(Denoising()), hidden_size=256), _long(30_000))


def delayed_integration() -> Experiment:
    """Remember for 200 steps which of two noisy channels to average over the next 20."""
    task = DelayedIntegration()
    return Experiment(task, _model(task), TrainingConfig(steps=1600, learning_rate=1e-2))


def delayed_integration_paper() -> Experiment:
    """Remember over 1,000 steps which of two noisy channels to average, in a wider model."""
    task = DelayedIntegration(delay=1000)
    return Experiment(task, dataclasses.replace(_model(task), hidden_size=256), _long(20_000))


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
    return Experiment(task, _timed(task, 64), TrainingConfig(steps=2000))


def permuted_digits() -> Experiment:
    """Read a real digit pixel by pixel in a fixed random order, wait 136 empty steps, name it."""
    task = SequentialImage(reading="pixel", permuted=True)
    return Experiment(task, _timed(task, 64), TrainingConfig(steps=600))


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
    return Experiment(task, _timed(task, 784), TrainingConfig(steps=800))


def permuted_mnist_paper() -> Experiment:
    """Read one of all 55,000 MNIST images in a fixed random order, wait to step 1,000, name it, in a larger model."""
    task = SequentialImage(dataset="mnist", reading="pixel", permuted=True, padding=216)
    model = dataclasses.replace(_timed(task, 784), hidden_size=256, num_layers=3)
    return Experiment(task, model, _long(20_000))


def flip_flop() -> Experiment:
    """Keep the value that was set last, at each of 64 steps, in one block of 16."""
    model = dataclasses.replace(_model(FlipFlop()), hidden_size=16, num_layers=1)
    return Experiment(FlipFlop(), model, TrainingConfig(steps=400))


def flip_flop_paper() -> Experiment:
    """Keep the value that was set last, over 512 steps, in a wider model."""
    task = FlipFlop(steps=512)
    return Experiment(task, dataclasses.replace(_model(task), hidden_size=256), _long(10_000))


def parity() -> Experiment:
    """Say at each of 64 steps whether the ones so far are odd."""
    return Experiment(Parity(), _model(Parity()), TrainingConfig(steps=600))


def parity_paper() -> Experiment:
    """Say at each of 64 steps whether the ones so far are odd, in a wider model and a long training."""
    return Experiment(Parity(), dataclasses.replace(_model(Parity()), hidden_size=256), _long(20_000))


def group_word() -> Experiment:
    """Multiply elements of S3, the smallest group that does not commute, at each of 32 steps."""
    task = GroupWord(steps=32)
    return Experiment(task, _model(task), TrainingConfig(steps=600))


def group_word_paper() -> Experiment:
    """Multiply elements of A5, the smallest group that is not solvable, over 64 steps."""
    task = GroupWord(steps=64, group="A5")
    return Experiment(task, dataclasses.replace(_model(task), hidden_size=256, num_layers=4), _long(30_000))


def tomita() -> Experiment:
    """Say at each of 64 steps whether a word of zeros and ones is in a language of Tomita's, the one without 000."""
    return Experiment(Tomita(), _model(Tomita()), TrainingConfig(steps=600))


def tomita_paper() -> Experiment:
    """Say at each of 512 steps whether a word of zeros and ones is in a language of Tomita's, in a wider model."""
    task = Tomita(steps=512)
    return Experiment(task, dataclasses.replace(_model(task), hidden_size=256), _long(10_000))


def dyck() -> Experiment:
    """Say at each of 64 steps whether all brackets of two kinds, at most five open, are closed."""
    return Experiment(Dyck(), _model(Dyck()), TrainingConfig(steps=600))


def dyck_paper() -> Experiment:
    """Say at each of 512 steps whether all brackets of two kinds, at most five open, are closed, in a wider model."""
    task = Dyck(steps=512)
    return Experiment(task, dataclasses.replace(_model(task), hidden_size=256), _long(20_000))


def automaton_word() -> Experiment:
    """Answer as an automaton of your own at each of 64 steps; without one, say whether the word ends in abb."""
    return Experiment(AutomatonWord(), _model(AutomatonWord()), TrainingConfig(steps=600))


def automaton_word_paper() -> Experiment:
    """Answer as an automaton of your own at each of 512 steps, in a wider model."""
    task = AutomatonWord(steps=512)
    return Experiment(task, dataclasses.replace(_model(task), hidden_size=256), _long(20_000))


def spoken_digits() -> Experiment:
    """Name a spoken digit from frames of 10 ms, by majority vote over them."""
    return Experiment(SpokenDigits(), _model(SpokenDigits()), TrainingConfig(steps=500))


def spoken_digits_paper() -> Experiment:
    """Name a spoken digit of Google Speech Commands, in a wider model."""
    task = SpokenDigits(dataset="speech-commands")
    return Experiment(task, dataclasses.replace(_model(task), hidden_size=128), _long(10_000))


def keyword() -> Experiment:
    """Tell one spoken digit from all others."""
    return Experiment(Keyword(), _model(Keyword()), TrainingConfig(steps=500))


def keyword_paper() -> Experiment:
    """Tell one of 35 spoken words from all others, with 32 channels."""
    task = Keyword(dataset="speech-commands", keyword="seven")
    return Experiment(task, dataclasses.replace(_model(task), hidden_size=32, num_layers=1), _long(10_000))


def pathfinder() -> Experiment:
    """Say whether two dots are joined by a dashed curve, in pictures of 16 x 16 read pixel by pixel."""
    task = Pathfinder(size=16)
    return Experiment(task, _timed(task, 256), TrainingConfig(steps=2000, checkpoint_every=200))


def pathfinder_paper() -> Experiment:
    """Say whether two dots are joined by a dashed curve, in pictures of 32 x 32, in a larger model."""
    model = dataclasses.replace(_timed(Pathfinder(), 1024), hidden_size=256, num_layers=6)
    return Experiment(Pathfinder(), model, _long(50_000))


def listops() -> Experiment:
    """Work out nested operations on lists of digits, of 20 to 100 tokens."""
    task = ListOps(min_tokens=20, max_tokens=100)
    return Experiment(task, _model(task), TrainingConfig(steps=2000, checkpoint_every=200))


def listops_paper() -> Experiment:
    """Work out nested operations on lists of digits, of 500 to 2,000 tokens, in a larger model."""
    model = dataclasses.replace(_model(ListOps()), hidden_size=256, num_layers=6)
    return Experiment(ListOps(), model, dataclasses.replace(_long(50_000), batch_size=32))


def characters() -> Experiment:
    """Say the next character of a text, 256 of them at a time."""
    return Experiment(Characters(), _model(Characters()), TrainingConfig(steps=1000, checkpoint_every=100))


def characters_paper() -> Experiment:
    """Say the next character of a text, 256 of them at a time, in a larger model."""
    model = dataclasses.replace(_model(Characters()), hidden_size=512, num_layers=4)
    return Experiment(Characters(), model, _long(50_000))


RECIPES: dict[str, Callable[[], Experiment]] = {
    "copy-first": copy_first,
    "copy-first-paper": copy_first_paper,
    "denoising": denoising,
    "denoising-paper": denoising_paper,
    "delayed-integration": delayed_integration,
    "delayed-integration-paper": delayed_integration_paper,
    "pathfinder": pathfinder,
    "pathfinder-paper": pathfinder_paper,
    "listops": listops,
    "listops-paper": listops_paper,
    "characters": characters,
    "characters-paper": characters_paper,
    "flip-flop": flip_flop,
    "flip-flop-paper": flip_flop_paper,
    "parity": parity,
    "parity-paper": parity_paper,
    "group-word": group_word,
    "group-word-paper": group_word_paper,
    "tomita": tomita,
    "tomita-paper": tomita_paper,
    "dyck": dyck,
    "dyck-paper": dyck_paper,
    "automaton-word": automaton_word,
    "automaton-word-paper": automaton_word_paper,
    "parity-states": automata_recipes.parity_states,
    "group-word-states": automata_recipes.group_word_states,
    "group-word-states-large": automata_recipes.group_word_states_large,
    "flip-flop-states": automata_recipes.flip_flop_states,
    "flip-flop-states-large": automata_recipes.flip_flop_states_large,
    "tomita-states": automata_recipes.tomita_states,
    "tomita-states-large": automata_recipes.tomita_states_large,
    "dyck-states": automata_recipes.dyck_states,
    "automaton-word-states": automata_recipes.automaton_word_states,
    "spoken-digits": spoken_digits,
    "spoken-digits-paper": spoken_digits_paper,
    "keyword": keyword,
    "keyword-paper": keyword_paper,
    "digits": digits,
    "digits-pixels": digits_pixels,
    "permuted-digits": permuted_digits,
    "mnist": mnist,
    "permuted-mnist": permuted_mnist,
    "permuted-mnist-paper": permuted_mnist_paper,
}
"""Recipe name to function."""


def _model(task: Task) -> ModelConfig:
    """A model of two blocks of 64, with the sizes of the task."""
    return ModelConfig(**fitting(task))


def _timed(task: Task, pixels: int) -> ModelConfig:
    """A model of two blocks of 64 for an image read pixel by pixel, with a clock that fades as the image ends."""
    return dataclasses.replace(_model(task), clock="sinusoid", clock_span=pixels)


def _long(steps: int) -> TrainingConfig:
    """A long training, at a learning rate for wide models."""
    return TrainingConfig(steps=steps, learning_rate=2e-3, checkpoint_every=500)
