"""The command line: parses and calls; a command a file."""

import argparse
import os
import sys
import warnings
from importlib.metadata import version
from types import ModuleType
from typing import Any, NamedTuple

from remanent._allocator import reuse_freed_memory
from remanent._plugins import import_modules
from remanent._terminal import Terminated, write_line
from remanent.cli import bench, chip, demo, evaluate, export, grid, listing, report, robustness, table, train
from remanent.cli._shared import make_parser

DESCRIPTION = "Recurrent units that never forget."


class Command(NamedTuple):
    """A module with `parser(arguments)` and `run(options)`, and what `remanent --help` says of it."""

    module: ModuleType
    help: str
    trains: bool = False


COMMANDS = {
    "train": Command(train, "train a recipe, or go on with a run", trains=True),
    "evaluate": Command(evaluate, "score a run at any length", trains=True),
    "robustness": Command(robustness, "score a run under noise and with weights of few bits", trains=True),
    "export": Command(export, "write a run's model for another runtime"),
    "chip": Command(chip, "run a run's model on an emulated Cortex-M4, and say what it costs"),
    "grid": Command(grid, "train and test every combination, each once", trains=True),
    "list": Command(listing, "show units, tasks and recipes"),
    "demo": Command(demo, "train and test three small models, and write a report", trains=True),
    "bench": Command(bench, "time scans and layers beside others' packages"),
    "report": Command(report, "write a page of HTML about runs and their memory", trains=True),
    "table": Command(table, "show what the grid measured"),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; what the user got wrong is one line on stderr, and the status 2."""
    shown, warnings.showwarning = warnings.showwarning, _show_warning  # type: ignore[assignment]
    try:
        return _main(sys.argv[1:] if arguments is None else arguments)
    except BrokenPipeError:  # whoever read the output, as `head` does, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        write_line(f'remanent: error: {error}; pip install "remanent[train]"')
    except (ValueError, TypeError, OSError, FloatingPointError, RuntimeError, argparse.ArgumentError) as error:
        write_line(f"{_self()}: error: {error}")
    except KeyboardInterrupt as interrupt:
        write_line(f"{_self()}: interrupted {interrupt}".rstrip())
        return 130
    except Terminated as ended:
        write_line(f"{_self()}: ended {ended}")
        return Terminated.STATUS
    finally:
        warnings.showwarning = shown
    return 2


def _self() -> str:
    """Who speaks, also where several processes share a run."""
    return "remanent" + (f": rank {os.environ['RANK']}" if "RANK" in os.environ else "")


def _show_warning(message: Warning | str, category: type[Warning], *others: Any) -> None:
    """A line without the place in the source, which says nothing to a user."""
    write_line(f"remanent: warning: {message}")


def _main(arguments: list[str]) -> int:
    given = list(arguments)
    modules, arguments = _take_imports(arguments)
    parser = make_parser(DESCRIPTION, prog="remanent", version=version("remanent"))
    parser.add_argument("--import", metavar="MODULE", help="a module of yours that registers units, tasks or recipes")
    commands = parser.add_subcommands(dest="command")
    for name, command in COMMANDS.items():
        asked = name in arguments  # the others' parsers would import all of training
        commands.add_subcommand(
            name, command.module.parser(arguments) if asked else make_parser(command.help), help=command.help
        )
    options = parser.parse_args(arguments)
    command, chosen = COMMANDS[options.command], options[options.command]
    if command.trains:
        reuse_freed_memory()
    chosen.modules = modules
    chosen.arguments = given
    return command.module.run(chosen)


def _take_imports(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The modules to import, which stand before the command, and the other arguments."""
    modules: list[str] = []
    while arguments[:1] == ["--import"]:
        if len(arguments) < 2:
            raise ValueError("`--import` must be given a module's name, got none")
        modules.append(arguments[1])
        arguments = arguments[2:]
    import_modules(modules)
    return modules, arguments
