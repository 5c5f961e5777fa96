"""Shows the examples in docstrings as code: a section of its own, where they stand as plain doctests."""

import importlib
import inspect
import re
from typing import Any

import griffe

DOCTEST = re.compile(r"^((?:>>> .*\n?(?:(?!>>> |\n).+\n?)*)+)", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts the doctests of a docstring under "Examples:"."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Changes one docstring; a cell gets that of its class, which is made when the module is imported."""
        if obj.is_attribute and str(obj.value).startswith("make_cell("):
            obj.docstring.value = inspect.getdoc(getattr(importlib.import_module(obj.module.path), obj.name))
        if obj.docstring is None or ">>> " not in obj.docstring.value or "Examples:" in obj.docstring.value:
            return
        text = obj.docstring.value
        indented = ["\n".join(f"    {line}".rstrip() for line in found.splitlines()) for found in DOCTEST.findall(text)]
        rest = DOCTEST.sub("", text).rstrip()
        obj.docstring.value = rest + "\n\nExamples:\n" + "\n\n".join(indented) + "\n"
