"""YAML text as plain values: size and nesting are bounded, no key stands twice, and numbers are what they look like."""

import re
from typing import Any

import yaml

LARGEST = 65_536
"""The largest size of a configuration in characters."""
DEEPEST = 16
"""The deepest nesting of lists and tables in a configuration."""


class YamlError(yaml.YAMLError, ValueError):  # type: ignore[misc]
    """Text that is not YAML, or is YAML that a configuration cannot need."""


def parse_yaml(text: str, where: str) -> Any:
    """Parses YAML by the rules of version 1.2 for what a plain word is.

    `true` and `false` are the only booleans. `010` is 10, `1e-3` a number, and `1:40`, `yes` and `on` are words.
    Anchors, aliases and tags are rejected, since a few lines of them can stand for any amount of data.

    Args:
        text: the text.
        where: the name of the text in errors, such as its path.

    Raises:
        YamlError: the text is not YAML, or breaks one of the rules above; a `ValueError`.

    >>> parse_yaml("{steps: 010, rate: 1e-3, keyword: on}", "a.yaml")
    {'steps': 10, 'rate': 0.001, 'keyword': 'on'}
    """
    if len(text) > LARGEST:
        raise YamlError(f"{where} must have at most {LARGEST} characters of YAML, got {len(text)}")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        place = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise YamlError(f"{where} must hold YAML, got {error.problem}{place}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an integer of thousands of digits
        raise YamlError(f"{where} must hold YAML, got {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Builds values as `parse_yaml` says, in Python alone: the parser in C overflows the stack on deep nesting."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - none of version 1.1
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        for what, used in (
            ("an alias", isinstance(event, yaml.AliasEvent)),
            ("an anchor", getattr(event, "anchor", None) is not None),
            ("a tag", getattr(event, "tag", None) not in (None, "!")),
            (f"nesting deeper than {DEEPEST}", isinstance(event, yaml.CollectionStartEvent) and self.depth >= DEEPEST),
        ):
            if used:
                raise yaml.MarkedYAMLError(problem=what, problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            name = self.construct_object(key)
            if not isinstance(name, str) or name in seen:
                what = f"the key {name!r} twice" if isinstance(name, str) else "a key that is not a word"
                raise yaml.MarkedYAMLError(problem=what, problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)

    def construct_integer(self, node: Any) -> int:
        digits = self.construct_scalar(node)
        base = {"0x": 16, "0o": 8}.get(digits[:2], 10)
        return int(digits[2:] if base != 10 else digits, base)

    def construct_number(self, node: Any) -> float:
        return float(self.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))


_WORDS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+(?:_[0-9]+)*|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}
"""The plain words that are not text: what they are, their pattern, and their first characters."""
for _kind, (_pattern, _first) in _WORDS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_pattern})\Z"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)
