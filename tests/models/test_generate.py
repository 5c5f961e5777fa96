"""Tokens that a model draws: greedy ones are exact, seeds decide the others, and streams go on from what was drawn."""

import pytest
import torch

from remanent import ModelConfig, SequenceModel
from remanent.tasks import Characters


@pytest.fixture(scope="module", params=["every", "last"])
def model(request):
    torch.manual_seed(3)
    return SequenceModel(ModelConfig(7, 7, hidden_size=8, encoder="embedding", head=request.param, unit="bmru")).eval()


PROMPT = torch.tensor([[1, 2, 3], [4, 0, 6]])


def answers(model, tokens):
    y, _ = model(tokens)
    return y[:, -1] if model.config.head == "every" else y


def test_greedy_tokens_are_the_largest_answers_to_the_whole_sequence_so_far(model):
    drawn = model.generate(PROMPT, 9, temperature=0)
    for i in range(9):
        expected = answers(model, torch.cat([PROMPT, drawn[:, :i]], dim=1)).argmax(-1)
        assert torch.equal(drawn[:, i], expected)
    assert torch.equal(model.generate(PROMPT, 9, top_k=1, seed=1), drawn)
    assert torch.equal(model.generate(PROMPT, 9, temperature=1e-9, seed=1), drawn)


def test_seeds_decide_what_is_drawn_and_top_k_from_what(model):
    first = model.generate(PROMPT, 20, seed=1)
    before = torch.get_rng_state()
    assert torch.equal(first, model.generate(PROMPT, 20, seed=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, model.generate(PROMPT, 20, seed=2))
    many = PROMPT[:1].expand(400, 3)
    drawn = model.generate(many, 1, temperature=2.0, top_k=3, seed=0)
    assert set(drawn.flatten().tolist()) == set(answers(model, PROMPT[:1]).topk(3).indices[0].tolist())


def test_shares_of_draws_are_those_of_the_softmax(model):
    drawn = model.generate(PROMPT[:1].expand(8000, 3), 1, temperature=0.5, seed=0)
    wanted = (answers(model, PROMPT[:1])[0].double() / 0.5).softmax(-1)
    shares = drawn.flatten().bincount(minlength=7) / 8000
    torch.testing.assert_close(shares.double(), wanted, atol=0.02, rtol=0)


def test_a_stream_goes_on_from_what_was_drawn(model):
    whole = model.generate(PROMPT, 10, temperature=0)
    session = model.stream(2)
    first = session.generate(PROMPT, 4, temperature=0)
    rest = session.generate(first[:, -1:], 6, temperature=0)
    assert torch.equal(torch.cat([first, rest], dim=1), whole)


def test_what_cannot_be_drawn_is_rejected(model):
    for options, message in (
        ({"temperature": -1}, r"`temperature` must be in \[0, inf\), got -1"),
        ({"top_k": 0}, "`top_k` must be at least 1, got 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            model.generate(PROMPT, 1, **options)
    with pytest.raises(ValueError, match="`steps` must be at least 1, got 0"):
        model.generate(PROMPT, 0)
    with pytest.raises(ValueError, match=r"`model` must read tokens and answer with a logit .*, got 7 features"):
        SequenceModel(ModelConfig(7, 7, hidden_size=4)).generate(torch.zeros(1, 1, 7), 1)
    with pytest.raises(ValueError, match="got 7 tokens and 2 outputs"):
        SequenceModel(ModelConfig(7, 2, hidden_size=4, encoder="embedding")).generate(PROMPT, 1)


def test_text_goes_to_tokens_and_back():
    task = Characters()
    assert task.decode(task.encode("def f(x): \u2603")) == "def f(x): \ufffd"
