"""Modules of the user that register units, tasks or recipes, and how messages speak of them."""

import importlib
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

_given: list[str] = []
"""The names that the last call of `import_modules` was given, which a suggested command repeats."""


def import_modules(names: Iterable[str]) -> None:
    """Imports modules that are installed or in the working directory; they stay imported.

    Raises:
        ValueError: a module does not exist, or its code fails as it is imported.
    """
    _given[:] = names
    for name in _given:
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.insert(0, here)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            rule = "`--import` must name a module, installed or in this folder"
            raise ValueError(f"{rule}, got {name!r} ({error})") from None
        except (Exception, SystemExit) as error:  # a module that ends the program would end it without a word
            rule = "`--import` must name a module whose code runs to its end"
            raise ValueError(f"{rule}, got {name!r} ({type(error).__name__}: {error})") from error


def suggested(*words: str) -> str:
    """A command to suggest to the user, in backticks; it imports the modules that this process was given.

    >>> suggested("evaluate", "runs/my run")
    "`remanent evaluate 'runs/my run'`"
    """
    imports = [word for name in _given for word in ("--import", name)]
    return f"`{shlex.join(['remanent', *imports, *words])}`"


def import_hint(kind: str) -> str:
    """The end of an error about an unknown name: how a unit, task or recipe of the user's own becomes known.

    >>> import_hint("unit")
    '; a unit of your own needs `remanent --import MODULE ...`'
    """
    return f"; a {kind} of your own needs `remanent --import MODULE ...`"
