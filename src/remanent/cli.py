"""The command line: parses and calls."""

import argparse
import dataclasses
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from remanent._memory import reuse_freed_memory
from remanent.models import Attention
from remanent.tasks import TASKS, Task
from remanent.units import UNITS

DESCRIPTION = "Recurrent units that never forget."


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; what the user got wrong is one line on stderr, and the status 2."""
    try:
        return _main(sys.argv[1:] if arguments is None else arguments)
    except ModuleNotFoundError as error:
        print(f'remanent: error: {error}; pip install "remanent[train]"', file=sys.stderr)
    except (ValueError, TypeError, OSError, FloatingPointError, RuntimeError, argparse.ArgumentError) as error:
        print(f"remanent: error: {error}", file=sys.stderr)
    except KeyboardInterrupt as interrupt:
        print(f"remanent: interrupted {interrupt}", file=sys.stderr)
        return 130
    return 2


def _main(arguments: list[str]) -> int:
    recipe = _recipe_in(arguments)
    parser = _parser(DESCRIPTION, prog="remanent", version=version("remanent"))
    commands = parser.add_subcommands(dest="command")
    commands.add_subcommand("train", _train_parser(recipe), help="train a recipe, or go on with a run")
    commands.add_subcommand("evaluate", _evaluate_parser(), help="score a run at any length")
    commands.add_subcommand("list", _list_parser(), help="show units, tasks and recipes")
    commands.add_subcommand("demo", _demo_parser(), help="train and test three small models, and write a report")
    commands.add_subcommand("bench", _bench_parser(), help="time scans and layers beside others' packages")
    options = parser.parse_args(arguments)
    if options.command in ("train", "evaluate", "demo"):
        reuse_freed_memory()
    calls = {"train": _train, "evaluate": _evaluate, "list": _list, "demo": _demo, "bench": _bench}
    return calls[options.command](options[options.command])


def _recipe_in(arguments: list[str]) -> str | None:
    """The recipe's name, which decides what flags `train` has; refused here if unknown."""
    from remanent.training import RECIPES

    if arguments[:1] != ["train"] or {"-h", "--help"} & set(arguments[1:2]):
        return None
    if "--resume" in arguments:
        for recipe in RECIPES:
            if recipe in arguments:
                raise ValueError(f"`RECIPE` must not be given with --resume, which reads the run's own, got {recipe!r}")
        return None
    if len(arguments) < 2:
        raise ValueError("`train` must be given a RECIPE or --resume RUN, got neither; see `remanent list`")
    if arguments[1] not in RECIPES:
        raise ValueError(f"`RECIPE` must be one of {', '.join(RECIPES)}, got {arguments[1]!r}")
    return arguments[1]


def _parser(description: str, prog: str | None = None, version: str | None = None) -> Any:
    """A parser whose errors are raised, so that the user gets one line and not a page of usage."""
    from jsonargparse import ArgumentParser

    return ArgumentParser(prog=prog, description=description, version=version, exit_on_error=False)


def _train_parser(recipe: str | None) -> Any:
    from remanent.models import ModelConfig
    from remanent.training import RECIPES, TrainingConfig

    parser = _parser("Trains a recipe in a new folder. `remanent train RECIPE --help` shows every option.")
    parser.add_argument("--out", type=Path | None, default=None, help="the run's folder (runs/RECIPE-UNIT-SEED)")
    parser.add_argument("--quiet", action="store_true", help="draw no bar")
    if recipe is None:
        parser.add_argument("--resume", type=Path, metavar="RUN", help="go on with an interrupted run")
        parser.add_argument("recipe", nargs="?", help=f"one of {', '.join(RECIPES)}, without --resume")
        return parser
    parser.add_argument("recipe", help=f"one of {', '.join(RECIPES)}")
    parser.add_argument("--data-dir", type=str | None, default=None, help="a folder that holds the data set")
    parser.add_argument("--config", action="config", help="a YAML file with tables task, model, training")
    experiment = RECIPES[recipe]()
    for name, cls in (("task", type(experiment.task)), ("model", ModelConfig), ("training", TrainingConfig)):
        parser.add_class_arguments(cls, name)
        values = dataclasses.asdict(getattr(experiment, name))
        parser.set_defaults({f"{name}.{key}": value for key, value in values.items()})
    return parser


