"""The page of results says what the records say, whatever they hold so far."""

import re

import pytest

from remanent.report.groups import summarise
from remanent.report.tables import DASH
from result_pages import DOCS, load_page, run
from result_records import record, write


@pytest.fixture(scope="module")
def page():
    return load_page()


def tables(page, lines):
    return page["tables"].tables_of(lines)


@pytest.mark.skipif(not (DOCS.parent / "results").is_dir(), reason="the results are not here")
def test_the_page_is_what_the_results_give(page, tmp_path, monkeypatch):
    copy = tmp_path / "results.md"
    copy.write_text((DOCS / "results.md").read_text())
    monkeypatch.setattr("sys.argv", ["draw_results.py", "--page", str(copy)])
    for part in ("tables", "ablation"):  # pictures take most of the time, and other tests draw them
        monkeypatch.setattr(page[part], "save_figure", lambda figure, path: None)
    page["results"].main()
    assert copy.read_text() == (DOCS / "results.md").read_text(), "run `python docs/draw_results.py`"
    assert not re.search(r"\| missing\b", copy.read_text())
    linked = re.findall(r"\]\((pictures/results-[^)]+\.svg)\)", copy.read_text())
    kept = [f"pictures/{path.name}" for path in (DOCS / "pictures").glob("results-*.svg")]
    assert sorted(linked) == sorted(kept)


def test_a_page_gets_everything_between_its_marks_alone(page, tmp_path, monkeypatch, capsys):
    words = {"metric": "sequence_accuracy", "length": 100}
    results = tmp_path / "results"
    (results / "trials").mkdir(parents=True)
    now = [
        *(run(unit=unit, seed=i, scores=(0.1 + i, 0.2)) for unit in ("bmru", "lru") for i in range(2)),
        *(run("flip-flop", seed=i, scores=(1.0, 1.0), failing=2 ** (15 + i), **words) for i in range(2)),
        run("digits", metric="accuracy", scores=(0.9,), length=0, commit="def5678-dirty"),
    ]
    write(results / "evidence.jsonl", now, tail='{"id')
    write(results / "trials" / "evidence.jsonl", [run(seed=0, scores=(), commit=None)])
    write(results / "grid.jsonl", [record(seed=i, scores=(0.4, 0.3)) for i in range(2)] + [record("parity", **words)])
    text, pictures = tmp_path / "page.md", tmp_path / "pictures"
    text.write_text("before\n<!-- tables -->\nold\n<!-- end of tables -->\nafter\n")
    pictures.mkdir()
    (pictures / "results-gone.svg").write_text("of a table that is no more")
    (pictures / "other.svg").write_text("of another page")
    monkeypatch.setattr("sys.argv", ["draw_results.py", "--results", str(results), "--page", str(text)])
    page["results"].main()
    made = text.read_text()
    assert "line 8 was cut short" in capsys.readouterr().out
    assert made.startswith("before\n<!-- tables -->\n")
    assert made.endswith("<!-- end of tables -->\nafter\n")
    assert "old" not in made.split("\n")
    assert "missing" not in made
    goals, worse, *rest = re.findall("^##+ (.*)$", made, re.MULTILINE)
    assert (goals, worse) == ("What was asked, and what was reached", "What got worse")
    parts = ["What each ingredient is worth", "Published figures beside ours", "The first tables"]
    assert rest == ["copy-first", "flip-flop", "digits", *parts, "copy-first", "parity", "How it was made"]
    assert "7 runs of the tables 0.2, 1 run that chose their options on validation 0.0." in made
    assert "11 runs, of commits (runs) `abc1234` (9), `def5678-dirty` (1), `unknown` (1)." in made
    shown = re.findall(r"\(pictures/(.*?)\)", made)
    names = ("copy-first", "flip-flop", "flip-flop-failing", "digits", "first-copy-first", "first-parity")
    assert shown == [f"results-{name}.svg" for name in names]
    assert sorted(path.name for path in pictures.iterdir()) == sorted([*shown, "other.svg"])
    first = (pictures / "results-flip-flop.svg").read_bytes()
    page["results"].main()
    assert text.read_text() == made
    assert (pictures / "results-flip-flop.svg").read_bytes() == first
    text.write_text("no marks")
    with pytest.raises(ValueError, match="`--page` must hold <!-- tables --> and then"):
        page["results"].main()


def test_a_page_of_no_records_says_so(page, tmp_path):
    evidence, notes = page["tables"].read_evidence(tmp_path)
    content, drawn = page["results"].page_content(evidence, tmp_path, {})
    assert (notes, drawn) == ([], [])
    for said in ("No runs yet.", "No task was run both then and now yet.", "| not run yet |", "Not run yet."):
        assert said in content
    assert "reached |\n" not in content.split("| asked | reached |")[1]


