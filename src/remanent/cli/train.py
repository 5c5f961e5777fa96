"""`remanent train`: trains a recipe in a new folder, or resumes an interrupted run."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remanent._launched import launched
from remanent._options import listed
from remanent._plugins import import_hint, suggested
from remanent._restore import threads_allowed
from remanent.cli._shared import make_parser, with_data

if TYPE_CHECKING:
    from remanent.distributed import Launch
    from remanent.training import Experiment

OF_RUN = {"task.name": str, "model.input_size": int, "model.output_size": int}
"""What the `config.json` of a run holds and no flag changes: it must be what the recipe gives."""
LAUNCHED = ("devices", "strategy", "time_shards", "accelerator", "timeout")
"""The options that say by how many processes, and on what device, a run is trained."""


def parser(arguments: list[str]) -> Any:
    """The command's parser; its flags depend on the recipe among the arguments."""
    return _parser(_recipe_in(arguments))


def run(options: Any) -> int:
    """Runs the command."""
    from remanent.distributed import Launch
    from remanent.training.folder import is_finished, read_experiment

    if options.get("resume") is not None and options.recipe is not None:
        raise ValueError(f"`RECIPE` must not be given with --resume, which reads the run's own, got {options.recipe!r}")
    placed, place = Launch(**{name: options[name] for name in LAUNCHED}), launched()
    data_dir = options.data_dir if options.recipe is None else None  # a new run notes its folder itself
    if options.recipe is None:
        if options.out is not None:
            raise ValueError(f"`--out` must not be given with --resume, got {options.out}")
        folder, experiment = options.resume, read_experiment(options.resume, data_dir)
    else:
        experiment = _experiment(options)
        unit, seed = experiment.model.unit, experiment.training.seed
        folder = options.out or Path("runs") / f"{options.recipe}-{unit}-{seed}"
    if placed.devices is not None and placed.devices > 1 and place is None:
        if placed.devices % placed.time_shards:
            raise ValueError(f"`--time-shards` must divide --devices, {placed.devices}, got {placed.time_shards}")
        return _launch(options.arguments, placed, folder, data_dir)
    from remanent.training import record_run, resume_run, start_run  # the launcher would wait seconds for Lightning

    before = options.recipe is None and is_finished(folder)
    first = place is None or place.rank == 0
    if first and not before and not options.quiet and (summary := experiment.task.summary):
        print(f"{experiment.task.name}: {summary}", flush=True)
    if options.recipe is None:
        resume_run(
            folder,
            progress=not options.quiet,
            launch=placed,
            data_dir=data_dir,
            threads=options.threads,
            logger=options.logger,
        )
    else:
        start_run(
            experiment, folder, progress=not options.quiet, launch=placed, recipe=options.recipe, logger=options.logger
        )
    if first:
        record_run(folder, data_dir=data_dir)
        end = "was finished already, and nothing was trained" if before else "is finished"
        moved = [] if data_dir is None else ["--data-dir", data_dir]
        proves = ""
        if experiment.training.settle_steps is not None and hasattr(experiment.task, "automaton"):
            proves = f", or prove it right with {suggested('verify', str(folder), '--prune', *moved)}"
        print(f"{folder} {end}; score it with {suggested('evaluate', str(folder), *moved)}{proves}.")
    return 0


def _launch(arguments: list[str], placed: "Launch", folder: Path, data_dir: str | None) -> int:
    """Starts the same command in several processes."""
    from remanent.distributed.launcher import launch

    processes = placed.devices or 1
    try:
        return launch(arguments, processes)
    except RuntimeError as error:
        raise RuntimeError(f"{error}; {placed.advice(folder, processes, data_dir)}") from None


def _experiment(options: Any) -> "Experiment":
    """The recipe with the options that differ from it; the model's sizes follow the task, as in a grid."""
    from remanent._identity import OWN_COLUMN
    from remanent.records.identity import options_that
    from remanent.training import RECIPES
    from remanent.training.variants import experiment_for

    base = RECIPES[options.recipe]()
    with_data(base.task, options.data_dir)
    overrides = {
        f"{table}.{key}": value
        for table in ("task", "model", "training")
        for key, value in options[table].as_dict().items()
        if f"{table}.{key}" not in OF_RUN and value != getattr(getattr(base, table), key)
    }
    _check_of_run(options, "task.name", base.task.name)
    unit, seed = options.model.unit, options.training.seed
    threads = overrides.pop("training.threads", base.training.threads)
    for key in options_that(OWN_COLUMN):
        overrides.pop(key, None)
    made = experiment_for(options.recipe, unit, seed, overrides, threads=threads, data_dir=options.data_dir)
    _check_of_run(options, "model.input_size", made.model.input_size)
    _check_of_run(options, "model.output_size", made.model.output_size)
    return made


