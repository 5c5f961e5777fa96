"""Figures over seeds draw every unit, its band, the level of chance and the length trained at."""

import itertools

import numpy as np
import pytest

from remanent.report.curves import FEW, dots_by_name, looks_of, score_against_length_with_spread
from remanent.report.figures import save_figure

SCORES = {
    "bmru": {10: [0.1, 0.3], 100: [0.2, 0.2]},
    "bmru (without annealing)": {10: [0.5], 100: [0.6]},
    "absent": {},
    "lru": {100: [2.0, 4.0], 10: [0.3, 0.5]},
    "attention": {10: [0.05, 0.07]},
}


def draw(is_share=False, scores=SCORES, **options):
    return score_against_length_with_spread(
        scores,
        title="t",
        length_name="steps",
        score_name="score",
        chance=0.5,
        trained_at=10,
        is_share=is_share,
        **options,
    )


def test_a_name_has_the_same_look_in_every_figure_with_the_same_order():
    order = ("bmru", "lru", "gru")
    few, more = looks_of(["gru", "gru (slow)", "mine"], order), looks_of(["bmru", "gru (slow)"], order)
    assert few["gru (slow)"] == more["gru (slow)"]
    assert (few["gru (slow)"].colour, few["gru (slow)"].style) == (few["gru"].colour, "--")
    assert few["gru"] == looks_of([*order])["gru"] != looks_of(["gru"])["gru"]
    assert len({few["mine"].colour, *(look.colour for look in looks_of(order).values())}) == 4
    many = looks_of(map(str, range(100))).values()
    assert len({(look.colour, look.marker) for look in many}) == 100


def test_lines_are_means_and_bands_reach_from_lowest_to_highest(tmp_path):
    figure = draw()
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert set(lines) == {*SCORES, "chance", "trained at"} - {"absent"}
    assert list(lines["lru"].get_xdata()) == [10, 100]
    assert list(lines["lru"].get_ydata()) == pytest.approx([0.4, 3.0])
    assert list(lines["chance"].get_ydata()) == [0.5, 0.5]
    assert list(lines["trained at"].get_xdata()) == [10, 10]
    assert len(axes.collections) == 4
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.3, 4.0)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["10", "100"]
    save_figure(figure, tmp_path / "figure.svg")


def test_the_legend_goes_by_the_last_value_and_ends_with_what_is_no_unit():
    legend = draw().axes[0].get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["lru", "bmru (without annealing)", "bmru", "attention", "chance", "trained at"]


def test_shares_are_drawn_in_percent():
    (axes,) = draw(is_share=True).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert list(lines["bmru"].get_ydata()) == pytest.approx([20, 20])
    assert list(lines["chance"].get_ydata()) == [50, 50]
    assert (axes.get_yscale(), axes.get_ylabel()) == ("linear", "score, %")


def test_points_of_few_examples_are_ringed_and_the_legend_says_so():
    assert FEW == 100
    examples = {"bmru": {10: 512, 100: 4}, "lru": {10: 99, 100: 100}, "attention": {10: 512}}
    (axes,) = draw(is_share=True, examples=examples).axes
    (rings,) = [line for line in axes.get_lines() if line.get_label() == "only 4 to 99 examples"]
    assert sorted(zip(rings.get_xdata(), rings.get_ydata(), strict=True)) == [(10, 40), (100, 20)]
    assert (rings.get_linestyle(), rings.get_markerfacecolor()) == ("None", "none")
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names[-3:] == ["only 4 to 99 examples", "chance", "trained at"]
    many = draw(examples={name: dict.fromkeys(line, 512) for name, line in SCORES.items()}).axes[0]
    assert [line.get_label() for line in many.get_lines()] == [line.get_label() for line in draw().axes[0].get_lines()]


