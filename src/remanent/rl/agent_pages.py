"""A page about the runs of agents: how well they do beyond the length trained at, and how they learned."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from remanent.report.groups import ORDER, summarise
from remanent.report.memory_figures import Curves, learning_curves
from remanent.report.page import Picture, Section, write_page
from remanent.report.results import read_results
from remanent.report.tables import counted
from remanent.review.measures import Metrics, read_metrics
from remanent.review.pages import check_page, group_section
from remanent.rl.agent_config import AgentExperiment
from remanent.rl.agent_record import record_agent
from remanent.rl.agent_run import read_run
from remanent.tasks import METRICS
from remanent.training.folder import METRICS_FILE


def write_agent_report(
    runs: Sequence[Path],
    out: Path,
    *,
    results: Sequence[Path] = (),
    split: str = "test",
    said: Callable[[str], None] = lambda text: None,
    began: Callable[[int, Path], None] = lambda number, folder: None,
) -> None:
    """Writes one self-contained HTML file about finished runs of agents, and about results files.

    A run that has not been tested is tested, as `record_agent` does.

    Args:
        runs: the folders of finished runs of agents, at least one.
        out: the file to write, which must not exist yet, in a folder that exists.
        results: results files; each environment or task in them has a section of its own.
        split: whose scores the tables and figures show: "test", or "validation" at the length trained at.
        said: a function that is called with a line about each record that is left out.
        began: a function that is called before each run is read, with its number, from 0, and its folder.

    Raises:
        FileExistsError: `out` exists.
        FileNotFoundError: a folder holds no finished run, or there is no such file.
        ValueError: a folder holds no run of an agent, or a file is corrupt.
    """
    check_page(out, runs, results, split)
    experiments = [read_run(folder) for folder in runs]
    metrics = []
    for number, folder in enumerate(runs):
        began(number, folder)
        record_agent(folder)
        metrics.append(read_metrics(folder / METRICS_FILE))
    records, notes = read_results([*runs, *results])
    for note in notes:
        said(note)
    groups = summarise(records, split=split)
    worlds = dict.fromkeys(experiment.environment.label for experiment in experiments)
    folded = [
        (str(folder), json.dumps(each.to_dict(), indent=2)) for folder, each in zip(runs, experiments, strict=True)
    ]
    write_page(
        out,
        title=f"{', '.join(worlds)}: what is remembered",
        summary=f"{counted(len(runs), 'run')} of agents in {counted(len(worlds), 'environment')}.",
        sections=[
            *(group_section(group) for group in groups),
            *(_learning(world, experiments, metrics) for world in worlds),
            Section(
                "Configuration", ["The whole configuration of each run, as it stands in its folder."], folded=folded
            ),
        ],
        footer=" ".join(["Made by remanent report.", *(f"{note}." for note in notes)]),
    )


def _learning(world: str, experiments: Sequence[AgentExperiment], metrics: Sequence[Metrics]) -> Section:
    """How the agents in an environment learned: their scores by update, with epsilon and the share of writes."""
    there = [(each, read) for each, read in zip(experiments, metrics, strict=True) if each.environment.label == world]
    known = [*ORDER, *(each.model.unit for each, _ in there)]
    there.sort(key=lambda pair: known.index(pair[0].model.unit))  # a unit has its colour in all figures of the page
    first = there[0][0]
    score = METRICS[first.metric]
    curves = _by_unit([(each.model.unit, read.learning(first.metric)) for each, read in there])
    epsilon, rate = (
        _by_unit([(each.model.unit, read.curve(name)) for each, read in there]) for name in ("epsilon", "write_rate")
    )
    figure = learning_curves(
        curves,
        title=world,
        epsilon=epsilon,
        write_rate=rate,
        score_name=f"validation {score.title}",
        is_share=score.is_share,
        chance=first.environment.chance,
        step_name="update",
    )
    text = "The score in episodes of validation, with the best actions, over updates, in a band over seeds"
    more = [name for name, found in (("epsilon", epsilon), ("the share of steps that write", rate)) if found]
    text += f"; below it {' and '.join(more)}." if more else "."
    alt = f"Lines of the score over updates: {', '.join(curves)}."
    return Section(f"Learning: {world}", figures=[Picture(figure, text, alt)])


def _by_unit(found: Sequence[tuple[str, dict[int, float]]]) -> Curves:
    """Curves of runs, each with its unit, as the values of all seeds after each update."""
    curves: dict[str, dict[int, list[float]]] = {}
    for unit, curve in found:
        for step, value in curve.items():
            curves.setdefault(unit, {}).setdefault(step, []).append(value)
    return curves
