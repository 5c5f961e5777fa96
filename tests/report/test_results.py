"""Results files are read whole, and broken or foreign lines are named."""

import json

import pytest

from remanent._files import without_locks
from remanent.report.results import find_results, read_results
from result_records import record, write


def test_the_last_line_of_an_id_wins_within_and_across_files(tmp_path):
    failed, done = record(status="failed"), record()
    assert failed.id == done.id
    path = write(tmp_path / "grid.jsonl", [failed, record(seed=1), done])
    records, notes = read_results([path])
    assert [line.status for line in records] == ["done", "done"]
    assert [line.seed for line in records] == [0, 1]
    assert notes == []
    later = write(tmp_path / "later.jsonl", [record(scores=(0.25,))])
    assert read_results([path, later])[0][0].tests[0].score == 0.25
    assert read_results([later, path])[0][0].tests[0].score == 0.5


@pytest.mark.parametrize("tail", ['{"id": "12', "\udcff", '{"id": "12\n\n'])
def test_a_last_line_that_was_cut_short_is_announced_and_left_alone(tmp_path, tail):
    path = write(tmp_path / "grid.jsonl", [record()])
    with path.open("ab") as file:
        file.write(tail.encode(errors="surrogateescape"))
    before = path.read_bytes()
    records, notes = read_results([path])
    assert len(records) == 1
    assert notes == [f"{path}, line 2 was cut short and is left out"]
    assert path.read_bytes() == before


def test_a_whole_last_line_needs_no_newline(tmp_path):
    path = tmp_path / "grid.jsonl"
    path.write_text(json.dumps(record().to_dict()))
    assert read_results([path]) == ([record()], [])


def test_a_broken_line_elsewhere_is_named(tmp_path):
    path = write(tmp_path / "grid.jsonl", [record()], tail='{"id": "12\n' + json.dumps(record(seed=1).to_dict()))
    with pytest.raises(ValueError, match=r"grid\.jsonl, line 2 must hold a JSON object, got '\{\"id\": \"12'"):
        read_results([path])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "going"}, "line 1: `status` must be one of done, failed, got 'going'"),
        ({"metric": "loss"}, "`metric` must be one of mse, accuracy, .*, got 'loss'"),
        ({"seed": "0"}, "line 1: `seed` must be of type int, got '0'"),
        ({"seed": True}, "line 1: `seed` must be of type int, got True"),
        ({"tests": [{"length": 3}]}, r"line 1: `tests` must hold numbers `length` and `examples`, got \{'length': 3\}"),
        ({"tests": [{"length": 3, "examples": 2}]}, "line 1: `score` must be a number, or null where not finite"),
        ({"tests": [{"length": 3, "examples": 2, "score": "0"}]}, "line 1: `score` must be a number, or null"),
        ({"parameters": None}, "line 1: `parameters` must be a number, got None"),
        ({"seconds": None}, r"line 1: `seconds\.train` must be a number, got None"),
    ],
)
def test_a_value_that_no_record_can_have_is_named(tmp_path, change, message):
    path = write(tmp_path / "grid.jsonl", [record().to_dict() | change])
    with pytest.raises(ValueError, match=message):
        read_results([path])


def test_a_failed_run_needs_neither_parameters_nor_seconds(tmp_path):
    path = write(tmp_path / "grid.jsonl", [record(status="failed").to_dict() | {"parameters": None, "seconds": None}])
    assert len(read_results([path])[0]) == 1


def test_a_file_of_one_broken_line_is_cut_short_only_if_it_begins_as_a_record(tmp_path):
    path = write(tmp_path / "grid.jsonl", [], tail='{"id')
    assert read_results([path]) == ([], [f"{path}, line 1 was cut short and is left out"])
    with pytest.raises(ValueError, match=r"text\.jsonl, line 1 must hold a JSON object, got 'words'"):
        read_results([write(tmp_path / "text.jsonl", [], tail="words")])


def test_a_file_of_another_kind_is_passed_over_where_found_and_refused_where_named(tmp_path):
    other = write(tmp_path / "memory.jsonl", [{"recipe": "copy-first", "mse": 0.1}])
    write(tmp_path / "empty.jsonl", [])
    write(tmp_path / "list.jsonl", [[1, 2]])
    with pytest.raises(FileNotFoundError, match=r"`FILE` must be given where .* holds no records of `remanent grid`"):
        find_results(tmp_path)
    grid = write(tmp_path / "grid.jsonl", [record()])
    second = write(tmp_path / "grid-2.jsonl", [], tail='{"id')
    assert find_results(tmp_path) == [second, grid]
    with pytest.raises(ValueError, match=r"memory\.jsonl, line 1 must be a record .* the key 'id', got recipe, mse"):
        read_results([other])
    with pytest.raises(ValueError, match=r"list\.jsonl, line 1 must hold a JSON object, got '\[1, 2\]'"):
        read_results([tmp_path / "list.jsonl"])
    with pytest.raises(FileNotFoundError, match=r"`FILE` must be a file or the folder of a run, got .*absent"):
        read_results([tmp_path / "absent.jsonl"])


def test_the_locks_that_earlier_versions_left_beside_runs_are_passed_over(tmp_path):
    path = write(tmp_path / "grid.jsonl", [record()])
    for name in ("grid.jsonl.lock", "copy-first-bmru-0.lock"):
        (tmp_path / name).touch()
    found, notes = read_results(sorted(tmp_path.iterdir()))  # as a shell gives *
    assert ([line.seed for line in found], notes) == ([0], [])
    assert without_locks([path, tmp_path / "a.lock"]) == [path, tmp_path / "a.lock"]  # no file of this name
