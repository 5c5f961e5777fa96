"""The demonstration, made small: the same code, fewer steps and shorter tests."""

import json

import pytest

from remanent import demo
from remanent.demo import UNITS, Trial, run_demo

SMALL = (
    Trial("copy-first", "Copy the first input", ((300, 6), (300, 4), (1_100, 4))),
    Trial("digits", "Name a digit after empty steps", ((136, 6), (136, 4), (1_360, 4))),
)


def test_the_whole_demo_made_small(tmp_path):
    folder = run_demo(tmp_path / "demo", trials=SMALL, steps=2, progress=False)
    text = (folder / "report.md").read_text()
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * len(UNITS) * 3
    assert {line["unit"] for line in lines} == set(UNITS)
    for trial in SMALL:
        for figure in ("length", "hysteresis", "states"):
            name = f"{trial.recipe}-{figure}.png"
            assert f"({name})" in text
            assert (folder / name).read_bytes().startswith(b"\x89PNG")
    for line in lines:
        shown = f"{100 * line['accuracy']:.1f} %" if "accuracy" in line else f"{line['mse']:.4f}"
        assert f" {shown} |" in text
    widths = {line["config"]["model"]["hidden_size"] for line in lines}
    assert widths == {64}


def test_an_existing_folder_is_never_reused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileExistsError, match="`--out` must not exist yet"):
        run_demo(tmp_path)
    assert str(demo._free_folder()) == "demo"
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo-2").mkdir()
    assert str(demo._free_folder()) == "demo-3"
