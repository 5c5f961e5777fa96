"""A metric that a user registers reaches tables, figures and pages, written as it says itself."""

import html
import sys

import pytest

from remanent.cli import main
from remanent.report import render, summarise
from remanent.report.group_figures import draw_scores
from remanent.report.groups import Column
from remanent.report.results import read_results
from remanent.tasks.metrics import METRICS, Metric
from result_records import record, write

REWARD = Metric(METRICS["mse"].tally, METRICS["mse"].finish, 500.0, "reward per episode", digits=2)


@pytest.fixture
def records(monkeypatch):
    monkeypatch.setitem(METRICS, "reward", REWARD)
    scores = {"bmru": (401.123, 410.0), "lru": (20.0, 30.0)}
    return [
        record(unit=unit, seed=seed, metric="reward", scores=(score, score / 2))
        for unit, of_seeds in scores.items()
        for seed, score in enumerate(of_seeds)
    ]


def test_a_table_writes_it_with_its_own_title_digits_and_direction(records):
    (group,) = summarise(records)
    assert group.best(Column(300, 512)).unit == "bmru"  # more is better
    text = render([group], "md")
    assert "Reward per episode by steps (and number of test examples); trained at 300, chance 0.10." in text
    assert "| bmru | **405.56 ± 6.28** | **202.78 ± 3.14** |" in text
    for kind in ("csv", "latex"):
        assert "reward" in render([group], kind).lower()


def test_a_figure_has_its_title_and_no_percent(records):
    (axes,) = draw_scores(summarise(records)[0]).axes
    assert axes.get_ylabel() == "reward per episode"
    line = next(line for line in axes.get_lines() if line.get_label() == "bmru")
    assert list(line.get_ydata()) == pytest.approx([405.5615, 202.78075])


def test_a_page_shows_it(records, tmp_path):
    file, out = write(tmp_path / "grid.jsonl", records), tmp_path / "report.html"
    assert main(["report", "-o", str(out), "--results", str(file)]) == 0
    text = html.unescape(out.read_text())
    assert "<strong>405.56 ± 6.28</strong>" in text
    assert "copy-first: reward per episode." in text


MODULE = """
from remanent.tasks.metrics import METRICS, Metric

METRICS["distance"] = Metric(METRICS["mse"].tally, METRICS["mse"].finish, 0.0, "distance", digits=1)
"""


def test_the_command_line_imports_it_and_names_what_is_missing_without(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "metrics_of_my_own.py").write_text(MODULE)
    file = write(tmp_path / "grid.jsonl", [record(metric="distance", scores=(12.34, 2.0))])
    assert main(["table", str(file)]) == 2
    assert "or one that a module registers (see `--import`), got 'distance'" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"grid\.jsonl: `metric` must be one of mse"):
        read_results([file])
    try:
        assert main(["--import", "metrics_of_my_own", "table", str(file)]) == 0
        assert "| bmru | 12.3 | 2.0 |" in capsys.readouterr().out
    finally:
        METRICS.pop("distance", None)
        sys.modules.pop("metrics_of_my_own", None)
