"""The benchmark: cases in turn, peers that are missing or wrong listed, files written, errors of one line."""

import json
import re
import sys

import pytest
import torch

from remanent.bench import SECTIONS, packed, peers, run_bench
from remanent.bench.passes import positive_inputs
from remanent.bench.timing import Case, add_ratios, measure, time_in_turn
from remanent.cli import main
from remanent.models.session import ENGINES, TorchEngine
from remanent.units import BMRU, CELLS

MISSING = ("mambapy", "mambapy.pscan", "minGRU_pytorch", "minGRU_pytorch.minGRU", "jax")


@pytest.fixture(autouse=True)
def no_peers(monkeypatch):
    for name in MISSING:
        monkeypatch.setitem(sys.modules, name, None)


def read(folder):
    return json.loads((folder / "bench.json").read_text())


def test_cases_run_in_turn_and_the_first_time_is_not_counted():
    order, now = [], [0.0]

    def run(name, seconds):
        order.append(name)
        now[0] += seconds if order.count(name) > 1 else 100.0

    cases = [Case("a", lambda: run("a", 1.0)), Case("none", None, "not installed"), Case("b", lambda: run("b", 2.0))]
    times, failures = time_in_turn(cases, 3, clock=lambda: now[0])
    assert order == ["a", "b"] * 4
    assert times == {"a": [1.0] * 3, "none": [], "b": [2.0] * 3}
    assert failures == {}
    order.clear()
    twice, once = Case("a", lambda: run("a", 1.0), twice=True), Case("b", lambda: run("b", 2.0))
    times, _ = time_in_turn([twice, once], 2, clock=lambda: now[0])
    assert order == ["a", "a", "b"] * 3
    assert times == {"a": [1.0] * 2, "b": [2.0] * 2}
    order.clear()
    short, long = Case("a", lambda: run("a", 1.0)), Case("b", lambda: run("b", 2.0), longest=3.0)
    times, _ = time_in_turn([short, long], 4, clock=lambda: now[0])
    assert times == {"a": [1.0] * 4, "b": [2.0] * 2}  # not repeated after 3 seconds


def test_a_case_that_fails_is_listed_and_the_rest_is_timed():
    def fail():
        raise RuntimeError("no such thing\nand more")

    for repeats in (1, 4):
        rows = measure(
            "s", {"T": 2}, [Case("bad", fail), Case("good", lambda: None), Case("out", None, "why")], repeats
        )
        assert [row.status for row in rows] == ["error: RuntimeError: no such thing", "measured", "why"]
        assert rows[0].median is None
        assert (rows[1].repeats, rows[1].shape) == (repeats, {"T": 2})
        assert rows[1].min <= rows[1].q25 <= rows[1].median <= rows[1].q75


def test_threads_are_set_for_a_case_and_set_back():
    before, seen = torch.get_num_threads(), []
    cases = [Case(str(n), lambda: seen.append(torch.get_num_threads()), threads=n) for n in (1, 2)]
    assert [row.threads for row in measure("s", {}, cases, 1)] == [1, 2]
    assert seen == [1, 2, 1, 2]
    assert torch.get_num_threads() == before


def test_ratios_are_of_medians():
    rows = measure("s", {}, [Case("base", lambda: None), Case("other", lambda: None), Case("out", None, "why")], 1)
    rows[0].median, rows[1].median = 2.0, 6.0
    add_ratios(rows, "over", "base")
    add_ratios(rows, "speed-up", "base", inverse=True)
    assert [row.ratios for row in rows] == [{"over": 1, "speed-up": 1}, {"over": 3, "speed-up": 1 / 3}, {}]


@pytest.mark.parametrize("name", peers.SCANS)
def test_every_scan_that_is_installed_computes_the_same(name, monkeypatch):
    monkeypatch.undo()
    inputs = positive_inputs(2, 33, 3)
    case = peers.checked_case(name, *inputs, peers.exact(*inputs))
    if case.status == "not installed":
        pytest.skip(f"{name} is not installed")
    assert case.status == "measured"


