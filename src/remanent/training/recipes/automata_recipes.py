"""Recipes for heads of K states that learn a finite automaton from its answers alone, until it is exact."""

import dataclasses

from remanent.models import ModelConfig
from remanent.records.configuration import Experiment, fitting
from remanent.records.training_config import TrainingConfig
from remanent.tasks import AutomatonWord, Dyck, FlipFlop, GroupWord, Parity, Task, Tomita


def parity_states() -> Experiment:
    """Learn parity with eight heads of two states, until it is exact."""
    return _states(Parity(steps=32), num_states=2, heads=8)


def group_word_states() -> Experiment:
    """Learn to multiply elements of S3 with eight heads of three states, until it is exact."""
    return _states(GroupWord(steps=32), num_states=3, heads=8)


def group_word_states_large() -> Experiment:
    """Learn to multiply elements of A5, at first six of them, with 16 heads of five states, until it is exact."""
    return _states(GroupWord(group="A5"), num_states=5, heads=16, steps=12_000, letters=6)


def flip_flop_states() -> Experiment:
    """Learn to keep the bit that was set last with eight heads of two states, until it is exact."""
    return _states(FlipFlop(), num_states=2, heads=8)


def flip_flop_states_large() -> Experiment:
    """Learn to keep four bits that are set one at a time with 16 heads of two states, until it is exact."""
    base = _states(FlipFlop(cells=4), num_states=2, heads=16)
    model = dataclasses.replace(base.model, hard_readout=True)
    return dataclasses.replace(base, model=model, training=dataclasses.replace(base.training, batch_size=128))


def tomita_states() -> Experiment:
    """Learn a language of Tomita's, the one without 000, with eight heads of five states, until it is exact."""
    base = _states(Tomita(), num_states=5, heads=8)
    model = dataclasses.replace(base.model, hard_readout=True)
    return dataclasses.replace(base, model=model, training=dataclasses.replace(base.training, batch_size=64))


def tomita_states_large() -> Experiment:
    """Learn a language of Tomita's, 0*1*0*1*, with two blocks of four heads of five states, until it is exact."""
    return _two_blocks(_states(Tomita(language=7), num_states=5, heads=4), threshold=0.99)


def dyck_states() -> Experiment:
    """Learn whether all brackets are closed, at most five open, with two blocks of eight heads of eight states."""
    base = _two_blocks(_states(Dyck(), num_states=8, heads=8), threshold=0.98)
    training = dataclasses.replace(base.training, settle_threshold=0.99, settle_steps=3000)  # rare words need time
    return dataclasses.replace(base, training=training)


def automaton_word_states() -> Experiment:
    """Learn an automaton of your own with eight heads of five states; without one, words that end in abb."""
    return _states(AutomatonWord(), num_states=5, heads=8)


def _states(task: Task, *, num_states: int, heads: int, steps: int = 6000, letters: int | None = None) -> Experiment:
    """Heads that read letters by tables of their own, under an MLP of 128; words that grow from two letters.

    Args:
        task: the task, whose length is that of the longest words.
        num_states: the states of a head.
        heads: the number of heads.
        steps: the most steps.
        letters: how many different letters words are made of at first; None for all. Heads that meet few letters must
            become permutations at once, so that they are read by a linear map alone, and one-hot.
    """
    model = ModelConfig(
        **fitting(task) | {"encoder": "table"},
        hidden_size=128,
        num_layers=1,
        unit="mru",
        norm="none",
        mlp="gelu" if letters is None else "none",
        num_states=num_states,
        hard_readout=letters is not None,
        state_size=heads * num_states**2,
    )
    training = TrainingConfig(
        steps=steps,
        batch_size=256,
        learning_rate=1e-2,
        weight_decay=0.0,
        warmup=0.0,
        anneal_hold=0.0,
        anneal_ramp=0.5,
        curriculum_start=2,
        curriculum_growth=1.5 if letters is None else 1.33,
        curriculum_threshold=0.9,
        curriculum_score="last",
        curriculum_letters=letters,
        restart_after=1500 if letters is None else 500,
        settle_threshold=0.999,
        settle_steps=500,
        checkpoint_every=100,
    )
    return Experiment(task, model, training)


def _two_blocks(base: Experiment, *, threshold: float) -> Experiment:
    """Heads that read letters and the states of other heads: what happens first, and what it means there.

    Args:
        base: heads that read letters alone.
        threshold: the share of whole words that must be right before words grow. Most words of such languages are
            lost before their end, so that the last answers are right long before the whole words are.
    """
    model = dataclasses.replace(
        base.model, num_layers=2, norm="rms", encoder="embedding", mlp="glu", hidden_size=64, hard_readout=True
    )
    training = dataclasses.replace(
        base.training,
        batch_size=64,
        learning_rate=4e-3,
        curriculum_score="metric",
        curriculum_threshold=threshold,
        settle_steps=1000,
    )
    return dataclasses.replace(base, model=model, training=training)
