"""The command line: each command is a file that parses arguments and calls the library."""

import argparse
import os
import sys
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from types import ModuleType
from typing import Any, NamedTuple

from remanent._allocator import reuse_freed_memory
from remanent._launched import launched
from remanent._options import check_choice
from remanent._plugins import extra_hint, import_modules
from remanent._restore import threads_kept
from remanent._terminal import Terminated, writable_output, write_line
from remanent.cli import (
    bench,
    chip,
    demo,
    evaluate,
    export,
    grid,
    listing,
    report,
    reproduce,
    rl,
    robustness,
    table,
    train,
    verify,
)
from remanent.cli._shared import check_numbers, make_parser

DESCRIPTION = "Recurrent units that never forget."


class Command(NamedTuple):
    """A module with `parser(arguments)` and `run(options)`, its line in `remanent --help`, and whether it trains."""

    module: ModuleType
    help: str
    trains: bool = False


COMMANDS = {
    "train": Command(train, "train a recipe, or resume a run", trains=True),
    "rl": Command(rl, "train agents in environments that ask for a memory, or resume one", trains=True),
    "evaluate": Command(evaluate, "score a run at any length", trains=True),
    "robustness": Command(robustness, "score a run under noise and with weights of few bits", trains=True),
    "verify": Command(verify, "prove that a run is right at every length, or find a word on which it fails"),
    "export": Command(export, "export the model of a run for another runtime"),
    "chip": Command(chip, "run a model on an emulated Cortex-M4, and measure what it costs"),
    "grid": Command(grid, "train and test every combination of options, each once", trains=True),
    "list": Command(listing, "list units, tasks and recipes"),
    "demo": Command(demo, "train and test three small models on two tasks, and show what they remember", trains=True),
    "bench": Command(bench, "time scans and layers beside other packages"),
    "report": Command(report, "write an HTML page about runs and their memory", trains=True),
    "reproduce": Command(reproduce, "make numbers of committed tables again, and compare them", trains=True),
    "table": Command(table, "show results of grids and runs as tables"),
}

COMPLETION = "--print-completion"
"""The option that prints a script for a shell."""
SHELLS = ("bash", "zsh", "fish")
"""The shells that it knows."""
COMPLETED = {"train": ["copy-first"], "rl": ["t-maze"]}
"""The recipe and the environment whose options are completed; others have other options of their task."""
LONGEST = 8192
"""The most characters of one argument, which deep brackets in it must not reach: the parser in C has no limit."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; an error of the user becomes one line on stderr, and the status 2."""
    shown, warnings.showwarning = warnings.showwarning, _show_warning  # type: ignore[assignment]
    try:
        with threads_kept(), writable_output():
            return _main(sys.argv[1:] if arguments is None else arguments)
    except BrokenPipeError:  # a reader of the output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        write_line(f"remanent: error: {error}{extra_hint(error)}")
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
    """The name before a message: the program, and the rank where several processes share a run."""
    try:
        place = launched()
    except ValueError:
        place = None
    return "remanent" + (f": rank {place.rank}" if place else "")


def _show_warning(message: Warning | str, category: type[Warning], *others: Any) -> None:
    """Writes a warning without its place in the source, which means nothing to a user."""
    write_line(f"remanent: warning: {message}")


def _main(arguments: list[str]) -> int:
    given = list(arguments)
    modules, arguments = _take_imports(arguments)
    if arguments and arguments[0].partition("=")[0] == COMPLETION:
        print(_completion([*arguments[0].split("=")[1:], *arguments[1:]]))
        return 0
    # the parsers of the other commands would import all of training
    parser = _parser({name: arguments for name in COMMANDS if name in arguments})
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    if (longest := max(map(len, arguments), default=0)) > LONGEST:
        raise ValueError(f"an argument must have at most {LONGEST} characters, got {longest}")
    options = parser.parse_args(arguments)
    command, chosen = COMMANDS[options.command], options[options.command]
    check_numbers(arguments, chosen)
    if command.trains:
        reuse_freed_memory()
    chosen.modules = modules
    chosen.arguments = given
    return command.module.run(chosen)


def _parser(asked: Mapping[str, list[str]]) -> Any:
    """The parser of all commands; of those that are asked for whole, from these arguments, of the others their line."""
    parser = make_parser(DESCRIPTION, prog="remanent", version=version("remanent"))
    parser.add_argument(
        "--import", metavar="MODULE", help="your module that registers units, tasks, metrics or recipes; anywhere"
    )
    parser.add_argument(
        COMPLETION, metavar="SHELL", help=f"print what completes commands and options: {', '.join(SHELLS)}"
    )
    commands = parser.add_subcommands(dest="command")
    for name, command in COMMANDS.items():
        own = command.module.parser(asked[name]) if name in asked else make_parser(command.help)
        commands.add_subcommand(name, own, help=command.help)
    return parser


def _completion(words: list[str]) -> str:
    """The script that lets a shell complete commands, options and files."""
    check_choice(COMPLETION, words[0] if words else "", SHELLS)
    import shtab

    parser = _parser({name: [name, *COMPLETED.get(name, [])] for name in COMMANDS})
    commands = next(action for action in parser._actions if action.dest == "command")
    for each in (parser, *commands.choices.values()):
        for action in each._actions:
            if action.choices is None and action.nargs != 0:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(parser, shell=words[0])


def _take_imports(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Imports the modules that are named anywhere among the arguments; returns their names, and the other arguments."""
    modules: list[str] = []
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        option, equals, name = word.partition("=")
        if option != "--import":
            others.append(word)
            continue
        name = name if equals else next(words, "")
        if not name:
            raise ValueError("`--import` must be given a module's name, got none")
        modules.append(name)
    import_modules(modules)
    return modules, others
