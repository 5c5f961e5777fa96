"""Options and arguments of every task: a value of another type is refused by name, before any data is read."""

import dataclasses

import pytest
import torch

from remanent.tasks import TASKS, CopyFirst, Keyword, Pathfinder, SequentialImage

WRONG = {
    "int": ("5", 2.5, True, None),
    "int | None": ("5", 2.5, True),
    "float": ("0.5", True, None),
    "float | None": ("0.5", True),
    "bool": ("no", "false", 0, 1, None),
    "str": (5, True, None, ["digits"]),
    "str | None": (5, True, ["a.txt"]),
}
CASES = [
    pytest.param(task, field.name, value, id=f"{name}-{field.name}-{value!r}")
    for name, task in TASKS.items()
    for field in dataclasses.fields(task)
    for value in WRONG[getattr(field.type, "__name__", str(field.type))]
]


@pytest.mark.parametrize(("task", "name", "value"), CASES)
def test_an_option_of_another_type_is_refused_by_name(task, name, value):
    with pytest.raises((TypeError, ValueError), match=f"`{name}` must be "):
        task(**{name: value})


def test_a_word_of_speech_commands_is_a_str():
    with pytest.raises(TypeError, match="`keyword` must be a str, got True"):
        Keyword(True, "speech-commands")


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_batch_has_a_whole_number_of_sequences(task):
    for size, error in (("4", TypeError), (2.5, TypeError), (True, TypeError), (0, ValueError), (-1, ValueError)):
        with pytest.raises(error, match="`batch_size` must be "):
            task().batch(size, torch.Generator())


@pytest.mark.parametrize("task", [task for name, task in TASKS.items() if name not in ("keyword", "spoken-digits")])
def test_examples_of_a_split_are_whole_numbers_in_order(task):
    for start, stop, name in (("0", 2, "start"), (0.0, 2, "start"), (-1, 2, "start"), (0, 2.5, "stop"), (2, 2, "stop")):
        with pytest.raises((TypeError, ValueError), match=f"`{name}` must be "):
            task().stream("test", start, stop, 400)


def test_examples_beyond_a_split_are_refused_where_no_more_can_be_drawn():
    with pytest.raises(ValueError, match="`stop` must be at most the 360 images of the test split, got 361"):
        SequentialImage().stream("test", 359, 361, 0)
    assert next(CopyFirst().stream("test", 600, 601, 3))[0].shape == (1, 3, 1)
    assert Pathfinder.endless
