"""The table and the figure of robustness show every draw, every mean, and what cannot be had."""

import pytest

from remanent.report.disturbance_tables import robustness_figure, robustness_rows
from remanent.report.figures import save_figure


def level(size, *scores):
    mean = None if None in scores else sum(scores) / len(scores)
    return {"size": size, "scores": list(scores), "mean": mean, "std": None if mean is None else 0.01}


def record(**changes):
    base = {
        "unit": "bmru",
        "task": "digits",
        "metric": "accuracy",
        "chance": 0.1,
        "length": 1360,
        "length_name": "empty steps",
        "score": 0.9,
        "parameter_noise": [level(0.1, 0.5, 0.7), level(0.05, 0.8, 0.9)],
        "input_noise": [level(0.5, 0.4)],
        "weights": [{"bits": 4, "score": 0.3}, {"bits": 8, "score": 0.85}],
    }
    return base | changes


def drawn(axes):
    """The points of the means, and of the draws."""
    chance, line = axes.get_lines()
    (dots,) = axes.collections
    assert chance.get_linestyle() == "--"
    return [tuple(point) for point in line.get_xydata()], sorted(map(tuple, dots.get_offsets().data.tolist()))


def test_a_panel_for_each_kind_with_means_and_draws_in_percent(tmp_path):
    figure = robustness_figure(record())
    parameters, inputs, weights = figure.axes
    means, draws = drawn(parameters)
    assert [x for x, _ in means] == [0, 5, 10]
    assert [y for _, y in means] == pytest.approx([90, 85, 60])
    assert [y for _, y in draws] == pytest.approx([80, 90, 50, 70])
    assert drawn(inputs)[0] == [(0, 90), (0.5, 40)]
    assert drawn(weights)[0] == [(0, 90), (1, 85), (2, 30)]
    assert [label.get_text() for label in weights.get_xticklabels()] == ["trained", "8", "4"]
    assert parameters.get_ylabel() == "accuracy, %"
    assert all(list(axes.get_lines()[0].get_ydata()) == [10, 10] for axes in figure.axes)
    assert figure.get_suptitle() == "bmru on digits, 1,360 empty steps"
    save_figure(figure, tmp_path / "figure.png")


def test_an_error_is_drawn_on_a_logarithmic_axis_and_what_is_not_finite_is_left_out():
    figure = robustness_figure(
        record(metric="mse", input_noise=None, parameter_noise=[level(0.05, 0.2, None), level(0.1, 2.0, 4.0)])
    )
    parameters, weights = figure.axes
    assert parameters.get_yscale() == weights.get_yscale() == "log"
    means, draws = drawn(parameters)
    assert means == [(0, 0.9), (10, 3)]
    assert draws == [(5, 0.2), (10, 2), (10, 4)]
    assert parameters.get_ylabel() == "mean squared error"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("parameter_noise", "parameter noise, %"),
        ("input_noise", "input noise, deviations"),
        ("weights", "bits of weights"),
    ],
)
def test_one_kind_alone_is_one_panel(kind, name):
    others = {key: [] for key in ("parameter_noise", "input_noise", "weights") if key != kind}
    (axes,) = robustness_figure(record(**others)).axes
    assert axes.get_xlabel() == name


def test_rows_stand_in_the_order_measured():
    assert robustness_rows(record(score=None, parameter_noise=[level(0.05, None)])) == [
        ("as trained", "not finite"),
        ("parameters, noise of 5 %", "not finite"),
        ("inputs, noise of 0.5 deviations", "40.0 ± 1.0"),
        ("weights of 4 bits", "30.0"),
        ("weights of 8 bits", "85.0"),
    ]
    assert ("inputs", "tokens bear no noise") in robustness_rows(record(input_noise=None))
    assert not any(name.startswith("inputs") for name, _ in robustness_rows(record(input_noise=[])))
