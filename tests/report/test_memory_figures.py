"""Figures of memory draw the arrays they are given."""

import numpy as np

from remanent._files import figure_bytes
from remanent.report.figures import trajectory
from remanent.report.memory_figures import (
    confusion_matrix,
    gradient_against_lag,
    input_branches,
    layer_health,
    learning_curves,
    write_rates,
)


def test_gradients_that_vanish_are_said_and_not_drawn():
    curves = {"cmru": ([1, 2, 4], [4.0, 4.0, 4.0]), "bmru": ([1, 2, 4], [3.0, 0.0, 0.0])}
    (axes,) = gradient_against_lag(curves, title="t").axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert drawn == {"cmru": [4, 4, 4], "bmru, 0 from 2": [3]}
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_write_rates_are_drawn_in_their_order_and_dead_channels_counted():
    (axes,) = write_rates({"l0": [0.5, 0.0, 0.1, 0.2], "l1": [0.3]}, wanted=[0.4, 0.04], title="t").axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert drawn.keys() == {"asked for", "l0, 1 of 4 never", "l1"}
    assert drawn["asked for"] == [0.04, 0.4]
    np.testing.assert_allclose(drawn["l0, 1 of 4 never"], [0.1 / 3, 0.1, 0.2, 0.5])
    assert axes.get_yscale() == "log"


def test_learning_curves_draw_the_mean_and_the_band_of_seeds():
    curves = {"bmru": {50: [0.2, 0.4], 100: [0.6, 0.8]}}
    (axes,) = learning_curves(curves, title="t", score_name="accuracy", is_share=True, chance=0.1).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    np.testing.assert_allclose(drawn["bmru"], [30, 70])
    np.testing.assert_allclose(drawn["chance"], [10, 10])
    (band,) = axes.collections
    low, high = band.get_paths()[0].vertices[:, 1].min(), band.get_paths()[0].vertices[:, 1].max()
    np.testing.assert_allclose([low, high], [20, 80])


def test_the_health_of_layers_is_a_table_whose_findings_are_coloured():
    values = {"l0": {"rate": 0.5, "size": np.nan}, "l1": {"rate": 0.7, "size": 3.0}}
    healthy = {"rate": (0.001, 0.6), "size": (0.1, 5)}
    figure = layer_health(values, healthy, title="t", remedies=["rate: set it"])
    (axes,) = figure.axes
    assert axes.get_images()[0].get_array().tolist() == [[0, 0], [1, 0]]
    written = {(text.get_position(), text.get_text(), text.get_fontweight()) for text in axes.texts}
    cells = {((0, 0), "0.5"), ((1, 0), "-"), ((0, 1), "0.7"), ((1, 1), "3")}
    assert {(place, text) for place, text, _ in written} == cells
    assert [text for _, text, weight in written if weight == "bold"] == ["0.7"]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "rate\nhealthy 0.001 to 0.6",
        "size\nhealthy 0.1 to 5",
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["l0", "l1"]
    assert axes.get_xlabel() == "rate: set it"
    figure_bytes(figure, "svg")


def test_epsilon_and_writes_are_drawn_below_the_scores_where_they_are_known():
    curves = {"lru": {50: [0.2], 100: [0.6]}, "bmru": {50: [0.2, 0.4], 100: [0.6, 0.8]}}
    epsilon, rate = {"bmru": {1: [1, 1], 100: [0, 0]}}, {"bmru": {100: [0.02, 0.04]}}
    options = {"title": "t", "score_name": "accuracy", "is_share": True, "chance": 0.1}
    figure = learning_curves(curves, **options, epsilon=epsilon, write_rate=rate)
    scores, first, second = figure.axes
    assert len(scores.get_lines()) == 3
    assert [axes.get_ylabel() for axes in (first, second)] == ["epsilon", "writes, %"]
    ((steps, values), (looks, shares)) = (axes.get_lines()[0].get_data() for axes in (first, second))
    assert (list(steps), list(values), list(looks)) == ([1, 100], [1, 0], [100])
    np.testing.assert_allclose(shares, [3])
    colours = {line.get_label(): line.get_color() for line in scores.get_lines()}
    assert {axes.get_lines()[0].get_color() for axes in (first, second)} == {colours["bmru"]}
    assert second.get_xlabel() == "training step"
    figure_bytes(figure, "svg")
    assert len(learning_curves(curves, **options, epsilon={}, write_rate=rate).axes) == 2


def test_a_confusion_matrix_shows_counts_over_shares():
    (axes,) = confusion_matrix([[8, 2], [0, 5]], title="t", names=["a", "b"]).axes
    assert {(t.get_position(), t.get_text()) for t in axes.texts} == {((0, 0), "8"), ((1, 0), "2"), ((1, 1), "5")}
    np.testing.assert_allclose(axes.get_images()[0].get_array(), [[0.8, 0.2], [0, 1]])


def test_branches_are_the_two_halves_of_the_sweep():
    (axes,) = input_branches([-1, 1, 1, -1], [0, 2, 2, 1], title="t").axes
    up, down = axes.get_lines()
    assert (list(up.get_ydata()), list(down.get_ydata())) == ([0, 2], [2, 1])


def test_values_that_are_not_finite_are_said_and_not_drawn():
    nothing = np.full(3, np.nan)
    figure = gradient_against_lag({"bmru": ([1, 2, 4], nothing), "$lru$": ([1, 2, 4], nothing)}, title="t")
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["bmru, not finite", "\\$lru\\$, not finite"]
    figure_bytes(figure, "svg")
    curves = learning_curves(
        {"bmru": {1: [np.nan], 2: [np.nan]}}, title="t", score_name="s", is_share=False, chance=np.nan
    )
    figure_bytes(curves, "svg")
    figure_bytes(trajectory(nothing[:, None], np.full((3, 2), np.nan), title="t"), "svg")
