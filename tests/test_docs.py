"""The table of the units is whole, its examples run, and its pictures show what the captions say."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch

from remanent import UNITS

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "units.md").read_text()
NAMES = (*UNITS, "attention")


@pytest.fixture(scope="module")
def draw_units():
    spec = importlib.util.spec_from_file_location("draw_units", DOCS / "draw_units.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_python_blocks_run(block):
    exec(compile(block, "units.md", "exec"), {"__name__": "units_md"})


def test_every_unit_has_a_row_and_a_picture():
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", TEXT, re.MULTILINE)
    assert [name for name, _ in rows] == [*(unit.__name__ for unit in UNITS.values()), "Attention"]
    for name, row in rows:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)]
        assert len(cells) == 5, name
        assert all(cells), name
        assert "https://" in cells[-1]
    pictures = re.findall(r"!\[(.+?)\]\(pictures/(\w+)\.svg\)<br>`(\w+)`", TEXT)
    assert [picture for _, picture, _ in pictures] == list(NAMES)
    for _, picture, _ in pictures:
        assert (DOCS / "pictures" / f"{picture}.svg").read_text().lstrip().startswith("<?xml")


def test_the_script_draws_every_picture(draw_units, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["draw_units.py", str(tmp_path)])
    draw_units.main()
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(NAMES)
    first = (tmp_path / "bmru.svg").read_bytes()
    draw_units.main()
    assert (tmp_path / "bmru.svg").read_bytes() == first


def test_responses_are_what_the_captions_say(draw_units):
    y = {name: draw_units.respond(name) for name in NAMES}
    for name, low in (("bmru", -1.0), ("fq_bmru", 0.0)):
        assert torch.equal(y[name][20:180], torch.ones(160))
        assert torch.equal(y[name][180:], torch.full((60,), low))
    assert (y["cmru"][21], y["cmru"][129], y["cmru"][-1]) == (2, 62, 60)
    assert y["alpha_cmru"][129].item() == pytest.approx(62 * 0.45, rel=1e-5)
    for name in ("lru", "min_gru", "min_lstm", "gru", "lstm"):
        assert y[name][181:].abs().max() < 0.7 * y[name].abs().max()
        assert y[name][-1].abs() < 0.25 * y[name].abs().max()
    assert y["brc"][60] > 0.9
    assert y["brc"][-1] < -0.9
    assert y["nbrc"][65].abs() < 0.1
    assert y["nbrc"][170] > 0.9
    assert y["nbrc"][-1] < -0.9
    assert y["attention"][-1].item() == pytest.approx(60 / 240, rel=1e-4)
