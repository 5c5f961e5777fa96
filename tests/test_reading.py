"""JSON and YAML as plain values: bounded, no key twice, and numbers that are what they look like."""

import pytest

from remanent._files import read_json
from remanent._json import DEEPEST, parse_json
from remanent._yaml import LARGEST, YamlError, parse_yaml

LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("-010", -10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", 1000),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("1:40", "1:40"),
        ("yes", "yes"),
        ("on", "on"),
        ("2001-01-01", "2001-01-01"),
        ("true", True),
        ("", None),
        ("~", None),
        ("'010'", "010"),
        ("{a: [1, b, null], <<: {c: 2.0}}", {"a": [1, "b", None], "<<": {"c": 2.0}}),
        ("\ufeffa: 1", {"a": 1}),
        ("[" * 16 + "]" * 16, [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]),
    ],
)
def test_plain_words_of_yaml_are_what_they_look_like(text, value):
    parsed = parse_yaml(text, "a.yaml")
    assert (type(parsed), parsed) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {steps: 1}\nmodel: {}\ntraining: {seed: 1}", "the key 'training' twice in line 3"),
        ("a: {b: 1, b: 2}", "the key 'b' twice in line 1"),
        ("{1: 2}", "a key that is not a word in line 1"),
        (LAUGHS, "an anchor in line 1"),
        ("a: *b", "an alias in line 1"),
        ("!!python/name:os.system", "a tag in line 1"),
        ("[" * 17 + "]" * 17, "nesting deeper than 16 in line 1"),
        ("- " * 30_000, "nesting deeper than 16 in line 1"),
        ("a: [1", "expected ',' or ']', but got '<stream end>' in line 1"),
        ("9" * 5000, "Exceeds the limit"),
        ("a: \x00", "unacceptable character #x0000"),
    ],
)
def test_yaml_that_a_configuration_cannot_need_is_refused(text, message):
    with pytest.raises(YamlError) as error:
        parse_yaml(text, "a.yaml")
    assert str(error.value).startswith(f"a.yaml must hold YAML, got {message}")


def test_a_configuration_has_a_largest_size():
    with pytest.raises(YamlError, match=r"a\.yaml must have at most 65536 characters of YAML, got 100000"):
        parse_yaml("[" * 100_000, "a.yaml")
    assert len(parse_yaml("'" + "x" * (LARGEST - 2) + "'", "a.yaml")) == LARGEST - 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested deeper than 32"),
        (b'{"a":' * 100_000, "nested deeper than 32"),
        (b'{"a": "' + b"[" * 33, "Unterminated string|nested deeper than 32"),
        (b'{"steps": 1, "steps": 2}', "the key 'steps' twice in one object"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b"\xff\xfe", "can't decode byte 0xff"),
        (b"{", "line 1 column 2"),
    ],
)
def test_json_that_no_file_of_the_package_needs_is_refused_by_the_name_of_the_file(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.json must hold JSON, got .*({message})"):
        read_json(tmp_path / "a.json")


def test_brackets_in_strings_do_not_count():
    text = '{"a": "' + '[{\\"' * 100 + '"}'
    assert parse_json(text, "a.json") == {"a": '[{"' * 100}
    deepest = "[" * DEEPEST + "]" * DEEPEST
    assert str(parse_json(deepest, "a.json")) == deepest
