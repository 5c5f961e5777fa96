"""Every argument of a unit and of its cell is described in its own docstring, in the same words everywhere."""

import dataclasses
import inspect
import pickle
import typing

import pytest

from remanent import CELLS, UNITS
from remanent.units import RecurrentCell, RecurrentUnit
from unit_cases import fitting, kind, sized

OTHER_WORDS = {("lru", "bias"), ("lru", "hidden_size"), ("fq_bmru", "bias")}
"""Where a unit has less than the others, and says so."""


def described(documented):
    """Argument to the text in a docstring."""
    _, _, rest = inspect.getdoc(documented).partition("\nArgs:\n")
    found, name = {}, None
    for line in rest.partition("\n\n")[0].splitlines():
        if not line.startswith("     "):
            name, _, text = line.strip().partition(": ")
            found[name] = text
        else:
            found[name] += " " + line.strip()
    return found


@pytest.mark.parametrize("name", UNITS)
def test_every_argument_of_a_unit_is_described_in_its_order(name):
    texts, shared = described(UNITS[name]), described(RecurrentUnit)
    assert list(texts) == list(inspect.signature(UNITS[name]).parameters)
    assert all(texts.values())
    for argument in set(texts) & set(shared):
        if (name, argument) not in OTHER_WORDS:  # more may be said: of the memory by all, of a bias by one
            short, long = sorted((texts[argument], shared[argument]), key=len)
            assert long.startswith(short), argument


@pytest.mark.parametrize("name", UNITS)
def test_a_cell_has_the_signature_and_the_words_of_its_unit(name):
    cell, texts = CELLS[name], described(CELLS[name])
    parameters = inspect.signature(cell).parameters
    assert list(texts) == list(parameters)
    types = typing.get_type_hints(kind(name))
    for option in dataclasses.fields(kind(name)):
        parameter = parameters[option.name]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert (parameter.default, parameter.annotation) == (option.default, types[option.name])
        assert texts[option.name] == described(UNITS[name])[option.name]
    first = [p.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for p in list(parameters.values())[:5]]
    assert first == list(inspect.signature(RecurrentCell).parameters.values())[1:]
    assert ">>> " in cell.__doc__


@pytest.mark.parametrize("name", UNITS)
def test_a_cell_is_a_class_like_any_other(name):
    cell = CELLS[name]
    assert issubclass(cell, RecurrentCell)
    assert (cell.__module__, cell.__qualname__) == (UNITS[name].__module__, f"{UNITS[name].__name__}Cell")
    one = sized(CELLS, name, 2, 3)
    assert type(pickle.loads(pickle.dumps(one))) is cell
    shown = ", ".join(["2, 3", *(f"{option}={value}" for option, value in fitting(name, 3).items())])
    assert repr(one) == f"{cell.__name__}({shown})"
    with pytest.raises(TypeError, match="unexpected keyword argument 'no_such_option'"):
        cell(2, 3, no_such_option=1)
