"""Table and figure of what `remanent robustness` measured: scores under disturbances, from the values in its file."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from remanent.report.tables import NOT_FINITE, format_spread
from remanent.tasks.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOUR = "#0b6e99"


def robustness_rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The rows of the table: what was disturbed, and the score with its spread over draws, shares in percent.

    >>> record = {"metric": "accuracy", "score": 0.9, "weights": [{"bits": 4, "score": 0.85}], "input_noise": None}
    >>> robustness_rows(record | {"parameter_noise": [{"size": 0.05, "mean": 0.8, "std": 0.01}]})
    [('as trained', '90.0'), ('parameters, noise of 5 %', '80.0 ± 1.0'),
     ('inputs', 'tokens bear no noise'), ('weights of 4 bits', '85.0')]
    """

    def cell(mean: float | None, std: float | None = None) -> str:
        return NOT_FINITE if mean is None else format_spread(mean, std, record["metric"])

    rows = [("as trained", cell(record["score"]))]
    for level in record["parameter_noise"]:
        rows.append((f"parameters, noise of {100 * level['size']:g} %", cell(level["mean"], level["std"])))
    if record["input_noise"] is None:
        rows.append(("inputs", "tokens bear no noise"))
    for level in record["input_noise"] or ():
        rows.append((f"inputs, noise of {level['size']:g} deviations", cell(level["mean"], level["std"])))
    for level in record["weights"]:
        rows.append((f"weights of {level['bits']} bits", cell(level["score"])))
    return rows


def robustness_figure(record: Mapping[str, Any]) -> "Figure":
    """Draws scores over each kind of disturbance that was measured: a dot for every draw, a line through the means.

    Args:
        record: the values that `remanent robustness` wrote; a score that is None is not drawn.
    """
    from matplotlib.figure import Figure

    from remanent.report.curves import scale_scores
    from remanent.report.labels import written

    panels = [_noise_panel(record, noise) for noise in NOISES if record[noise.key]]
    if record["weights"]:
        panels.append(_weights_panel(record))
    metric = METRICS[record["metric"]]
    figure = Figure(figsize=(1.4 + 2.9 * len(panels), 3.6), layout="constrained")
    (row,) = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for axes, panel in zip(row, panels, strict=True):
        points = panel.scores
        chance = axes.axhline(metric.scale * record["chance"], color="0.45", linestyle="--", linewidth=1, zorder=1)
        finite = {x: [metric.scale * y for y in values if y is not None] for x, values in points.items()}
        means = {x: sum(finite[x]) / len(values) for x, values in points.items() if len(finite[x]) == len(values)}
        (line,) = axes.plot(list(means), list(means.values()), color=COLOUR, marker="o", markersize=5.5)
        dots = [(x, y) for x, values in finite.items() if len(points[x]) > 1 for y in values]
        drawn = axes.scatter([x for x, _ in dots], [y for _, y in dots], s=14, color=COLOUR, alpha=0.35, linewidths=0)
        axes.set_xticks(list(points), panel.labels)
        axes.set_xlabel(panel.x_name)
        axes.margins(x=0.12)  # a neighbour's labels stay apart
        axes.spines[["top", "right"]].set_visible(False)
        scale_scores(axes, metric.is_share)
    row[0].set_ylabel(written(metric.label))
    said = f"{record['unit']} on {record['task']}, {record['length']:,} {record['length_name']}"
    figure.suptitle(written(said, round(10 * figure.get_figwidth())))
    shown = {"mean": line, "a draw": drawn, "chance": chance}
    row[-1].legend(
        list(shown.values()), list(shown), frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9
    )
    return figure


class Noise(NamedTuple):
    """A kind of noise: its key in the record, the name of its axis, and the factor that makes its sizes those shown."""

    key: str
    x_name: str
    scale: float


class Panel(NamedTuple):
    """One part of the figure: the name of its axis, the labels on it, and the scores at each place on it."""

    x_name: str
    labels: list[str]
    scores: dict[float, list[float | None]]


NOISES = (Noise("parameter_noise", "parameter noise, %", 100), Noise("input_noise", "input noise, deviations", 1))
"""The kinds of noise that a record may hold."""


def _noise_panel(record: Mapping[str, Any], noise: Noise) -> Panel:
    scores: dict[float, list[float | None]] = {0.0: [record["score"]]}
    for level in sorted(record[noise.key], key=lambda level: level["size"]):
        scores[noise.scale * level["size"]] = level["scores"]
    return Panel(noise.x_name, [f"{x:g}" for x in scores], scores)


def _weights_panel(record: Mapping[str, Any]) -> Panel:
    """Places at equal distances: the model as trained on the left, fewer bits to the right."""
    levels = sorted(record["weights"], key=lambda level: -level["bits"])
    scores = [record["score"], *(level["score"] for level in levels)]
    labels = ["trained", *(str(level["bits"]) for level in levels)]
    return Panel("bits of weights", labels, {float(i): [score] for i, score in enumerate(scores)})
