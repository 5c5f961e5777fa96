"""`remanent train`: a recipe in a new folder, or an interrupted run to its end."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remanent.cli._shared import make_parser, with_data

if TYPE_CHECKING:
    from remanent.training import Experiment


def parser(arguments: list[str]) -> Any:
    """The command's parser; the recipe among the arguments decides what flags there are."""
    return _parser(_recipe_in(arguments))


def run(options: Any) -> int:
    """Runs the command."""
    from remanent.training import resume_run, start_run

    if options.recipe is None:
        if options.out is not None:
            raise ValueError(f"`--out` must not be given with --resume, got {options.out}")
        resume_run(options.resume, progress=not options.quiet)
        return _say_finished(options.resume)
    experiment = _experiment(options)
    folder = options.out or Path("runs") / f"{options.recipe}-{experiment.model.unit}-{experiment.training.seed}"
    start_run(experiment, folder, progress=not options.quiet)
    return _say_finished(folder)


def _say_finished(folder: Path) -> int:
    print(f"{folder} is finished; score it with `remanent evaluate {folder}`.")
    return 0


def _experiment(options: Any) -> "Experiment":
    """The recipe with what differs from it; the model's sizes follow the task, as in a grid."""
    from remanent.training import RECIPES
    from remanent.training.combinations import experiment_for

    base = RECIPES[options.recipe]()
    with_data(base.task, options.data_dir)
    overrides = {
        f"{table}.{key}": value
        for table in ("task", "model", "training")
        for key, value in options[table].as_dict().items()
        if value != getattr(getattr(base, table), key)
    }
    unit, seed = options.model.unit, options.training.seed
    threads = overrides.pop("training.threads", base.training.threads)
    for key in ("model.unit", "training.seed"):
        overrides.pop(key, None)
    return experiment_for(options.recipe, unit, seed, overrides, threads=threads, data_dir=options.data_dir)


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
        raise ValueError(f"`RECIPE` must be one of {', '.join(RECIPES)}, right after `train`, got {arguments[1]!r}")
    return arguments[1]


def _parser(recipe: str | None) -> Any:
    from remanent.models import ModelConfig
    from remanent.training import RECIPES, TrainingConfig
    from remanent.training.config import fitting

    parser = make_parser("Trains a recipe in a new folder. `remanent train RECIPE --help` shows every option.")
    parser.usage = f"remanent train {recipe or 'RECIPE'} [options]" + ("" if recipe else " | --resume RUN [--quiet]")
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
        skipped = set(fitting(experiment.task)) - {"head"} if name == "model" else set()
        parser.add_class_arguments(cls, name, skip=skipped)
        values = {
            key: value for key, value in dataclasses.asdict(getattr(experiment, name)).items() if key not in skipped
        }
        parser.set_defaults({f"{name}.{key}": value for key, value in values.items()})
    return parser
