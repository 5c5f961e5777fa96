"""A page about the runs of agents: how well they do beyond the length trained at, and how they learned."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from remanent.report.groups import ORDER, summarise
from remanent.report.page import Section, write_page
from remanent.report.results import read_results
from remanent.report.tables import counted
from remanent.review.measures import Learning, read_metrics
from remanent.review.pages import check_page, configuration_section, group_section, learning_section
from remanent.rl.agent_record import record_agent
from remanent.rl.agent_run import read_run
from remanent.rl.environments import Environment
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
    learned: dict[str, dict[str, list[Learning]]] = {}
    for number, (folder, experiment) in enumerate(zip(runs, experiments, strict=True)):
        began(number, folder)
        record_agent(folder)
        metrics = read_metrics(folder / METRICS_FILE)
        curves = Learning(metrics.learning(experiment.metric), metrics.curve("epsilon"), metrics.curve("write_rate"))
        by_unit = learned.setdefault(experiment.environment.label, {})
        by_unit.setdefault(experiment.model.unit, []).append(curves)
    records, notes = read_results([*runs, *results])
    for note in notes:
        said(note)
    environments = {each.environment.label: each.environment for each in experiments}
    write_page(
        out,
        title=f"{', '.join(learned)}: what is remembered",
        summary=f"{counted(len(runs), 'run')} of agents in {counted(len(learned), 'environment')}.",
        sections=[
            *(group_section(group) for group in summarise(records, split=split)),
            *(_learning(environments[label], by_unit) for label, by_unit in learned.items()),
            configuration_section((folder, each.to_dict()) for folder, each in zip(runs, experiments, strict=True)),
        ],
        footer=" ".join(["Made by remanent report.", *(f"{note}." for note in notes)]),
    )


def _learning(environment: Environment, by_unit: Mapping[str, Sequence[Learning]]) -> Section:
    """How the agents in an environment learned, in the order by which a unit has its colour in all figures."""
    known = [*ORDER, *by_unit]
    ordered = dict(sorted(by_unit.items(), key=lambda pair: known.index(pair[0])))
    label, metric, chance = environment.label, environment.metric, environment.chance
    said = "The score in episodes of validation, with the best actions, over updates"
    return learning_section(f"Learning: {label}", ordered, label, metric, chance, said=said, step_name="update")
