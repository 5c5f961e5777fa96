"""The record of a run: what is written is what is read, and committed results keep every byte."""

import json
from pathlib import Path

import pytest

from remanent.records.record import LengthScore, Record, Seconds, append_record, encode_record, read_records
from result_records import record, write

GRID = Path(__file__).parents[2] / "results" / "grid.jsonl"


def test_committed_results_are_read_and_written_with_the_same_bytes():
    found = read_records(GRID)
    assert found.broken is None
    assert len(found.records) > 200
    assert b"".join(map(encode_record, found.records)) == GRID.read_bytes()


def test_a_line_has_the_keys_of_a_record_in_their_order():
    assert list(record().to_dict()) == [
        *("id", "recipe", "unit", "seed", "set", "status", "error", "metric", "chance", "length_name", "length"),
        *("tests", "failing_length", "parameters", "steps", "seconds", "config", "commit"),
        *("packages", "python", "platform", "processor", "cores"),
    ]
    assert list(record(validation=0.4).to_dict())[10:13] == ["length", "validation", "tests"]
    assert record(scores=(None,)).to_dict()["tests"] == [{"length": 300, "examples": 512, "score": None}]


@pytest.mark.parametrize(
    "kind", [{}, {"scores": (None, 0.5)}, {"failing": 64}, {"status": "failed"}, {"validation": 0.4}]
)
def test_what_is_appended_is_read_again(tmp_path, kind):
    written = record(**kind)
    assert append_record(tmp_path / "grid.jsonl", written) is None
    assert read_records(tmp_path / "grid.jsonl") == ([written], None)


def test_keys_that_a_later_version_adds_are_passed_over():
    assert Record.from_dict(record().to_dict() | {"later": 1}, "here") == record()


def test_a_record_without_versions_or_seconds_is_read(tmp_path):
    plain = {key: value for key, value in record(status="failed").to_dict().items() if key not in ("packages", "error")}
    read = Record.from_dict(plain | {"seconds": None}, "here")
    assert (read.versions, read.seconds, read.error) == (None, None, None)


def test_the_parts_of_a_record_are_its_own_types():
    read = Record.from_dict(record(scores=(0.5,)).to_dict(), "here")
    assert read.tests == (LengthScore(300, 512, 0.5),)
    assert read.validation is None
    assert Record.from_dict(record(validation=0.4).to_dict(), "here").validation == LengthScore(300, 512, 0.4)
    assert read.seconds == Seconds(60.0, 20.0)


def test_a_line_that_is_no_record_is_named(tmp_path):
    path = write(tmp_path / "grid.jsonl", [record(), {"mse": 0.1}])
    with pytest.raises(ValueError, match=r"grid\.jsonl, line 2 must be a record .* the key 'id', got mse"):
        read_records(path)
    path.write_text(json.dumps(record().to_dict()) + '\n{"id')
    assert read_records(path) == ([record()], 2)


HUGE = 10**400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": []}, r"`id` must be of type str, got \[\]"),
        ({"recipe": {}}, r"`recipe` must be of type str, got \{\}"),
        ({"steps": HUGE}, r"`steps` must be a finite number, got 1000.*\.\.\.$"),
        ({"chance": HUGE}, "`chance` must be a finite number"),
        ({"chance": float("nan")}, "`chance` must be a finite number, got nan"),
        ({"tests": [{"length": 3, "examples": 2, "score": HUGE}]}, "`score` must be a number, or null"),
        ({"tests": [{"length": HUGE, "examples": 2, "score": 1}]}, "`tests` must hold numbers"),
        ({"tests": [[]]}, "`tests` must hold numbers"),
        ({"validation": [0.5]}, r"`validation` must be of type dict, got \[0\.5\]"),
        ({"validation": {"score": 0.5}}, "`validation` must hold numbers `length` and `examples`"),
        ({"config": {"training": []}}, r"`config\.training` must be of type dict, got \[\]"),
        ({"config": []}, "`config` must be of type dict"),
        ({"set": []}, "`set` must be of type dict"),
        ({"seconds": {"train": 1, "test": "2"}}, r"`seconds\.test` must be a number, got '2'"),
        ({"seconds": {"train": HUGE}}, r"`seconds\.train` must be a number"),
    ],
)
def test_a_line_that_is_no_record_is_named_and_keeps_no_other_from_being_read(tmp_path, change, message):
    bad = record().to_dict() | change
    with pytest.raises(ValueError, match=f"line 1: {message}"):
        read_records(write(tmp_path / "bad.jsonl", [bad]), warn=True)
    with pytest.warns(UserWarning, match=f"line 2: {message.removesuffix('$')}.*; the line is left out"):
        found = read_records(write(tmp_path / "some.jsonl", [record(), bad, record(seed=1)]), warn=True)
    assert found == ([record(), record(seed=1)], None)


def test_a_missing_key_is_named_and_versions_without_their_parts_are_not_known(tmp_path):
    plain = record().to_dict()
    without = {key: value for key, value in plain.items() if key != "status"}
    with pytest.raises(ValueError, match="line 1 must be a record of `remanent grid` with the key 'status'"):
        read_records(write(tmp_path / "bad.jsonl", [without]))
    for packages in ([], "torch 2"):
        path = write(tmp_path / "odd.jsonl", [plain | {"packages": packages}])
        assert read_records(path).records[0].versions is None