def test_a_peer_whose_values_differ_is_an_error(monkeypatch):
    inputs = positive_inputs(2, 9, 3)
    expected = peers.exact(*inputs)
    for i, what in enumerate(("states", "gradient of decay", "gradient of value")):
        wrong = [tensor.clone() for tensor in expected]
        wrong[i][0, 4, 1] += 0.1
        case = peers.checked_case("linear_scan", *inputs, tuple(wrong))
        assert case.run is None
        assert case.status.startswith(f"error: {what} off by ")
        wrong[i][0, 4, 1] = torch.nan
        assert "off by nan" in peers.checked_case("linear_scan", *inputs, tuple(wrong)).status


def test_the_passes_of_heads_compute_the_same():
    logits, grad = (torch.randn(2, 5, 18, generator=torch.Generator().manual_seed(i)) for i in range(2))
    runs = {name: prepare(logits, grad, 3)() for name, prepare in peers.TRANSITIONS.items() if "epsilon 1" in name}
    expected = runs.pop("transition_scan both, epsilon 1")
    for found in runs.values():
        torch.testing.assert_close(found, expected)


def test_quick_sections_write_their_numbers_and_print_a_table(tmp_path, capsys):
    folder = tmp_path / "b"
    arguments = [
        "bench",
        "scans",
        "floor",
        "layers",
        "transition",
        "--quick",
        "--repeats",
        "2",
        "--threads",
        "1",
        "--out",
        str(folder),
    ]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert [p.name for p in folder.iterdir()] == ["bench.json"]
    results = read(folder)
    assert {"versions", "cpu", "cores", "os", "threads", "allocator", "date", "command", "repeats", "rows"} <= set(
        results
    )
    assert {"python", "remanent", "torch", "numba", "numpy", "mambapy", "minGRU-pytorch", "jax"} <= set(
        results["versions"]
    )
    assert results["command"].startswith("remanent bench scans floor layers transition --out ")
    rows = results["rows"]
    assert list(dict.fromkeys(row["section"] for row in rows)) == ["scans", "floor", "layers", "transition"]
    assert {row["status"] for row in rows} == {"measured", "not installed"}
    missing = {row["case"] for row in rows if row["status"] == "not installed"}
    assert missing == {
        *(n for n in peers.SCANS if n.split()[0] in ("mambapy", "jax", "minGRU-pytorch")),
        "minGRU-pytorch minGRU",
    }
    assert "…" not in shown  # no number is cut, although the output is no terminal
    for row in rows:
        assert row["case"] in shown
        if row["status"] == "measured":
            assert row["repeats"] == 2
            assert 0 < row["min"] <= row["q25"] <= row["median"] <= row["q75"]
        if row["section"] == "floor":
            B, T, D = row["shape"].values()
            assert row["bytes"] == 4 * B * T * D * {"latch both": 8, "linear both": 5}.get(
                row["case"], 3 if "latch" in row["case"] else 2
            )
            assert row["floor_ratio"] > 0
    assert {tuple(row["ratios"]) for row in rows if row["section"] == "layers"} == {
        ("over nn.Linear", "nn.GRU over it"),
        (),
    }


def test_quick_growth_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("remanent.bench.length.CASES", ("latch_scan", "nn.GRU", "mambapy pscan"))
    monkeypatch.setattr("remanent.bench.length.LONGEST", 1e-9)
    folder = tmp_path / "b"
    run_bench(["length", "streaming", "threads"], folder, repeats=1, quick=True)
    assert {p.name for p in folder.iterdir()} == {"bench.json", "length-time.svg", "length-memory.svg", "streaming.svg"}
    rows = read(folder)["rows"]
    by = {(row["case"], row["shape"].get("T")): row for row in rows if row["section"] == "length"}
    assert by["latch_scan", 64]["peak_bytes"] >= 0
    assert by["nn.GRU", 16]["status"] == "measured"
    assert re.fullmatch(r"skipped: could take up to \d+ s by the time at 16 steps", by["nn.GRU", 64]["status"])
    assert by["mambapy pscan", 64]["status"] == "not installed"
    sizes = {}
    for row in rows:
        if row["section"] == "streaming":
            assert row["repeats"] >= 50
            sizes.setdefault(row["case"], []).append(row["bytes"])
    assert len(set(sizes["bmru"])) == 1
    assert sizes["attention"] == [16 * 4**i * 2 * 2 * 128 * 4 for i in range(4)]
    assert {row["threads"] for row in rows if row["section"] == "threads"} >= {1}


