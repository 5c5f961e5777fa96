"""Goals, ingredients and published figures on the page of results follow from the records."""

import dataclasses
import json
import math
import re

import pytest

from remanent.report.groups import summarise
from remanent.report.tables import DASH
from result_pages import COMMON, load_page, run, share
from result_records import record


@pytest.fixture(scope="module")
def page():
    return load_page()


def tables(page, lines):
    return page["tables"].tables_of(lines)


@pytest.mark.parametrize(
    ("scores", "reached", "verdict"),
    [
        ({"bmru": (0.96, 0.951), "lru": (0.99, 0.5)}, "bmru 96.0 %, 95.1 % at 13,600", "reached"),
        ({"bmru": (0.96, 0.949), "lru": (0.99, 0.5)}, "lru 99.0 %, 50.0 % at 13,600", "**missed**"),
        ({"bmru": (0.90, 0.92), "lru": (0.99, 0.5)}, "bmru 90.0 %, 92.0 % at 13,600; at the trained", "**missed**"),
        ({"bmru": (0.90,)}, "bmru 90.0 %", "**missed**"),
        ({}, "not run yet", ""),
    ],
)
def test_a_goal_to_hold_is_reached_within_a_point(page, scores, reached, verdict):
    lines = [share("permuted-digits", unit, 0, values, 136) for unit, values in scores.items()]
    group = tables(page, lines)[0] if lines else None
    goal = page["goals"]._holding(group, "permuted digits", 0.95, 13_600, {})
    assert goal.asked == "permuted digits: 95 %, which holds at 13,600 empty steps"
    assert goal.reached.startswith(reached)
    assert goal.verdict == verdict


@pytest.mark.parametrize(("on_the_same", "verdict"), [(0.87, "reached"), (0.89, "**missed**"), (None, "**missed**")])
def test_fewer_examples_are_compared_with_the_same_ones_at_the_trained_length(page, tmp_path, on_the_same, verdict):
    line = share("permuted-digits", "bmru", 0, (0.96, 0.87), 136)  # 16 examples at the longer length
    group, file = tables(page, [line])[0], tmp_path / "first_examples.jsonl"
    if on_the_same is not None:
        name = f"permuted-digits-bmru-0-{line.id[:8]}"
        file.write_text(json.dumps({"run": name, "length": 136, "examples": 16, "accuracy": on_the_same}) + "\n")
    goal = page["goals"]._holding(group, "permuted digits", 0.95, 13_600, page["goals"].read_firsts(file))
    assert goal.verdict == verdict


def goal_lines(page, now, then=(), small=()):
    text = page["goals"].goals_section(tables(page, list(now)), summarise(list(then)) if then else [], list(small))
    lines = [re.findall(r"\| (.*?) (?=\|)", line) for line in text.splitlines() if line.startswith("| ")]
    return {asked: (reached, verdict.strip()) for asked, reached, verdict in (line for line in lines if len(line) == 3)}


def test_goals_count_budgets_perfect_scores_and_what_was_before(page):
    def mnist(unit, scores, **given):
        return share("permuted-mnist", unit, 0, scores, 216, given={"training.steps": 800, **given})

    batch = {"training.batch_size": 64}
    now = [
        mnist("bmru", (0.60, 0.5, 0.6), **batch),
        mnist("lru", (0.88, 0.5, 0.871), **batch),
        mnist("gru", (0.97, 0.9, 0.9), **batch | {"training.steps": 9000}),
        share("induction-heads", "bmru", 0, (0.98,), 256),
        share("multi-query-recall", "bmru", 0, (0.979,), 256),
        run("adding", scores=(0.02,)),
        run("adding", unit="lru", scores=(0.03,)),
        *(share("spoken-digits", unit, 0, (0.9,), 0) for unit in ("bmru", "lru")),
        share("keyword", "bmru", 0, (0.95,), 0, given={"task.standardise": "set"}),
    ]
    then = [record("spoken-digits", unit, metric="accuracy", scores=(0.91,), length=0) for unit in ("bmru", "gru")]
    small = [record("keyword", metric="accuracy", scores=(0.94,), length=0)]
    found = goal_lines(page, now, then, small)
    assert found["permuted MNIST, 800 steps of 64, BMRU: 60 %"] == ("bmru 60.0 %", "reached")
    asked = "permuted MNIST, 800 steps of 64: 85 %, which holds at 216,000 empty steps"
    assert found[asked] == ("lru 88.0 %, 87.1 % at 216,000", "reached")
    long = "permuted MNIST, at most six hours of training: 95 %"
    assert found[long] == ("gru 97.0 % in 1 minutes, 9,000 steps", "reached")
    assert found["induction-heads: 98 %"] == ("bmru 98.0 %", "reached")
    assert found["multi-query-recall: 98 %"] == ("bmru 97.9 %", "**missed**")
    assert found["adding: an error of 0.0200, 2 % of chance"] == ("bmru 0.0200", "reached")
    assert found["spoken-digits: no unit worse than before"] == ("bmru 91.0 then, 90.0 % now", "**missed**")
    asked = "keyword, 40 channels for a chip: no unit worse than before"
    assert found[asked] == ("bmru 94.0 then, 95.0 % now", "reached")
    assert found["Pathfinder, 12 x 12: 80 %"] == ("not run yet", "")
    slow = dataclasses.replace(now[2], seconds=dataclasses.replace(now[2].seconds, train=6 * 3600 + 1))
    assert goal_lines(page, [now[1], slow])[long] == ("lru 88.0 % in 1 minutes, 800 steps", "**missed**")


