"""The record of an agent's run: a line of a results file, as that of every other run, with scores in episodes."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from remanent._files import write_whole
from remanent._identity import OWN_COLUMN, UNCOUNTED, fields_that
from remanent._machine import commit, versions
from remanent._restore import threads_set
from remanent.models import SequenceModel
from remanent.models.saved import CONFIG_FILE
from remanent.records.record import (
    RECORD_FILE,
    LengthScore,
    Record,
    Seconds,
    Versions,
    append_record,
    encode_record,
    read_records,
)
from remanent.rl.agent_config import AgentConfig, AgentExperiment, agent_experiment
from remanent.rl.agent_run import VALIDATED, load_agent, read_run, resume_agent, start_agent
from remanent.rl.agent_scores import EPISODES, lengths_tested, score_agent
from remanent.training.folder import owned
from remanent.training.seconds import training_seconds

TESTED = (1, 10)
"""The multiples of the length trained at that a run is tested at where no others are asked for."""


def run_agent(
    experiment: AgentExperiment,
    folder: str | Path,
    *,
    results: Path | None = None,
    factors: Sequence[int] = TESTED,
    progress: bool = True,
    logger: str = "tensorboard",
) -> Record:
    """Trains an agent and tests it, or goes on where that was interrupted; what is done already is not done again.

    Args:
        experiment: the whole configuration.
        folder: the folder of the run, a new one or that of the same configuration.
        results: a results file to which the record is appended, unless it holds it; None for none.
        factors: the multiples of the length trained at that are tested.
        progress: whether a progress bar is drawn.
        logger: where metrics go beside `metrics.jsonl`: see `start_agent`.

    Returns:
        The record.

    Raises:
        ValueError: the folder holds a run of another configuration.
    """
    folder = Path(folder)
    if not folder.exists():
        start_agent(experiment, folder, progress=progress, logger=logger)
    else:
        found = read_run(folder)
        if found.identity != experiment.identity:
            asked, given = (_listed(_beside(*pair)) for pair in ((experiment, found), (found, experiment)))
            raise ValueError(f"{folder} must hold the run of this configuration, {asked}, got {given}")
        resume_agent(folder, progress=progress, logger=logger)
    record = record_agent(folder, factors=factors)
    if results is not None and all(each.id != record.id for each in read_records(results, warn=True).records):
        append_record(results, record)
    return record


def record_agent(folder: str | Path, *, factors: Sequence[int] = TESTED, episodes: int = EPISODES) -> Record:
    """Tests a finished run and writes `record.json` into its folder, which `remanent table` reads.

    A record that is there already stays as it is.

    Args:
        folder: the folder of the run.
        factors: the multiples of the length trained at that are tested; with attention, those up to 100.
        episodes: of each test, at least 1.

    Returns:
        The record.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: a file is corrupt.
    """
    folder = Path(folder)
    path = folder / RECORD_FILE
    if path.exists():
        return read_records(path).records[0]
    experiment, model = load_agent(folder)
    record = _scored(
        experiment, model, lengths_tested(experiment.environment, factors, attends=model.attends), episodes
    )
    seconds = Seconds(training_seconds(folder, CONFIG_FILE), record.seconds.test if record.seconds else 0.0)
    record = dataclasses.replace(record, seconds=seconds)
    with owned(folder):
        write_whole(path, encode_record(record))
    return record


def _scored(experiment: AgentExperiment, model: SequenceModel, lengths: Sequence[int], episodes: int) -> Record:
    """The record of a run, with a score at each length."""
    environment, config, began = experiment.environment, experiment.to_dict(), time.monotonic()
    with threads_set(experiment.agent.threads):
        validated = score_agent(model, environment, split="validation", episodes=VALIDATED)
        scores = [score_agent(model, environment, length=length, episodes=episodes) for length in lengths]
    return Record(
        id=experiment.identity,
        recipe=environment.label,
        unit=experiment.model.unit,
        seed=experiment.agent.seed,
        set=_changed(experiment),
        chosen=None,
        status="done",
        error=None,
        metric=experiment.metric,
        chance=environment.chance,
        length_name=environment.length_name,
        length=environment.length,
        validation=LengthScore(environment.length, VALIDATED, validated),
        tests=tuple(LengthScore(length, episodes, score) for length, score in zip(lengths, scores, strict=True)),
        failing_length=None,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        steps=experiment.agent.updates,
        seconds=Seconds(0.0, round(time.monotonic() - began, 2)),
        config=config,
        commit=commit(),
        versions=Versions(**versions()),
    )


def _beside(experiment: AgentExperiment, other: AgentExperiment) -> dict[str, Any]:
    """The options of an experiment that another one has otherwise and that make another run, by their dotted names."""
    hidden = {f"agent.{name}" for name in fields_that(AgentConfig, [UNCOUNTED])}
    mine, others = experiment.to_dict(), other.to_dict()
    pairs = ((table, key, value) for table in mine for key, value in mine[table].items())
    changed = {f"{table}.{key}": value for table, key, value in pairs if others[table].get(key) != value}
    return {name: value for name, value in changed.items() if name not in hidden}


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())


def _changed(experiment: AgentExperiment) -> dict[str, Any]:
    """The options that are not those of an agent of this unit in this environment, by their dotted names."""
    plain = agent_experiment(type(experiment.environment)(**experiment.environment.named), experiment.model.unit, PLAIN)
    own = {f"agent.{name}" for name in fields_that(AgentConfig, [OWN_COLUMN])}
    sizes = {f"model.{name}" for name in ("input_size", "output_size")}  # which follow from the other tables
    return {name: value for name, value in _beside(experiment, plain).items() if name not in own | sizes}


PLAIN = AgentConfig()
"""How an agent is trained where nothing is changed."""
