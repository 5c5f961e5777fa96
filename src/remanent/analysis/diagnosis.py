"""What keeps the latches of a module from learning: measures of each layer, those out of their range, the remedy."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from remanent.analysis._probe import evaluating
from remanent.analysis.gradients import LagGradient, layer_gradient
from remanent.latches.layer_runs import LayerRun, call, check_module, watch_layers
from remanent.units._stack import own_state

RATES = "set_write_rates(module, batch) sets the thresholds from data"
SCALE = "scale the inputs to a mean of 0 and a size of about 1, or normalise the gates"
NEAR = 3 / math.pi
"""How far from its threshold, over the surrogate's width, a candidate has a tenth of the largest surrogate gradient."""
ANNEAL = "train with annealing: EpsilonSchedule(module, total_steps) takes epsilon from 1 to 0"


class LayerDiagnosis(NamedTuple):
    """The measures of one layer of latches on a batch.

    Attributes:
        name: the name of the layer, such as "blocks.0.layer.units.0.l0".
        unit: the name of the unit's class.
        rate: the share of steps that write each channel, float64 (D,).
        upwards: the share of each channel's writes that write a high state, float64 (D,); NaN where there are none.
        candidate: the root of the mean square of the candidates; NaN for an `FQBMRU` and other latches without them.
        threshold: the root of the mean square of the thresholds; NaN likewise.
        near: the share of steps, over all channels, in which the surrogate gradient is at least a tenth of its largest;
            NaN likewise.
        gradient: the norm of the gradient within the layer over the lag; None for sequences of one step.
    """

    name: str
    unit: str
    rate: Tensor
    upwards: Tensor
    candidate: float
    threshold: float
    near: float
    gradient: LagGradient | None

    @property
    def never(self) -> int:
        """How many channels are never written."""
        return int((self.rate == 0).sum())

    @property
    def always(self) -> int:
        """How many channels are written at every step, and never held."""
        return int((self.rate == 1).sum())

    @property
    def one_sided(self) -> int:
        """How many channels are written, but to one side alone."""
        return int(((self.rate > 0) & ((self.upwards == 0) | (self.upwards == 1))).sum())

    @property
    def kept(self) -> float:
        """The norm of the gradient at the longest lag divided by that at the shortest; NaN without lags."""
        if self.gradient is None or self.gradient.norms[0] == 0:
            return float("nan")
        return (self.gradient.norms[-1] / self.gradient.norms[0]).item()


class Measure(NamedTuple):
    """A measure of a layer, the range in which layers learn, and what to do outside of it.

    Attributes:
        name: what is measured, in a few words.
        value: the measure of a layer; NaN where it has none.
        low: the least value of the healthy range.
        high: the largest.
        low_remedy: what to do below the range.
        high_remedy: what to do above it.
    """

    name: str
    value: Callable[[LayerDiagnosis], float]
    low: float
    high: float
    low_remedy: str
    high_remedy: str


MEASURES = (
    Measure("share of channels never written", lambda layer: layer.never / len(layer.rate), 0, 0.05, "", RATES),
    Measure("share of channels never held", lambda layer: layer.always / len(layer.rate), 0, 0.05, "", RATES),
    Measure(
        "share of channels written to one side alone",
        *(lambda layer: layer.one_sided / len(layer.rate), 0, 0.1, ""),
        f"{RATES} and takes the mean from the candidates",
    ),
    Measure("median write rate", lambda layer: layer.rate.median().item(), 1e-3, 0.6, RATES, RATES),
    Measure("size of the candidates", lambda layer: layer.candidate, 0.1, 5, SCALE, SCALE),
    Measure("share of steps near a threshold", lambda layer: layer.near, 0.05, 1, f"{SCALE}; {RATES}", ""),
    Measure("gradient that is kept over the longest lag", lambda layer: layer.kept, 1e-4, 1e4, ANNEAL, SCALE),
)
"""What `diagnose` looks at; the ranges are those within which the layers of our own trainings began."""


class Finding(NamedTuple):
    """A measure of a layer that is out of its healthy range.

    Attributes:
        layer: the name of the layer.
        measure: what was measured.
        value: what was found.
        low: the least value of the healthy range.
        high: the largest.
        remedy: what to do.
    """

    layer: str
    measure: str
    value: float
    low: float
    high: float
    remedy: str

    def __str__(self) -> str:
        """One sentence."""
        found = f"{self.measure} is {self.value:.3g}, healthy from {self.low:g} to {self.high:g}"
        return f"{self.layer or 'the cell'}: {found}. Remedy: {self.remedy}."


