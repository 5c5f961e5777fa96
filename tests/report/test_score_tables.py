"""Tables say what the records hold, in every format, and stand beside the commands that make them."""

import csv
import dataclasses
import io
import json
import math
import re
import shlex

import numpy as np
import pytest

from remanent.records.chosen import Chosen
from remanent.report import FORMATS, format_score, render, summarise
from remanent.report.score_tables import caption, grid_commands, table_cells
from remanent.report.tables import format_spread, latex_escape
from result_records import record

LINES = [
    *(record(seed=i, scores=(0.1 + i / 100, 0.2)) for i in range(3)),
    record(unit="attention", seed=0, scores=(0.5,)),
    record(unit="attention", seed=1, scores=(0.7,)),
    record(unit="lru", seed=0, scores=(0.7, 0.9)),
    record(unit="lru", seed=1, status="failed"),
    record(unit="alpha_cmru", status="failed"),
    record("digits", unit="gru", metric="accuracy", scores=(0.9,), length=136),
]


def cells(lines, number=0):
    header, rows = table_cells(summarise(lines)[number])
    return [dict(zip(header, (cell.text for cell in row), strict=True)) for row in rows]


def test_cells_say_mean_spread_seeds_and_what_is_not_there():
    bmru, alpha_cmru, lru, gru, attention = cells(LINES)
    scores = np.array([0.1, 0.11, 0.12])
    assert bmru["300 (512)"] == f"{scores.mean():.4f} ± {scores.std(ddof=1):.4f}" == "0.1100 ± 0.0100"
    assert bmru["3,000 (512)"] == "0.2000 ± 0.0000"
    columns = ("parameters", "training steps", "training, s", "seeds")
    assert [bmru[name] for name in columns] == ["12,345", "500", "61", "3"]
    assert (attention["3,000 (512)"], attention["seeds"]) == ("\u2013", "2 of 3")
    assert (lru["300 (512)"], lru["seeds"]) == ("0.7000", "1 of 3, 1 failed")
    assert (alpha_cmru["300 (512)"], alpha_cmru["seeds"]) == ("failed", "0 of 3, 1 failed")
    assert [gru[name] for name in ("300 (512)", "parameters", "seeds")] == ["missing", "\u2013", "missing"]
    assert cells(LINES, 1)[-2]["136 (512)"] == "90.0"


def test_a_cell_of_fewer_seeds_than_its_row_says_so():
    (bmru,) = cells([record(scores=(0.1, 0.2)), record(seed=1, scores=(0.3,))])
    assert (bmru["300 (512)"], bmru["3,000 (512)"]) == ("0.2000 ± 0.1414", "0.2000 (of 1)")


def test_a_table_of_validation_says_so_and_has_the_same_columns():
    lines = [record(validation=0.4), record(seed=1, validation=0.5), record(unit="lru", failing=3)]
    (group,) = summarise(lines, split="validation")
    header, (bmru, lru) = table_cells(group)
    assert header == ["unit", "300 (512)", *table_cells(summarise([record()])[0])[0][3:]]
    assert (bmru[1].text, lru[1].text) == ("0.4500 ± 0.0707", "\u2013")
    said = "Validation mean squared error by steps (and number of validation examples); trained at 300, chance 1.0000."
    assert caption(group) == said
    first, *_ = csv.DictReader(io.StringIO(render([group], "csv")))
    assert (first["split"], first["examples"], float(first["mean"])) == ("validation", "512", 0.45)
    assert [line["split"] for line in csv.DictReader(render(summarise(lines), "csv").splitlines())] == ["test"] * 4
    with pytest.raises(ValueError, match="`--split` must be test where no run has a score on validation"):
        summarise([record()], split="validation")
    with pytest.raises(ValueError, match="`--split` must be one of validation, test, got 'train'"):
        summarise(lines, split="train")


def test_a_score_that_was_not_finite_makes_no_mean():
    lines = [record(scores=(None,)), record(seed=1, scores=(0.3,)), record(unit="lru", scores=(math.inf,))]
    assert [row["300 (512)"] for row in cells(lines)] == ["not finite", "not finite"]
    first, *_ = csv.DictReader(io.StringIO(render(summarise(lines), "csv")))
    assert (first["mean"], first["std"], first["n"]) == ("nan", "", "2")


