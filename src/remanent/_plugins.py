"""Modules of the user that register units, tasks or recipes."""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path


def import_modules(names: Iterable[str]) -> None:
    """Imports modules, installed ones or those in the working directory; once imported they stay.

    Raises:
        ValueError: there is no such module.
    """
    for name in names:
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.insert(0, here)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            rule = "`--import` must name a module, installed or in this folder"
            raise ValueError(f"{rule}, got {name!r} ({error})") from None