def test_a_table_has_rows_in_few_words_and_names_the_units_that_were_not_run(page, tmp_path):
    lines = [
        run(unit="lru", seed=3),
        *(run(seed=i, scores=(0.1 + i / 100, 0.2)) for i in range(2)),
        run(given={"training.warmup": 0.3, "model.conv_size": 8, "training.anneal_ramp": 0.6}),
        run(unit="mine", taps=0, status="failed"),
    ]
    (group,) = tables(page, lines)
    assert [row.label for row in group.rows] == ["bmru", "bmru (8 taps, ramp 0.6, warmup 0.3)", "lru", "mine"]
    text, drawn = page["tables"].section(group, "", tmp_path)
    assert drawn == ["results-copy-first"]
    assert "trained at 300, chance 1.0000. Trials had 200 steps.\n" in text
    assert "| bmru | 4 taps, rate 0.004 | 0.1050 ± 0.0071 | 0.2000 ± 0.0000 | 12,345 | 500 | 60 | 2 |" in text
    assert "| bmru | 8 taps, rate 0.004, ramp 0.6, warmup 0.3, given |" in text
    assert f"| mine | no taps, rate 0.004 | failed | failed | {DASH} | {DASH} | {DASH} | 0, 1 failed |" in text
    absent = "alpha_bmru, cmru, alpha_cmru, mru, min_gru, gru, bmru+lru, alpha_bmru+lru, attention"
    assert f"Not run on this task: {absent} (no time was left)." in text
    search = "--choose validation --search-steps 200 --set model.conv_size=0,4 --set training.learning_rate=0.004,0.012"
    fixed = "--set model.gate_norm=batch --set model.initial_state=low --set training.anneal_ramp=0.4"
    end = "--failing-limit 65536 --results results/evidence.jsonl"
    assert f"--task copy-first --unit bmru --seed 0:2 {search} {fixed} {end}" in text
    assert f"--task copy-first --unit lru --seed 3 --search-seed 0 {search} {fixed} {end}" in text
    assert "--unit bmru --seed 0 --set model.conv_size=8" in text


def test_then_and_now_show_the_best_rows_and_what_got_worse_says_by_how_much(page):
    compare = page["compare"]
    now = [
        *(run(seed=i, scores=(0.10 + i / 100, 0.30)) for i in range(3)),
        *(run(unit="lru", seed=i, scores=(0.30 + i / 100, 0.30)) for i in range(3)),
        run(unit="gru", scores=(0.21, 0.2)),
        run(unit="mru", scores=(0.9, 0.9)),
    ]
    then = [
        *(record(seed=i, scores=(0.5, 0.9)) for i in range(3)),
        *(record(seed=i, scores=(0.2, 0.2), overrides={"model.conv_size": 4}) for i in range(3)),
        *(record(unit="lru", seed=i, scores=(0.2 + i / 10, 0.4)) for i in range(3)),
        record(unit="gru", scores=(0.20, None)),
        record(unit="attention", scores=(0.1,)),
    ]
    groups = tables(page, now), summarise(then)
    text = compare.then_and_now(groups[0][0], groups[1][0])
    header = "| unit | options then | then, 300 | now, 300 | then, 3,000 | now, 3,000 |"
    assert header in text
    bmru = (
        "| bmru | 4 taps, write rates | 0.2000 ± 0.0000 | 0.1100 ± 0.0100 | 0.2000 ± 0.0000 | 0.3000 ± 0.0000 (worse) |"
    )
    assert bmru in text
    assert "| lru | as the recipe | 0.3000 ± 0.1000 | 0.3100 ± 0.0100 | 0.4000 ± 0.0000 | 0.3000 ± 0.0000 |" in text
    assert "| gru | as the recipe | 0.2000 | 0.2100 (worse) | not finite | 0.2000 |" in text
    assert "mru |" not in text.replace("bmru |", "")
    worse = compare.worse_section(*groups)
    assert "share 6 scores" in worse
    assert "2 of them are worse" in worse
    assert "| copy-first | bmru | 3,000 steps | 0.2000 ± 0.0000 | 0.3000 ± 0.0000 |" in worse
    assert "| copy-first | gru | 300 steps | 0.2000 | 0.2100 |" in worse
    better = compare.worse_section(tables(page, now[:1]), summarise(then[:3]))
    assert "None of them is worse" in better
    assert "|" not in better
    assert compare.then_and_now(groups[0][0], None) == ""