def test_failing_lengths_are_a_median_and_a_range():
    options = {"metric": "sequence_accuracy", "scores": (1.0,)}
    lines = [record(seed=i, failing=n, **options) for i, n in enumerate((512, 64, 2**20))]
    lines += [record(unit="lru", seed=i, failing=2**20, **options) for i in range(2)]
    lines += [record(unit="gru", **options), record(unit="lstm", status="failed", **options)]
    shown = [row["failing length"] for row in cells(lines)]
    halves = [record(seed=i, failing=i, **options) for i in range(2)]
    assert [row["failing length"] for row in cells(halves)] == ["0.5 [0\u20131]"]
    assert shown == ["512 [64\u20131,048,576]", "1,048,576", "\u2013", "failed"]
    assert "failing length" not in cells(LINES)[0]
    assert "The failing length is the longest at which" in caption(summarise(lines)[0])


def test_captions_name_metric_length_and_chance():
    texts = [caption(group) for group in summarise(LINES)]
    assert texts == [
        "Mean squared error by steps (and number of test examples); trained at 300, chance 1.0000.",
        "Accuracy in % by steps (and number of test examples); trained at 136, chance 10.0 %.",
    ]


def test_markdown_has_a_whole_table_for_every_group_and_bold_where_it_is_clear():
    text = render(summarise(LINES), "md")
    assert re.findall("^## (.*)$", text, re.MULTILINE) == ["copy-first", "digits"]
    assert "| bmru | **0.1100 ± 0.0100** | 0.2000 ± 0.0000 |" in text
    assert text.count("**") == 2
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_a_value_with_a_bar_does_not_end_its_cell():
    text = render(summarise([record(overrides={"model.note": "a|b"})]), "md")
    assert r"| bmru (model.note=a\|b) |" in text


def test_csv_gives_every_number_back():
    rows = list(csv.DictReader(io.StringIO(render(summarise(LINES), "csv"))))
    first = rows[0]
    assert (first["task"], first["unit"], first["length"], first["examples"]) == ("copy-first", "bmru", "300", "512")
    scores = np.array([0.1, 0.11, 0.12])
    assert float(first["mean"]) == pytest.approx(scores.mean(), rel=1e-15)
    assert float(first["std"]) == pytest.approx(scores.std(ddof=1), rel=1e-12)
    assert (first["n"], first["best"], first["parameters"]) == ("3", "1", "12345")
    shown = [(row["unit"], row["status"], row["length"], row["n"]) for row in rows if row["task"] == "copy-first"]
    assert shown == [
        *(("bmru", "done", length, "3") for length in ("300", "3000")),
        ("alpha_cmru", "failed", "", "0"),
        *(("lru", "done", length, "1") for length in ("300", "3000")),
        ("gru", "missing", "", "0"),
        *(("attention", "done", length, n) for length, n in (("300", "2"), ("3000", "0"))),
    ]
    overrides = {"task.steps": 5, "training.anneal": False}
    one = record(failing=64, metric="sequence_accuracy", scores=(1.0,), overrides=overrides)
    (line,) = csv.DictReader(io.StringIO(render(summarise([one]), "csv")))
    assert (line["failing_median"], line["failing_min"], line["failing_max"]) == ("64", "64", "64")
    assert json.loads(line["task_set"]) | json.loads(line["set"]) == overrides


def test_latex_is_escaped_and_every_line_has_all_columns():
    text = render(summarise(LINES), "latex")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    for table in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, re.DOTALL):
        columns = re.search(r"\{tabular\}\{(l(r+))\}", table).group(1)
        lines = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert {line.count(" & ") + 1 for line in lines} == {len(columns)}
        assert [table.count(f"\\{name}rule") for name in ("top", "mid", "bottom")] == [1, 1, 1]
    assert r"bmru & \textbf{0.1100 $\pm$ 0.0100} & 0.2000 $\pm$ 0.0000 &" in text
    assert r"alpha\_cmru" in text
    outside = [line for line in text.splitlines() if not line.startswith("%")]
    assert not re.search(r"(?<!\\)[%_#]|\u2013|±", "\n".join(outside))


def test_every_sign_that_latex_reads_is_escaped():
    assert latex_escape(r"a\b^c~d{e}") == r"a\textbackslash{}b\textasciicircum{}c\textasciitilde{}d\{e\}"
    assert latex_escape("5 % & $1 #2 a_b") == r"5 \% \& \$1 \#2 a\_b"


