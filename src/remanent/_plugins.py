"""Modules of the user that register units, tasks or recipes."""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path


def import_modules(names: Iterable[str]) -> None:
    """Imports modules that are installed or in the working directory; they stay imported.

    Raises:
        ValueError: a module does not exist.
    """
    for name in names:
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.insert(0, here)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            rule = "`--import` must name a module, installed or in this folder"
            raise ValueError(f"{rule}, got {name!r} ({error})") from None
