"""Recipes: functions that return the whole configuration of a run, and their names for the command line."""

from collections.abc import Callable

from remanent.records.configuration import Experiment
from remanent.training.recipes import (
    automata_recipes,
    image_recipes,
    memory_recipes,
    speech_recipes,
    text_recipes,
    word_recipes,
)

RECIPES: dict[str, Callable[[], Experiment]] = {
    "copy-first": memory_recipes.copy_first,
    "copy-first-paper": memory_recipes.copy_first_paper,
    "denoising": memory_recipes.denoising,
    "denoising-paper": memory_recipes.denoising_paper,
    "delayed-integration": memory_recipes.delayed_integration,
    "delayed-integration-paper": memory_recipes.delayed_integration_paper,
    "pathfinder": image_recipes.pathfinder,
    "pathfinder-paper": image_recipes.pathfinder_paper,
    "listops": text_recipes.listops,
    "listops-paper": text_recipes.listops_paper,
    "characters": text_recipes.characters,
    "characters-paper": text_recipes.characters_paper,
    "flip-flop": word_recipes.flip_flop,
    "flip-flop-paper": word_recipes.flip_flop_paper,
    "parity": word_recipes.parity,
    "parity-paper": word_recipes.parity_paper,
    "group-word": word_recipes.group_word,
    "group-word-paper": word_recipes.group_word_paper,
    "tomita": word_recipes.tomita,
    "tomita-paper": word_recipes.tomita_paper,
    "dyck": word_recipes.dyck,
    "dyck-paper": word_recipes.dyck_paper,
    "automaton-word": word_recipes.automaton_word,
    "automaton-word-paper": word_recipes.automaton_word_paper,
    "parity-states": automata_recipes.parity_states,
    "group-word-states": automata_recipes.group_word_states,
    "group-word-states-large": automata_recipes.group_word_states_large,
    "flip-flop-states": automata_recipes.flip_flop_states,
    "flip-flop-states-large": automata_recipes.flip_flop_states_large,
    "tomita-states": automata_recipes.tomita_states,
    "dyck-states": automata_recipes.dyck_states,
    "automaton-word-states": automata_recipes.automaton_word_states,
    "spoken-digits": speech_recipes.spoken_digits,
    "spoken-digits-paper": speech_recipes.spoken_digits_paper,
    "keyword": speech_recipes.keyword,
    "keyword-paper": speech_recipes.keyword_paper,
    "digits": image_recipes.digits,
    "digits-pixels": image_recipes.digits_pixels,
    "permuted-digits": image_recipes.permuted_digits,
    "mnist": image_recipes.mnist,
    "permuted-mnist": image_recipes.permuted_mnist,
    "permuted-mnist-paper": image_recipes.permuted_mnist_paper,
}
"""Recipe name to function."""