def _train(options: Any) -> int:
    from remanent.training import RECIPES, Experiment, resume_run, start_run

    if options.recipe is None:
        if options.out is not None:
            raise ValueError(f"`--out` must not be given with --resume, got {options.out}")
        resume_run(options.resume, progress=not options.quiet)
        print(f"{options.resume} is finished.")
        return 0
    values = {name: dict(options[name].as_dict()) for name in ("task", "model", "training")}
    values["task"]["name"] = RECIPES[options.recipe]().task.name
    experiment = Experiment.from_dict(values)
    experiment = dataclasses.replace(experiment, task=_with_data(experiment.task, options.data_dir))
    folder = options.out or Path("runs") / f"{options.recipe}-{experiment.model.unit}-{experiment.training.seed}"
    start_run(experiment, folder, progress=not options.quiet)
    print(f"{folder} is finished; score it with `remanent evaluate {folder}`.")
    return 0


def _with_data(task: Task, data_dir: str | None) -> Task:
    """The task, reading from the folder that the user named."""
    if data_dir is None:
        return task
    if not hasattr(task, "data_dir"):
        raise ValueError(f"`--data-dir` must not be given for the task {task.name}, which reads none, got {data_dir}")
    return dataclasses.replace(task, data_dir=data_dir)  # type: ignore[type-var]


def _evaluate_parser() -> Any:
    parser = _parser("Scores a finished run; long sequences run in chunks, the state carried.")
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument(
        "--length", type=int, nargs="+", default=None, help="lengths: steps, or empty steps after an image"
    )
    parser.add_argument("--split", type=str, default="test", help="test or validation")
    parser.add_argument("--examples", type=int | None, default=None, help="only the first so many of the split")
    parser.add_argument("--batch-size", type=int, default=64, help="sequences run together")
    parser.add_argument("--data-dir", type=str | None, default=None, help="a folder that holds the data set")
    parser.add_argument("--json", action="store_true", help="print a line of JSON a length")
    return parser


def _evaluate(options: Any) -> int:
    import torch
    from rich.console import Console
    from rich.table import Table

    from remanent.training import evaluate, load_run

    experiment, model = load_run(options.run)
    torch.set_num_threads(experiment.training.threads)
    task = _with_data(experiment.task, options.data_dir)
    table = Table(task.length_name, task.metric)
    for length in options.length or [task.length]:
        score = evaluate(
            model,
            task,
            length=length,
            split=options.split,
            examples=options.examples,
            batch_size=options.batch_size,
        )
        if options.json:
            examples = options.examples or task.split_size(options.split)
            line = {"run": str(options.run), "split": options.split, "examples": examples, "length": length}
            print(json.dumps({**line, task.metric: score}), flush=True)
        table.add_row(f"{length:,}", f"{score:.4f}")
    if not options.json:
        Console().print(table)
    return 0


def _list_parser() -> Any:
    parser = _parser("Shows units, tasks and recipes.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _list(options: Any) -> int:
    from remanent.training import RECIPES

    units = UNITS | {"attention": Attention}
    listed: dict[str, dict[str, Any]] = {"units": units, "tasks": TASKS, "recipes": RECIPES}
    if options.json:
        print(json.dumps({kind: list(members) for kind, members in listed.items()}))
        return 0
    for kind, members in listed.items():
        print(kind)
        for name, member in members.items():
            print(f"  {name:18} {(member.__doc__ or '').splitlines()[0].split(': $')[0].rstrip('.')}")
    return 0


def _demo_parser() -> Any:
    parser = _parser("Trains BMRU, LRU and a hybrid on two tasks, and tests them far beyond.")
    parser.add_argument("--out", type=Path | None, default=None, help="a new folder (demo, or demo-2, ...)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches")
    parser.add_argument("--quiet", action="store_true", help="draw no bars and tables")
    return parser


def _demo(options: Any) -> int:
    from remanent.demo import run_demo

    run_demo(options.out, seed=options.seed, progress=not options.quiet)
    return 0


def _bench_parser() -> Any:
    parser = _parser("Times the library beside other packages, and writes tables and figures.")
    parser.add_argument(
        "names",
        nargs="*",
        default=[],
        metavar="NAME",
        help="sections: scans, floor, layers, threads, streaming, length; all if none",
    )
    parser.add_argument("--out", type=Path, default=Path("bench"), help="a new folder")
    parser.add_argument("--repeats", type=int, default=7, help="how often each case is timed")
    parser.add_argument("--threads", type=int | None, default=None, help="of torch and jax (as many as torch has)")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to try out")
    parser.add_argument("--allocator", type=str, default="default", help="default, or reuse: keep freed memory (glibc)")
    return parser


def _bench(options: Any) -> int:
    from remanent.bench import run_bench

    run_bench(
        options.names,
        options.out,
        repeats=options.repeats,
        threads=options.threads,
        quick=options.quick,
        allocator=options.allocator,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
