"""JSON text as plain values; nesting is bounded, and an error names the file and what is wrong in it."""

import json
import math
import re
from typing import Any

DEEPEST = 32
"""The deepest nesting of arrays and objects that is read; no file of the package has a third of it."""
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def parse_json(content: bytes | str, where: str) -> Any:
    """Parses JSON in UTF-8.

    Args:
        content: the text.
        where: the name of the text in errors, such as its path.

    Raises:
        ValueError: the text is not JSON, has a key twice in an object, or is nested deeper than `DEEPEST`.

    >>> parse_json('{"steps": [1, 2]}', "a.json")
    {'steps': [1, 2]}
    """
    try:
        text = content.decode() if isinstance(content, bytes) else content
        _check_depth(text)
        return json.loads(text, object_pairs_hook=_object)
    except ValueError as error:  # UnicodeDecodeError, JSONDecodeError, and an integer of thousands of digits
        raise ValueError(f"{where} must hold JSON, got {error}") from None


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a number that a float can hold; True and False are none.

    >>> is_number(1), is_number(True), is_number(float("nan")), is_number(10**400)
    (True, False, False, False)
    """
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _check_depth(text: str) -> None:
    """Raises before a parser recurses: deep nesting overflows the stack of some."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return
    depth = 0
    for bracket in re.findall(r"[\[{\]}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            raise ValueError(f"arrays and objects nested deeper than {DEEPEST}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} twice in one object")
    return values
