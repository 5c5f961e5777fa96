"""The demonstration, made small: the same code, with fewer steps and shorter sequences."""

import html

import pytest

from remanent import demo
from remanent.demo import GRIDS, SMALL, UNITS, run_demo
from remanent.report.results import read_results
from remanent.report.tables import format_score
from remanent.training import load_run
from remanent.training.variants import experiment_for


@pytest.fixture
def small(tmp_path, capsys, monkeypatch):
    """The folder of a small demonstration, and what was printed, without line breaks."""
    monkeypatch.setattr(demo, "THREADS", 1)  # two would wait for each other where tests run side by side
    folder = run_demo(tmp_path / "demo", seed=3, grids=SMALL)
    return folder, " ".join(capsys.readouterr().out.split())


def test_the_whole_demo_made_small(small):
    folder, shown = small
    assert list(SMALL) == list(GRIDS)
    for recipe in SMALL:
        records, notes = read_results([folder / f"{recipe}.jsonl"])
        page = html.unescape((folder / f"{recipe}.html").read_text())
        assert notes == []
        assert [(record.unit, record.seed) for record in records] == [(unit, 3) for unit in UNITS]
        for record in records:
            assert [test.length for test in record.tests] == [1, 10, 100, 1000]
            said = [format_score(test.score, record.metric) for test in record.tests]
            assert f"from {said[0]} to {said[-1]} for {record.unit} (" in shown
            assert all(f">{text.removesuffix(' %')}<" in page for text in said)
            experiment, _ = load_run(folder / "runs" / f"{recipe}-{record.unit}-3-{record.id[:8]}")
            assert experiment == experiment_for(recipe, record.unit, 3, record.set, threads=demo.THREADS)
        assert f"From 1 to 1,000 {records[0].length_name}, the " in shown
        assert page.count("<figure><img") >= 6
    assert shown.startswith(
        f"Training 6 small models on copy-first and digits, each tested at up to 1,000 times its length, "
        f"into {folder}/: in two steps, after which scores mean nothing."
    )
    assert [f"begins ({number} of 6)" in shown for number in range(1, 7)] == [True] * 6
    assert f"measuring what these models remember, for {folder}/digits.html" in shown
    assert f"Open {folder}/copy-first.html and {folder}/digits.html in a browser" in shown


def test_an_existing_folder_is_never_reused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileExistsError, match="`--out` must not exist yet"):
        run_demo(tmp_path)
    assert str(demo._free_folder()) == "demo"
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo-2").mkdir()
    assert str(demo._free_folder()) == "demo-3"
