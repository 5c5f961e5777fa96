"""`remanent rl`: trains agents in environments that ask for a memory, or resumes one, and tests them."""

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

from remanent._files import to_json
from remanent._options import check_at_least, listed
from remanent._plugins import import_hint, suggested
from remanent._restore import threads_allowed
from remanent._terminal import progress_bar
from remanent.cli._shared import make_parser

ID = re.compile(r".*-v\d+")
"""What an environment of gymnasium's is called."""


def parser(arguments: list[str]) -> Any:
    """The command's parser; its flags depend on the environment among the arguments."""
    return _parser(_environment_in(arguments))


def run(options: Any) -> int:
    """Runs the command."""
    from remanent.rl.agent_record import record_agent, run_agent
    from remanent.rl.agent_run import resume_agent

    how = {"progress": not options.quiet, "logger": options.logger}
    check_at_least("tests", min(options.tests), 1)
    if options.get("resume") is not None:
        resume_agent(options.resume, **how)
        record_agent(options.resume, factors=options.tests)
        return _said(options.resume)
    runs = _experiments(options)
    if len(runs) > 1 and options.out is not None:
        folders = [options.out / name for name in runs]
    else:
        folders = [options.out or Path("runs") / name for name in runs]
    for experiment, folder in zip(runs.values(), folders, strict=True):
        if folder.exists() and len(runs) == 1 and options.results is None:
            resumes = suggested("rl", "--resume", str(folder))
            raise FileExistsError(f"the run's folder must not exist yet, got {folder}; resume it with {resumes}")
        run_agent(experiment, folder, results=options.results, factors=options.tests, **how)
        _said(folder)
    return 0


def evaluate(options: Any) -> int:
    """What `remanent evaluate` does with the run of an agent."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from remanent.rl.agent_run import load_agent
    from remanent.rl.agent_scores import EPISODES, FACTORS, lengths_tested, score_agent
    from remanent.tasks import METRICS

    for name in ("failing_limit", "data_dir"):
        if options[name] is not None:
            flag = name.replace("_", "-")
            raise ValueError(f"`--{flag}` must not be given for the run of an agent, got {options[name]}")
    experiment, model = load_agent(options.run)
    torch.set_num_threads(threads_allowed(experiment.agent.threads))
    world, metric = experiment.environment, METRICS[experiment.metric]
    lengths = options.length or lengths_tested(world, FACTORS, attends=model.attends)
    episodes = EPISODES if options.examples is None else options.examples
    table = Table(world.length_name, metric.title)
    for length in dict.fromkeys(lengths):
        with progress_bar(max(1, length), lines=not options.json) as show:
            note = f"playing {length:,} {world.length_name}"
            score = score_agent(
                model,
                world,
                length=length,
                split=options.split,
                episodes=episodes,
                done=lambda steps, show=show, length=length, note=note: show(min(steps, length), note),  # type: ignore[misc]
            )
        if options.json:
            line = {"run": str(options.run), "split": options.split, "examples": episodes, "length": length}
            print(to_json({**line, experiment.metric: score}), flush=True)
        table.add_row(f"{length:,}", f"{score:.4f}")
    if not options.json:
        print(f"{options.run}: {episodes:,} episodes, in each of which the best action was taken")
        Console().print(table)
    return 0


def _said(folder: Path) -> int:
    print(f"{folder} is finished; test its memory with {suggested('evaluate', str(folder))}.")
    return 0


def _experiments(options: Any) -> dict[str, Any]:
    """The configuration of each run, by the name of its folder."""
    from remanent.rl.agent_config import AgentConfig, agent_experiment

    world = _environment(options.environment)
    changed = options.task.as_dict() if options.get("task") is not None else {}
    world = dataclasses.replace(world, **changed)
    model, agent = options.model.as_dict(), options.agent.as_dict()
    agent["threads"] = threads_allowed(agent["threads"])
    plain = _plain_model()
    own = {key: value for key, value in model.items() if key not in RING or value != plain[key]}
    found = {}
    for unit, seed in itertools.product(dict.fromkeys(options.unit), dict.fromkeys(options.seed)):
        name = f"{world.label}-{unit}-{seed}"
        found[name] = agent_experiment(world, unit, AgentConfig(**agent, seed=seed), own)
    return found


RING = ("r_min", "r_max")
"""Options of the model that follow from the unit where nothing else is asked for."""


def _plain_model() -> dict[str, Any]:
    from remanent.models import ModelConfig
    from remanent.rl.agent_config import AGENT_MODEL

    return dataclasses.asdict(ModelConfig(1, 1, **AGENT_MODEL))


def _environment(name: str) -> Any:
    """An environment of ours by its name, or one of gymnasium's by its id."""
    from remanent.rl.environments import ENVIRONMENTS, GymId

    return ENVIRONMENTS[name]() if name in ENVIRONMENTS else GymId(name)


