"""The section of a page that shows what the memory of runs looks like: writes, horizons, states, gradients."""

import math
import statistics

from remanent.analysis import LagGradient
from remanent.report.figures import hysteresis_loop, trajectory
from remanent.report.memory_figures import gradient_against_lag
from remanent.report.page import Picture, Section, Table
from remanent.report.score_tables import Cell
from remanent.report.tables import DASH, NOT_FINITE
from remanent.review.measures import HORIZON_CAP, HORIZON_SEQUENCES, RunMeasures
from remanent.review.rows import ByUnit

MEMORY = """Measured on the first run of each unit, on the first {steps:,} steps of validation sequences. The horizon
says for how long the bit of two opposite first inputs is read correctly from the model's answers, by a reader fixed at
the first step, under random inputs: the median of {sequences} sequences, tried up to {cap:,} steps. A channel that is
never written, or always, remembers nothing. Steps between writes are the median, over the channels that were written
at least twice, of their mean interval."""
"""The text above the table of memory."""
EXACT = """ Where it says exact, the states are finitely many and every input moves them: nothing fades at any length,
but the bit is then in another state than at first, where a fixed reader does not find it."""
"""What is added where a model has no horizon, since its states are moved rather than held."""


def memory_section(by_unit: ByUnit) -> Section:
    """The table of writes and horizons, and the pictures of the first run of each unit."""
    header = [
        "unit",
        "memory horizon, steps",
        "writes, % of steps",
        "channels never written",
        "always",
        "steps between writes",
    ]
    rows, pictures = [], []
    for unit, runs in by_unit.items():
        first = runs[0]
        rows.append([unit, _horizon(first), *_writes(first)])
        pictures += _pictures(unit, first)
    gradients = {unit: runs[0].gradient for unit, runs in by_unit.items() if runs[0].gradient is not None}
    if gradients:
        figure = gradient_against_lag(
            {unit: (g.lags, g.norms) for unit, g in gradients.items() if g}, title="gradient of the last output"
        )
        far = "; ".join(f"{unit} {_norm(g)} at lag {int(g.lags[-1]):,}" for unit, g in gradients.items() if g)
        pictures.append(
            Picture(
                figure, "How much of the gradient reaches back.", f"Lines of the gradient's norm over the lag: {far}."
            )
        )
    T = next(iter(by_unit.values()))[0].raster.states.shape[0]
    text = MEMORY.format(steps=T, sequences=HORIZON_SEQUENCES, cap=HORIZON_CAP)
    text += EXACT if any(runs[0].never_fades for runs in by_unit.values()) else ""
    return Section("Memory", [text], [Table("Memory of each unit", header, rows)], pictures)


def _pictures(unit: str, run: RunMeasures) -> list[Picture]:
    seed, raster, loop = run.experiment.training.seed, run.raster, run.loop
    T, D = raster.states.shape
    figure = trajectory(raster.inputs, raster.states, title=f"{unit}, seed {seed}")
    alt = f"States of {D} channels over {T} steps, under the input above; {_steady(run)}."
    pictures = [
        Picture(
            figure,
            f"{raster.name}: its states while the model reads a sequence, channels in the order of their last change.",
            alt,
        )
    ]
    if loop is not None:
        curve = hysteresis_loop(loop.candidate, loop.state, threshold=loop.threshold, title=f"{unit}, seed {seed}")
        low, high = loop.state.min().item(), loop.state.max().item()
        alt = f"A loop between states {low:.2f} and {high:.2f}, which flips at candidates of ±{loop.threshold:.2f}."
        pictures.append(Picture(curve, f"The loop of {loop.name}, the busiest that also holds.", alt))
    return pictures


def _horizon(run: RunMeasures) -> str:
    if run.never_fades:
        return "exact at any length"
    if run.horizon is None:
        return DASH
    return f"{run.horizon:,}" + (" or more" if run.horizon == HORIZON_CAP else "")


def _norm(gradient: LagGradient) -> str:
    """The norm at the longest lag."""
    last = gradient.norms[-1].item()
    return f"{last:.1e}" if math.isfinite(last) else NOT_FINITE


def _writes(run: RunMeasures) -> list[str | Cell]:
    if run.writes is None:
        return [DASH] * 4
    rate = statistics.fmean(value for w in run.writes for value in w.rate.tolist())
    never, always = (sum(int(getattr(w, name).sum()) for w in run.writes) for name in ("never", "always"))
    channels = sum(len(w.rate) for w in run.writes)
    gaps = [value for w in run.writes for value in w.interval.tolist() if value == value]
    between = f"{statistics.median(gaps):,.1f}" if gaps else DASH
    return [f"{100 * rate:.1f}", f"{never} of {channels}", f"{always} of {channels}", between]


def _steady(run: RunMeasures) -> str:
    states = run.raster.states
    same = (states[1:] == states[:-1]).float().mean().item() if len(states) > 1 else 1.0
    return f"from one step to the next {100 * same:.0f} % of them stay as they are"