def test_a_step_is_timed_of_cells_and_of_a_model_in_all_its_forms(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(ENGINES, "native", TorchEngine)
    monkeypatch.setattr("remanent.bench.models.streaming.STEP_MODELS", ("bmru",))
    run_bench(["step"], tmp_path / "b", repeats=1, quick=True)
    rows = read(tmp_path / "b")["rows"]
    forms = [f"bmru {form}" for form in ("model.step", "session", "native session", "onnxruntime")]
    assert [row["case"] for row in rows] == 2 * ["nn.GRUCell", *(cell.__name__ for cell in CELLS.values()), *forms]
    for row in rows:
        assert row["status"] == ("not installed" if row["case"] == forms[-1] else "measured")
        assert set(row["ratios"]) <= {"over nn.GRUCell", "over model.step", "over onnxruntime"}
    assert {row["shape"]["B"] for row in rows} == {1, 64}


def test_packed_sequences_are_timed_beside_padded_ones_and_their_memory_is_measured(tmp_path, monkeypatch):
    run_bench(["packed"], tmp_path / "b", repeats=1, quick=True)
    rows = read(tmp_path / "b")["rows"]
    assert [row["case"] for row in rows] == [f"{name} {way}" for name in packed.LAYERS for way in ("packed", "padded")]
    assert {row["status"] for row in rows} == {"measured"}
    assert all(row["shape"]["real steps"] == 64 + 3 * 20 and "over padded" in row["ratios"] for row in rows)


def test_a_replay_is_timed_beside_torchrl_where_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("remanent.bench.models.replay.UNITS", (BMRU,))
    monkeypatch.setattr("remanent.bench.models.replay.BACKENDS", {"": "pad"})  # the other one is compiled
    names = ["BMRU", "GRUModule", "LSTMModule"]
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torchrl.modules", None)
        run_bench(["replay"], tmp_path / "a", repeats=1, quick=True)
    rows = read(tmp_path / "a")["rows"]
    assert [(row["case"], row["status"]) for row in rows] == [(name, "not installed") for name in names]
    pytest.importorskip("torchrl", reason="needs torchrl, of the extra `rl`")
    run_bench(["replay"], tmp_path / "b", repeats=1, quick=True)
    rows = read(tmp_path / "b")["rows"]
    assert [(row["case"], row["status"]) for row in rows] == [(name, "measured") for name in names]
    assert all(row["ratios"].keys() == {"GRUModule over it", "LSTMModule over it"} for row in rows)


def test_a_packed_layer_needs_at_most_three_times_its_input():
    """What is allocated at once, for 25,100 steps of 2 D features; a padded batch has 200 times as many."""
    bytes_of = packed.packed_input(256, 20_000, 64)
    run = packed.packed_forward("BMRU", bytes_of, 32)
    run()
    held, peak = 0, 0
    with torch.profiler.profile(profile_memory=True) as profile:
        run()
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    assert 1 <= peak / bytes_of.data.nbytes <= 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], f"`NAME` must be one of {', '.join(SECTIONS)}, got 'nope'"),
        (["--repeats", "0"], "`repeats` must be at least 1, got 0"),
        (["--threads", "0"], "`threads` must be at least 1, got 0"),
        (["--allocator", "other"], "`allocator` must be one of default, reuse, got 'other'"),
        (["--out", "taken"], "`--out` must not exist yet, got taken"),
    ],
)
def test_what_is_wrong_gets_one_error_and_writes_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    assert main(["bench", "--quick", *arguments]) == 2
    assert capsys.readouterr().err == f"remanent: error: {message}\n"
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_reuse_is_refused_where_there_is_no_glibc(tmp_path, monkeypatch):
    monkeypatch.setattr("remanent.bench.sections.reuse_freed_memory", lambda: False)
    with pytest.raises(ValueError, match="`allocator` must be default without glibc, got 'reuse'"):
        run_bench(["streaming"], tmp_path / "b", allocator="reuse", quick=True)
    assert not (tmp_path / "b").exists()