class Diagnosis(NamedTuple):
    """The layers of latches in a module, from the input upwards, and what is out of its healthy range.

    Attributes:
        layers: the measures of each layer.
        findings: what is out of its range, by layer.
    """

    layers: tuple[LayerDiagnosis, ...]
    findings: tuple[Finding, ...]

    @property
    def values(self) -> dict[str, dict[str, float]]:
        """For each layer, what was measured by the name of the measure; NaN where it has no value."""
        return {layer.name or "(cell)": {m.name: m.value(layer) for m in MEASURES} for layer in self.layers}

    @property
    def healthy(self) -> dict[str, tuple[float, float]]:
        """The least and the largest value of the healthy range of each measure."""
        return {measure.name: (measure.low, measure.high) for measure in MEASURES}

    @property
    def remedies(self) -> tuple[str, ...]:
        """What to do about each measure that is out of its range in some layer, a line each."""
        return tuple(dict.fromkeys(f"{finding.measure}: {finding.remedy}" for finding in self.findings))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of `rows`."""
        return ("layer", "unit", "written", "never", "always", "one side", "candidate", "threshold", "near", "kept")

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """A row of text for each layer, under `columns`."""
        return [
            (
                *(layer.name or "(cell)", layer.unit, f"{layer.rate.mean():.1%}"),
                *(f"{count} of {len(layer.rate)}" for count in (layer.never, layer.always, layer.one_sided)),
                *(_number(value, form) for value, form in ((layer.candidate, ".2f"), (layer.threshold, ".2f"))),
                *(_number(value, form) for value, form in ((layer.near, ".0%"), (layer.kept, ".0e"))),
            )
            for layer in self.layers
        ]

    def __str__(self) -> str:
        """A table of the layers, and a line for each finding."""
        table = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in table]
        lines = ["  ".join(row).rstrip() for row in padded]
        found = [f"- {finding}" for finding in self.findings] or ["Nothing is out of its healthy range."]
        return "\n".join([*lines, "", *found])


@torch.no_grad()
def diagnose(module: nn.Module, batch: Any) -> Diagnosis:
    r"""Measures what keeps latches from learning, layer by layer, on a batch, and says what to do about it.

    For each layer it finds how often each channel is written, and whether never, always or to one side alone; the sizes
    of the candidates and the thresholds; how often a step is near enough to its threshold for the surrogate gradient;
    and how the gradient falls with the lag within the layer.

    Args:
        module: a unit, a cell, a model, or any module that holds some; it is called once as `module(batch)`, in
            evaluation.
        batch: what the module is called with; a tuple or list is passed as several arguments. Steps of padding count as
            steps, unless they are packed.

    Returns:
        The measures of each layer and the findings; `print` shows both, `rows` gives the table, and
        `remanent.report.memory_figures.layer_health` draws `values`, `healthy` and `remedies`.

    Raises:
        ValueError: no latch runs on the batch.
        TypeError: `module` is not a module.

    The ranges are this library's.

    >>> from remanent import BMRU
    >>> found = diagnose(BMRU(3, 8), torch.rand(50, 4, 3) / 10)
    >>> found.findings[0].measure, found.findings[0].value
    ('share of channels never written', 1.0)
    """
    check_module(module)
    runs: dict[str, list[LayerRun]] = {}

    def collect(run: LayerRun) -> None:
        if run.recurrence.latches:
            runs.setdefault(run.name, []).append(run)

    with evaluating(module):
        with watch_layers(module, collect):
            call(module, batch)
        layers = tuple(_measured(parts) for parts in runs.values())
    if not layers:
        raise ValueError(f"`module` must run a latch on `batch`, got none in {type(module).__name__}")
    return Diagnosis(layers, tuple(finding for layer in layers for finding in _findings(layer)))


def _measured(parts: list[LayerRun]) -> LayerDiagnosis:
    """One layer, from all the times that it ran: those of one batch size follow one another in time."""
    last = parts[-1]
    same = [part.x for part in parts if part.x.shape[0] == last.x.shape[0]]
    run = last._replace(x=torch.cat(same, dim=1))
    written = run.recurrence.writes(run.p, run.x)
    assert written is not None
    z = written.flatten(0, 1)
    candidate = threshold = near = float("nan")
    gates = run.recurrence.latch_gates(run.p, run.x)
    if gates is not None:
        c, b = gates.candidate.double().flatten(0, 1), gates.threshold.double().abs().flatten(0, 1)
        candidate, threshold = (value.square().mean().sqrt().item() for value in (c, b))
        near = ((c.abs() - b).abs() * getattr(run.recurrence, "width", 1.0) <= NEAR).double().mean().item()
        high = gates.candidate >= 0
    else:
        start = own_state(run.recurrence, run.p, run.x, run.unit.hidden_size)
        high = run.recurrence.run(run.p, run.x, start, None, None)[0] > 0
    upwards = (z & high.flatten(0, 1)).sum(0).double() / z.sum(0)
    gradient = layer_gradient(run) if run.x.shape[1] > 1 else None
    return LayerDiagnosis(
        *(run.name, type(run.unit).__name__, z.double().mean(0), upwards, candidate, threshold, near, gradient)
    )


def _findings(layer: LayerDiagnosis) -> list[Finding]:
    found = []
    for name, value_of, low, high, low_remedy, high_remedy in MEASURES:
        value = value_of(layer)
        if value < low or value > high:  # NaN is neither
            found.append(Finding(layer.name, name, value, low, high, low_remedy if value < low else high_remedy))
    return found


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)
