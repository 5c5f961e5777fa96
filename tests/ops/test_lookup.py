"""The scan that looks up a table for each token: every backend equals the transition scan of such logits."""

import pytest
import torch

from remanent.ops import lookup_scan, transition_scan
from remanent.ops.heads.lookup import BACKENDS

V, H, K = 7, 3, 5


def inputs(T=65, R=2, B=2, dtype=torch.int64):
    draw = torch.Generator().manual_seed(T)
    tables = torch.randint(K, (V, H, K), generator=draw, dtype=torch.uint8)
    tokens = torch.randint(V, (B, T), generator=draw).to(dtype)
    return tables, tokens, torch.randint(K, (B, H, R), generator=draw, dtype=torch.uint8)


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
@pytest.mark.parametrize("R", [None, 1, 2, 6])
def test_it_is_the_transition_scan_of_the_tables_of_tokens(backend, R):
    for T in (1, 2, 63, 64, 65, 200):
        tables, tokens, start = inputs(T, R or K)
        start = None if R is None else start
        states, final = lookup_scan(tables, tokens, start, backend=backend)
        h0 = None if R is None else torch.nn.functional.one_hot(start.long(), K).flatten(1).float()
        logits = torch.nn.functional.one_hot(tables.long(), K).flatten(1).float()[tokens]
        expected = transition_scan(logits, h0, num_states=K, num_tracers=R or K)
        assert states.dtype == final.dtype == torch.uint8
        assert torch.equal(states, expected.unflatten(-1, (-1, K)).argmax(-1).byte())
        assert torch.equal(final.flatten(1), states[:, -1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_cut_and_any_layout_equals_the_whole(backend):
    tables, tokens, start = inputs(dtype=torch.int32)
    whole, final = lookup_scan(tables, tokens, start, backend=backend)
    first, middle = lookup_scan(tables, tokens[:, :20], start, backend=backend)
    second, end = lookup_scan(tables, tokens[:, 20:].T.contiguous().T, middle, backend=backend)
    assert torch.equal(torch.cat([first, second], 1), whole)
    assert torch.equal(final, end)
    strided = tables.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert torch.equal(lookup_scan(strided, tokens, start, backend=backend)[0], whole)


def test_threads_change_nothing(monkeypatch):
    monkeypatch.setattr("remanent.ops.cpu.cut.SMALL", 1)
    tables, tokens, start = inputs(B=5)
    expected = lookup_scan(tables, tokens, start, backend="cpu")[0]
    torch.set_num_threads(3)
    try:
        assert torch.equal(lookup_scan(tables, tokens, start, backend="cpu")[0], expected)
    finally:
        torch.set_num_threads(1)


def test_it_compiles_and_still_looks_at_its_tokens():
    tables, tokens, start = inputs(9)
    compiled = torch.compile(lambda *args: lookup_scan(*args)[0], fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(tables, tokens, start), lookup_scan(tables, tokens, start)[0])
    with pytest.raises(ValueError, match="`tokens` must be from 0 to 6"):
        compiled(tables, tokens + V, start)


def with_entry(value):
    tables, _, _ = inputs()
    tables[3, 1, 2] = value
    return tables


BAD = [
    ({"tables": with_entry(5)}, ValueError, "`tables` must have entries below K=5, got 5"),
    ({"tables": torch.zeros(2, 3, 1).byte()}, ValueError, "`tables` must have K from 2 to 255 states, got 1"),
    ({"tables": torch.zeros(2, 3, 256).byte()}, ValueError, "`tables` must have K from 2 to 255 states, got 256"),
    ({"tables": torch.zeros(0, 3, 5).byte()}, ValueError, "`tables` must have at least one letter and one head"),
    ({"tables": torch.zeros(7, 3, 5)}, TypeError, "`tables` must have dtype uint8, got float32"),
    ({"tables": torch.zeros(3, 5).byte()}, ValueError, r"`tables` must have shape \(V, H, K\), got \(3, 5\)"),
    ({"tables": None}, TypeError, "`tables` must be a torch.Tensor, got NoneType"),
    ({"tokens": torch.full((2, 4), 7)}, ValueError, "`tokens` must be from 0 to 6, one for each table, got 7"),
    ({"tokens": torch.full((2, 4), -1)}, ValueError, "`tokens` must be from 0 to 6, one for each table, got -1"),
    ({"tokens": torch.zeros(2, 0).long()}, ValueError, "`tokens` must have at least one time step, got T=0"),
    ({"tokens": torch.zeros(2).long()}, ValueError, r"`tokens` must have shape \(B, T\), got \(2,\)"),
    ({"tokens": torch.zeros(2, 4)}, TypeError, "`tokens` must have one of the dtypes int64, .* got float32"),
    ({"tokens": torch.zeros(2, 4, device="meta").long()}, ValueError, "`tokens` must be on device cpu, got meta"),
    ({"start": torch.zeros(2, 4, 2).byte()}, ValueError, r"`start` must have shape \(B=2, H=3, R\), got \(2, 4, 2\)"),
    ({"start": torch.full((2, 3, 2), 5).byte()}, ValueError, "`start` must have entries below K=5, got 5"),
    ({"start": torch.zeros(2, 3, 2)}, TypeError, "`start` must have dtype uint8, got float32"),
    ({"backend": "fast"}, ValueError, "`backend` must be one of auto, reference, portable, cpu, got 'fast'"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_input_is_refused_by_name(change, error, message):
    tables, tokens, start = inputs()
    with pytest.raises(error, match=message):
        lookup_scan(**({"tables": tables, "tokens": tokens, "start": start} | change))