def _check_of_run(options: Any, key: str, made: Any) -> None:
    """Raises where the configuration of a run says something else than the recipe gives."""
    if options[key] not in (None, made):
        raise ValueError(
            f"`{key}` of `--config` must be {made!r}, as the recipe {options.recipe} has it, got {options[key]!r}"
        )


def _recipe_in(arguments: list[str]) -> str | None:
    """The name of the recipe, on which the flags of `train` depend; an unknown one is rejected here."""
    from remanent.training import RECIPES

    if arguments[:1] != ["train"] or {"-h", "--help"} & set(arguments[1:2]):
        return None
    if any(word.partition("=")[0] == "--resume" for word in arguments):
        return None
    if len(arguments) < 2:
        raise ValueError("`train` must be given a RECIPE or --resume RUN, got neither; see `remanent list`")
    if arguments[1] not in RECIPES:
        rule = f"`RECIPE` must be one of {listed(RECIPES, arguments[1])}, right after `train`"
        raise ValueError(f"{rule}, got {arguments[1]!r}{import_hint('recipe')}")
    return arguments[1]


def _parser(recipe: str | None) -> Any:
    from remanent.models import ModelConfig
    from remanent.records.configuration import fitting
    from remanent.training import RECIPES, TrainingConfig

    parser = make_parser("Trains a recipe in a new folder. `remanent train RECIPE --help` shows every option.")
    parser.usage = f"remanent train {recipe or 'RECIPE'} [options]" + ("" if recipe else " | --resume RUN [options]")
    parser.add_argument(
        "--out", type=Path | None, default=None, help="the run's folder, a new one (default: runs/RECIPE-UNIT-SEED)"
    )
    parser.add_argument("--data-dir", type=str | None, default=None, help="the folder that holds the data")
    parser.add_argument("--quiet", action="store_true", help="draw no progress bar")
    where = "where metrics go beside metrics.jsonl: tensorboard, csv, wandb, mlflow or none"
    parser.add_argument("--logger", type=str, default="tensorboard", help=where)
    parser.add_argument(
        "--devices",
        type=int | None,
        default=None,
        help="the number of processes on this machine, one for each device (default: 1)",
    )
    parser.add_argument(
        "--strategy", type=str, default="ddp", help="ddp: every process holds all weights; fsdp: each holds a part"
    )
    parser.add_argument(
        "--time-shards", type=int, default=1, help="the number of processes that share the time of each sequence"
    )
    parser.add_argument("--accelerator", type=str, default="cpu", help="the kind of device: cpu or gpu")
    parser.add_argument(
        "--timeout", type=float, default=600.0, help="seconds without a heartbeat after which a process counts as hung"
    )
    if recipe is None:
        parser.add_argument(
            "--resume", type=Path, metavar="RUN", help="the folder of an interrupted run, which is resumed"
        )
        parser.add_argument(
            "--threads", type=int | None, default=None, help="torch threads from here on (default: as it was begun)"
        )
        parser.add_argument("recipe", nargs="?", help=f"one of {', '.join(RECIPES)}, without --resume")
        return parser
    parser.add_argument("recipe", help=f"one of {', '.join(RECIPES)}")
    parser.add_argument(
        "--config", action="config", help="a YAML file with tables task, model, training, or the config.json of a run"
    )
    experiment = RECIPES[recipe]()
    for name, cls in (("task", type(experiment.task)), ("model", ModelConfig), ("training", TrainingConfig)):
        skipped = set(fitting(experiment.task)) - {"head", "encoder"} if name == "model" else set()
        parser.add_class_arguments(cls, name, skip=skipped)
        values = {
            key: value for key, value in dataclasses.asdict(getattr(experiment, name)).items() if key not in skipped
        }
        if name == "training":
            values["threads"] = threads_allowed(values["threads"])
        parser.set_defaults({f"{name}.{key}": value for key, value in values.items()})
    for key, kind in OF_RUN.items():
        parser.add_argument(f"--{key}", type=kind | None, default=None, help=argparse.SUPPRESS)
    return parser
