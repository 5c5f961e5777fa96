"""Figures draw the arrays they are given."""

import numpy as np
import pytest

from remanent.report.figures import growth, hysteresis_loop, response, save_figure, trajectory


def test_hysteresis_loop_marks_both_thresholds():
    figure = hysteresis_loop([-1, 0, 1, 1, 0, -1], [-2, -2, 2, 2, 2, -2], threshold=0.5, title="t")
    (axes,) = figure.axes
    up, down, low, high = axes.get_lines()
    assert list(up.get_ydata()) == [-2, -2, 2]
    assert list(down.get_ydata()) == [2, 2, -2]
    assert (low.get_xdata()[0], high.get_xdata()[0]) == (-0.5, 0.5)


def test_trajectory_orders_channels_by_their_last_write(tmp_path):
    states = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1], [1, 0, 1]])
    figure = trajectory(np.zeros((4, 1)), states, title="t")
    image = figure.axes[1].get_images()[0].get_array()
    assert image.tolist() == states.T[[1, 0, 2]].tolist()
    save_figure(figure, tmp_path / "figure.png")
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]
    assert figure.axes[0].get_title() == "t"
    assert trajectory(np.zeros((4, 8)), states, title="t").axes
    assert trajectory(np.zeros((1, 1)), states[:1], title="one step").axes


def test_response_draws_input_over_output_and_saves_the_same_bytes(tmp_path):
    for name in ("one.svg", "two.svg"):
        figure = response([0, 1, 0], [0, 2, -2])
        top, bottom = (axes.get_lines()[1].get_ydata() for axes in figure.axes)
        assert list(top) == [0, 1, 0]
        assert list(bottom) == [0, 2, -2]
        save_figure(figure, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    with pytest.raises(ValueError, match=r"`path` must end in .png or .svg, got .*figure.jpg"):
        save_figure(figure, tmp_path / "figure.jpg")


def test_growth_is_logarithmic_and_lists_the_dearest_first():
    names = "abcdefg"  # more than there are markers
    figure = growth({n: {16: 1.0, 64: float(i + 1)} for i, n in enumerate(names)}, title="t", x_name="x", y_name="y")
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.get_lines()] == list(reversed(names))
    assert list(axes.get_lines()[0].get_ydata()) == [1.0, 7.0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_growth_writes_sizes_that_are_no_powers_of_two_in_full():
    figure = growth({"a": {300: 1.0, 4096: 2.0}}, title="t", x_name="x", y_name="y")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["300", "4,096"]