def test_ten_units_look_different_and_variants_share_their_colour_and_marker():
    names = [f"unit{i}" for i in range(10)]
    drawn = draw(scores={name: {10: [0.1], 100: [0.2]} for name in names}).axes[0].get_lines()
    looks = {line.get_label(): (line.get_color(), line.get_marker()) for line in drawn}
    assert len({looks[name][0] for name in names}) == len({looks[name][1] for name in names}) == 10
    first = {line.get_label(): line for line in draw().axes[0].get_lines()}
    plain, variant = first["bmru"], first["bmru (without annealing)"]
    assert (plain.get_color(), plain.get_marker()) == (variant.get_color(), variant.get_marker())
    assert plain.get_linestyle() != variant.get_linestyle()
    assert first["lru"].get_color() == looks["unit2"][0]  # a unit without scores keeps its place


def test_a_score_that_is_not_finite_is_not_drawn():
    lines = draw(scores={"a": {10: [0.1], 100: [np.inf, 1.0]}, "b": {10: [np.nan]}}).axes[0].get_lines()
    assert {line.get_label(): list(line.get_xdata()) for line in lines if line.get_label() in "ab"} == {"a": [10]}


def test_dots_show_every_seed_and_the_median(tmp_path):
    values = {"bmru": [2**20, 2**20, 512], "absent": [], "lru": [0]}
    figure = dots_by_name(values, title="t", value_name="length", marks={"end": 2**20}, logarithmic=True)
    (axes,) = figure.axes
    drawn = {dots.get_label(): np.asarray(dots.get_offsets()) for dots in axes.collections}
    assert {name: list(dots[:, 0]) for name, dots in drawn.items()} == values
    assert len(set(drawn["bmru"][:, 1])) == 3
    assert [text.get_text() for text in axes.get_yticklabels()] == list(values)
    at_the_end = [line.get_linestyle() for line in axes.get_lines() if list(line.get_xdata()) == [2**20] * 2]
    assert sorted(at_the_end) == ["-", "--"]  # the median of the first row, and the mark
    assert [text.get_text() for text in axes.texts] == ["end"]
    assert axes.get_xscale() == "symlog"
    save_figure(figure, tmp_path / "figure.svg")
    assert dots_by_name(values, title="t", value_name="x", marks={}, logarithmic=False).axes[0].get_xscale() == "linear"


OPTIONS = ", ".join(f"{table}.{name}=128" for table, name in itertools.product(("model", "training"), "abc"))
NAMES = ["bmru", f"bmru ({OPTIONS})", f"lru ({OPTIONS})", "$x$ and $", "_private"]


def inside(figure):
    """The axes of a figure, all of whose texts, those of its legend too, lie inside it."""
    figure.draw_without_rendering()
    (axes,) = figure.axes
    box, drawn = figure.bbox, axes.get_tightbbox()
    assert box.x0 <= drawn.x0 < drawn.x1 <= box.x1
    assert box.y0 <= drawn.y0 < drawn.y1 <= box.y1
    return axes


def plain(text):
    return text.get_text().replace("\n", " ").replace("\\$", "$").strip()


def test_long_names_are_not_cut_and_names_are_no_formulas():
    scores = {name: {10: [0.5], 100: [0.25]} for name in NAMES}
    options = {"length_name": "steps $", "score_name": "score", "chance": 0.5, "trained_at": 10, "is_share": True}
    axes = inside(score_against_length_with_spread(scores, title=f"copy-first $ ({OPTIONS})", **options))
    assert [plain(text) for text in axes.get_legend().get_texts()] == [*NAMES, "chance", "trained at"]
    axes = inside(
        dots_by_name(
            {name: [1.0, 2.0] for name in NAMES},
            title=f"copy-first ({OPTIONS})",
            value_name="$",
            marks={"$x$": 1.0},
            logarithmic=True,
        )
    )
    assert [
        label.get_text().replace("\n", " ").replace("\\$", "$").strip() for label in axes.get_yticklabels()
    ] == NAMES


def test_an_axis_of_scores_that_are_all_zero_is_not_logarithmic(tmp_path):
    scores = {"bmru": {10: [0.0], 100: [0.0]}}
    options = {"length_name": "steps", "score_name": "score", "chance": 0.0, "trained_at": 10, "is_share": False}
    figure = score_against_length_with_spread(scores, title="t", **options)
    assert figure.axes[0].get_yscale() == "linear"
    save_figure(figure, tmp_path / "figure.svg")
