"""What the units of a first block read for each letter, which tables in C and those of the analysis are made of."""

import pytest
import torch

from model_cases import make
from remanent.models.letters import letter_tables, letters_read, why_not_letters

SIZES = {"unit": "bmru+mru", "input_size": 5, "num_states": 2, "state_size": 8}
LETTERS = {
    "table": {"encoder": "table"},
    "embedding and a norm": {"encoder": "embedding", "norm": "layer", "gate": True},
    "table, whose block has no convolution": {"encoder": "table", "conv_size": 3},
}
MORE = {
    "numbers": {},
    "other steps": {"encoder": "embedding", "conv_size": 3},
    "a clock": {"encoder": "embedding", "clock": "decay"},
}


@pytest.mark.parametrize("kind", LETTERS)
def test_it_is_what_the_model_gives_the_units_of_its_first_block(kind):
    model = make(**SIZES | LETTERS[kind])
    assert why_not_letters(model) is None
    units, seen = model.blocks[0].layer.units, []
    with units[1].register_layer_hook(lambda layer, p, x: seen.append(x)):
        model(torch.arange(5)[None])
    letters = letters_read(model)
    assert torch.equal(letters, seen[0][0])
    tables = letter_tables(units[1], letters)
    assert torch.equal(tables, units[1].recurrence.tables(units[1]._params("_l0"), seen[0][0]))
    assert letter_tables(units[0], letters) is None


@pytest.mark.parametrize("kind", MORE)
def test_there_is_none_where_units_read_more_than_a_letter(kind):
    model = make(**SIZES | MORE[kind])
    assert why_not_letters(model) is not None
    assert letters_read(model) is None
    assert letter_tables(model.blocks[0].layer.units[1], None) is None
