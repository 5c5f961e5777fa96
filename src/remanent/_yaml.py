"""YAML as it looks: decimal numbers, no key twice, no aliases, and no deeper than a configuration needs."""

import re
from collections.abc import Hashable
from functools import cache
from typing import Any

MOST_CHARACTERS = 2**20
"""The most characters of a text that is read."""
DEEPEST = 20
"""The most collections inside each other."""
INT = re.compile(r"[-+]?[0-9][0-9_]*")
FLOAT = re.compile(
    r"""[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
    |\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)""",
    re.VERBOSE,
)


def read_yaml(text: str) -> Any:
    """Reads YAML, in which a number means what it looks like: 010 is ten, 1e-3 is a number, and 1:40 is text.

    In YAML 1.1, which most programs read, these are 8, text, and 100.

    Raises:
        yaml.YAMLError: the text is no YAML, has a key twice, an anchor or an alias, is too long or too deep; the
            message says where.

    >>> read_yaml("{a: 010, b: 1:40, c: 1e-3, d: true, e: 2020-01-01}")
    {'a': 10, 'b': '1:40', 'c': 0.001, 'd': True, 'e': '2020-01-01'}
    """
    import yaml

    if len(text) > MOST_CHARACTERS:
        raise yaml.YAMLError(f"the text must have at most {MOST_CHARACTERS:,} characters, got {len(text):,}")
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):  # one by one, before anything is built from them
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=f"at most {DEEPEST} collections may be inside each other", problem_mark=event.start_mark
            )
        if getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not read", problem_mark=event.start_mark)
    try:
        return yaml.load(text, Loader=_loader())
    except ValueError as error:  # of a tag such as !!int before a word
        raise yaml.YAMLError(str(error)) from None


@cache
def _loader() -> type:
    """A safe loader with numbers as they look, which rejects a key that is given twice."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            seen = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, Hashable) and key in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark
                    )
                if isinstance(key, Hashable):  # the class above rejects others
                    seen.add(key)
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag.rpartition(":")[2] not in ("int", "float", "timestamp")]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    signs = list("-+0123456789")
    Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(f"^(?:{INT.pattern})$"), signs)
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"^(?:{FLOAT.pattern})$", re.X), [*signs, "."])
    Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
    Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: _float(node.value))
    return Loader


def _float(text: str) -> float:
    """A number with a fraction or an exponent, or infinity, or NaN, which YAML writes with a dot before it."""
    word = text.lower().lstrip("+-")
    return float(text.lower().replace(".", "", 1) if word in (".inf", ".nan") else text)