def _environment_in(arguments: list[str]) -> str | None:
    """The name of the environment, on which the flags depend; an unknown one is rejected here."""
    from remanent.rl.environments import ENVIRONMENTS

    if arguments[:1] != ["rl"] or {"-h", "--help"} & set(arguments[1:2]):
        return None
    if any(word.partition("=")[0] == "--resume" for word in arguments):
        return None
    if len(arguments) < 2:
        raise ValueError("`rl` must be given a TASK or --resume RUN, got neither")
    name = arguments[1]
    if name not in ENVIRONMENTS and not ID.fullmatch(name):
        known = listed(ENVIRONMENTS, name)
        rule = f"`TASK` must be one of {known}, or an id of gymnasium such as CartPole-v1, right after `rl`"
        raise ValueError(f"{rule}, got {name!r}{import_hint('task')}")
    return name


def _parser(name: str | None) -> Any:
    from remanent.models import ModelConfig
    from remanent.rl.agent_config import AgentConfig
    from remanent.rl.agent_record import TESTED
    from remanent.rl.environments import ENVIRONMENTS

    parser = make_parser(
        "Trains agents in an environment and tests their memory. `remanent rl TASK --help` shows more."
    )
    parser.usage = f"remanent rl {name or 'TASK'} [options]" + ("" if name else " | --resume RUN [options]")
    parser.add_argument("--quiet", action="store_true", help="draw no progress bar")
    where = "where metrics go beside metrics.jsonl: tensorboard, csv, wandb, mlflow or none"
    parser.add_argument("--logger", type=str, default="tensorboard", help=where)
    tests = "the multiples of the length trained at that are tested at the end"
    parser.add_argument("--tests", type=int, nargs="+", default=list(TESTED), metavar="FACTOR", help=tests)
    if name is None:
        parser.add_argument("--resume", type=Path, metavar="RUN", help="the folder of an interrupted run")
        known = f"one of {', '.join(ENVIRONMENTS)}, or an id of gymnasium, without --resume"
        parser.add_argument("environment", nargs="?", metavar="TASK", help=known)
        return parser
    parser.add_argument("environment", metavar="TASK", help=f"one of {', '.join(ENVIRONMENTS)}, or an id of gymnasium")
    parser.add_argument("--unit", type=str, nargs="+", default=["bmru"], help="units; each makes a run for each seed")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="seeds")
    out = "the run's folder, or the folder of several (default: runs/TASK-UNIT-SEED)"
    parser.add_argument("--out", type=Path | None, default=None, help=out)
    results = "a results file to append the records to; runs that are there already are not done again"
    parser.add_argument("--results", type=Path | None, default=None, help=results)
    world = _environment(name)
    values = {f"task.{key}": value for key, value in dataclasses.asdict(world).items() if key not in world.named}
    if values:
        parser.add_class_arguments(type(world), "task", skip=set(world.named))
    follows = {"input_size", "output_size", "encoder", "head", "unit"}
    parser.add_class_arguments(ModelConfig, "model", skip=follows)
    parser.add_class_arguments(AgentConfig, "agent", skip={"seed"})
    values |= {f"model.{key}": value for key, value in _plain_model().items() if key not in follows}
    parser.set_defaults(values)
    return parser