def test_scores_have_digits_that_suit_them():
    assert format_score(0.97, "vote_accuracy") == "97.0 %"
    assert format_score(1.23456, "bits") == "1.235"
    assert format_score(0.0, "mse") == "0.0000"
    assert format_spread(0.00012, 0.00003, "mse") == "1.20e-04 ± 3.00e-05"
    assert format_spread(123456.0, None, "mse") == "1.23e+05"
    assert format_spread(float("inf"), None, "mse") == "inf"


def test_commands_make_each_run_once_and_no_other():
    lines = [
        *(record(unit=unit, seed=i) for unit in ("bmru", "lru", "bmru+lru") for i in range(3)),
        *(record(unit="gru", seed=i) for i in (0, 4)),
        *(record(seed=i, overrides={"training.anneal": False, "model.norm": "none"}) for i in (1, 2)),
        record(unit="lru,bmru", seed=7, status="failed"),
        record(unit="nbrc", seed=7, threads=2),
        record(unit="lstm", overrides={"task.steps": 1000}, length=1000),
    ]
    base, longer = summarise(lines)
    assert grid_commands(base) == [
        "remanent grid --task copy-first --unit bmru lru bmru+lru --seed 0:3",
        "remanent grid --task copy-first --unit gru --seed 0 4",
        "remanent grid --task copy-first --unit lru,bmru --seed 7",
        "remanent grid --task copy-first --unit bmru --seed 1:3 --set model.norm=none --set training.anneal=false",
        "remanent grid --task copy-first --unit nbrc --seed 7 --threads 2",
    ]
    assert grid_commands(longer) == ["remanent grid --task copy-first --unit lstm --seed 0 --set task.steps=1000"]
    (quoted,) = grid_commands(summarise([record(overrides={"task.name_of": "a b"})])[0])
    assert shlex.split(quoted)[-1] == "task.name_of=a b"


def test_commands_search_again_what_was_chosen():
    options = {"model.conv_size": "0,4", "training.learning_rate": "0.004,0.012"}
    chosen = Chosen("validation", 4, 0, 0.1, 0, 167, options)
    best = {"model.norm": "layer", "model.conv_size": 4, "training.learning_rate": 0.012}
    other = dict(best, **{"model.conv_size": 0})
    drawn = dataclasses.replace(chosen, trials=6, steps=500, options={"training.learning_rate": "0.001:0.1:log"})
    lines = [
        *(record(seed=i, overrides=best, chosen=chosen) for i in range(2)),
        *(record(unit="lru", seed=i, overrides=other, chosen=chosen) for i in (1, 2)),
        record(unit="gru", overrides={"training.learning_rate": 0.0371}, chosen=drawn),
    ]
    searched = (
        "--choose validation --search-steps 167 --set model.conv_size=0,4 --set training.learning_rate=0.004,0.012"
    )
    assert grid_commands(summarise(lines)[0], ["--results", "a.jsonl"]) == [
        f"remanent grid --task copy-first --unit bmru --seed 0:2 {searched} --set model.norm=layer --results a.jsonl",
        f"remanent grid --task copy-first --unit lru --seed 1:3 --search-seed 0 {searched} --set model.norm=layer "
        "--results a.jsonl",
        "remanent grid --task copy-first --unit gru --seed 0 --choose validation --sample 6 "
        "--set training.learning_rate=0.001:0.1:log --results a.jsonl",
    ]


def test_formats_are_listed():
    assert list(FORMATS) == ["md", "csv", "latex"]


def test_names_write_nothing_but_themselves():
    name = "a\n\\input{secret} | <script>alert(1)</script> [x](javascript:1) `code`\r\n"
    groups = summarise([record(recipe=name, unit=unit, seed=s) for unit in ("=1+1", "[1in]", name) for s in (0, 1)])
    latex = render(groups, "latex").splitlines()
    assert [line for line in latex if line.startswith(("%", "\\", "{}", "=", "a", "unit"))] == latex
    assert not any("\\input{" in line for line in latex if not line.startswith("%"))
    assert latex[0].startswith("% a \\input{secret} |")
    assert any(line.startswith("{}[1in] &") for line in latex)
    markdown = render(groups, "md")
    assert "<script" not in markdown
    assert "](" not in markdown
    assert markdown.splitlines()[0].startswith("## a \\input{secret} \\| &lt;script>")
    assert all(line.count("|") - line.count("\\|") == 8 for line in markdown.splitlines() if line.startswith("| "))
    rows = list(csv.DictReader(render(groups, "csv").splitlines(keepends=True)))
    assert {row["unit"] for row in rows} == {"'=1+1", "[1in]", name}
    assert {row["mean"] for row in rows} == {"0.5", "0.6"}
