"""Checks of plain options: whole numbers, ranges, choices; an error names the option, the rule and the value."""

import difflib
import math
from collections.abc import Collection

import torch


def check_at_least(name: str, value: int, least: int) -> None:
    """Raises unless an option is an int and large enough."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"`{name}` must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}")


def check_range(
    name: str, value: float, low: float, high: float, *, open_low: bool = False, open_high: bool = False
) -> None:
    """Raises unless an option is a finite number in the range from `low` to `high`, without its open ends."""
    if not isinstance(value, int | float | torch.SymFloat | torch.SymInt) or isinstance(value, bool):
        raise TypeError(f"`{name}` must be a number, got {type(value).__name__}")
    open_high = open_high or high == math.inf
    above = low < value if open_low else low <= value
    below = value < high if open_high else value <= high
    if not (above and below):
        rule = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
        raise ValueError(f"`{name}` must be in {rule}, got {value}")


def check_bool(name: str, value: bool) -> None:
    """Raises unless an option is true or false; a word such as "false" would be taken as true."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be a bool, got {value!r}")


def check_text(name: str, value: str | None) -> None:
    """Raises unless an option is a str or None."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"`{name}` must be a str or None, got {value!r}")


FEW = 5
"""The most choices that are read at a glance, in their own order."""


def listed(choices: Collection[str], value: object) -> str:
    """The choices; where they are many, those whose names are near to a value first.

    >>> listed(["lru", "gru", "bmru", "cmru", "lstm", "brc"], "bmrux")
    'bmru, cmru, lru, gru, lstm, brc'
    >>> listed(["lru", "gru", "bmru"], "bmrux")
    'lru, gru, bmru'
    """
    near = difflib.get_close_matches(value, choices) if isinstance(value, str) and len(choices) > FEW else []
    return ", ".join([*near, *(name for name in choices if name not in near)])


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raises unless an option is one of its choices."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a str, one of {', '.join(choices)}, got {value!r}")
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {listed(choices, value)}, got {value!r}")