def ablated(recipe, seed, score, **options):
    full = COMMON | {"model.conv_size": 4, "training.learning_rate": 0.004, "model.clock": "sinusoid"}
    kind = {"metric": "accuracy", "length": 136} if recipe == "permuted-digits" else {}
    clock = {} if recipe == "permuted-digits" else {"model.clock": "none"}
    changed = {
        f"{'training' if key in ('anneal', 'anneal_ramp', 'write_rates') else 'model'}.{key}": options[key]
        for key in options
    }
    return record(recipe, seed=seed, scores=(score, score / 2), overrides=full | clock | changed, **kind)


def test_the_ablation_has_a_row_for_each_ingredient_that_is_left_out_alone(page, tmp_path):
    off = {
        "annealing": {"anneal": False, "anneal_ramp": 0.6},
        "write rates": {"write_rates": False, "write_span": None},
        "normalised gates": {"gate_norm": "none"},
        "convolution of 4 steps": {"conv_size": 0},
        "low start": {"initial_state": "zeros"},
        "early end of annealing": {"anneal_ramp": 0.6},
        "clock": {"clock": "none"},
    }
    lines = [ablated("permuted-digits", seed, 0.9 + seed / 100) for seed in range(3)]
    lines += [ablated("permuted-digits", 0, 0.8, **options) for options in off.values()]
    lines += [ablated("permuted-digits", 0, 0.1, conv_size=0, gate_norm="none")]  # two at once: no row
    lines += [ablated("copy-first", 0, 0.01), ablated("copy-first", 0, 0.02, conv_size=0)]
    digits, copy = page["ablation"].ablation_groups(lines)
    assert [row.label for row in digits.rows] == ["all ingredients", *(f"without {name}" for name in off)]
    assert [row.label for row in copy.rows] == ["all ingredients", "without convolution of 4 steps"]
    text, drawn = page["ablation"].ablation_section(lines, tmp_path)
    assert drawn == ["results-ablation"]
    assert (tmp_path / "results-ablation.svg").read_text().lstrip().startswith("<?xml")
    assert "| permuted-digits, accuracy in % | 136 steps | 1,360 steps | change | seeds |" in text
    assert f"| all ingredients | 91.0 ± 1.0 | 45.5 ± 0.5 | {DASH} | 3 |" in text
    assert "| without low start | 80.0 | 40.0 | -11.0 | 1 |" in text
    assert "| without convolution of 4 steps | 0.0200 | 0.0100 | 2 times | 1 |" in text
    assert "(permuted-digits 0.004, copy-first 0.004)" in text
    assert "--set model.conv_size=4" in text
    assert page["ablation"].ablation_section([], tmp_path)[1] == []


@pytest.mark.parametrize(
    ("score", "said"),
    [(0.9, "ours is lower"), (0.9396, "ours is the same"), (0.95, "ours is higher"), (None, "not run yet")],
)
def test_a_published_figure_has_ours_in_its_line(page, score, said):
    size = {"task.size": 12}
    lines = [] if score is None else [share("pathfinder", "lru", 0, (score,), 0, given=size)]
    text = page["published"].published_section(tables(page, lines), [], [])
    (line,) = [line for line in text.splitlines() if line.startswith("| Pathfinder ")]
    assert line.endswith(f"{said} |")
    first = [record("pathfinder", "lru", metric="accuracy", scores=(0.7,), length=0, overrides=size)]
    text = page["published"].published_section(tables(page, lines), summarise(first), [])
    assert ("first tables" in text) is (score is None)


def test_published_claims_are_counted_over_our_tasks(page):
    lines = [
        *(
            run(unit=unit, scores=(score,))
            for unit, score in (("cmru", 0.5), ("alpha_cmru", 0.1), ("lru", 0.1), ("min_gru", 0.05))
        ),
        *(share("digits", unit, 0, (score,), 136) for unit, score in (("cmru", 0.5), ("lru", 0.6))),
        *(run("flip-flop", seed=i, metric="sequence_accuracy", failing=n) for i, n in enumerate((64, 65_536, 65_536))),
    ]
    small = [
        record("spoken-digits", seed=i, metric="vote_accuracy", scores=(0.97 + i / 100,), length=0) for i in range(3)
    ]
    text = page["published"].published_section(tables(page, lines), [], small)
    assert "level with or better than lru on 1 of 2 tasks, min_gru on 0 of 1 task |" in text
    assert "bmru at least 65,536; K-state" in text
    assert "bmru 98.0 ± 1.0 % (12,345 parameters): ours is higher |" in text
    assert math.isclose(page["tables"].core_hours(small), (60 + 61 + 62 + 3 * 20) / 3600)
