"""The results file: lines appended whole by many at once, and what a kill left is set aside, never lost."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from remanent._files import LOCKS
from remanent.records.lines import append_line, read_lines, repair

RECORDS = [{"id": str(i), "text": "é\n" * i, "score": i / 3} for i in range(4)]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "results" / "grid.jsonl"
    for record in RECORDS:
        assert append_line(path, record) is None
    return path


def values(path):
    return [line.value for line in read_lines(path).whole]


def asides(path):
    return sorted(p.name for p in path.parent.iterdir() if "broken" in p.name)


def test_records_come_back_in_order_a_line_each(path):
    assert values(path) == RECORDS
    assert [json.loads(line) for line in path.read_text().splitlines()] == RECORDS
    assert repair(path) is None


def test_no_file_has_no_records_and_reading_makes_none(tmp_path):
    assert values(tmp_path / "none.jsonl") == []
    assert repair(tmp_path / "none.jsonl") is None
    assert list(tmp_path.iterdir()) == []


def test_reading_needs_no_lock_and_writes_nothing(path):
    shutil.rmtree(path.parent / LOCKS)
    assert values(path) == RECORDS
    assert [p.name for p in path.parent.iterdir()] == ["grid.jsonl"]


@pytest.mark.parametrize("mended_by", ["repair", "the next to append"])
def test_a_line_cut_anywhere_is_set_aside_and_no_byte_is_lost(path, mended_by):
    whole = path.read_bytes()
    begin = whole[:-1].rindex(b"\n") + 1
    for cut in range(begin, len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = cut >= len(whole) - 1  # only the newline is missing, or nothing
        kept = RECORDS if complete else RECORDS[:-1]
        assert values(path) == kept
        aside = repair(path) if mended_by == "repair" else append_line(path, {"id": "next"})
        assert (aside is None) == (complete or cut == begin)
        if aside is not None:
            assert aside.read_bytes() == whole[begin:cut]
            aside.unlink()
        if mended_by == "repair":
            assert path.read_bytes() == (whole[:cut] if complete else whole[:begin])
            append_line(path, {"id": "next"})
        assert [json.loads(line) for line in path.read_bytes().splitlines()] == [*kept, {"id": "next"}]


def test_an_earlier_aside_is_never_overwritten(path):
    for number in range(1, 4):
        with path.open("ab") as file:
            file.write(b'{"id": %d' % number)
        assert repair(path) == path.with_name(f"grid.jsonl.broken-{number}")
    assert [(path.parent / name).read_text() for name in asides(path)] == ['{"id": 1', '{"id": 2', '{"id": 3']
    assert values(path) == RECORDS


@pytest.mark.parametrize("broken", [b"\0\0\0", b'"text"\n', b"[1]", b"\xff\xfe\n\n"])
def test_a_last_line_that_is_no_object_is_broken_too(path, broken):
    with path.open("ab") as file:
        file.write(broken)
    assert values(path) == RECORDS
    assert repair(path).read_bytes() == broken
    assert values(path) == RECORDS


@pytest.mark.parametrize("act", [read_lines, repair, lambda path: append_line(path, {})])
def test_a_broken_line_before_the_last_is_refused_by_number_and_nothing_is_touched(path, act):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b'{"id": \n', *lines[1:]]))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"grid.jsonl, line 2 must hold a JSON object, got '\{\"id\": '"):
        act(path)
    assert path.read_bytes() == before
    assert asides(path) == []


def test_many_append_at_once_and_every_line_is_whole(path):
    records = [{"id": f"{i}", "text": "x" * 3000} for i in range(60)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda record: append_line(path, record), records))
    found = values(path)[len(RECORDS) :]
    assert sorted(found, key=lambda r: int(r["id"])) == records


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_refused(path, value):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        append_line(path, {"score": value})
    assert path.read_bytes() == before


def test_a_full_disk_leaves_no_part_of_a_line(path, monkeypatch):
    before = path.read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[: len(line) // 2]))
    with pytest.raises(OSError, match="could not be written: no space is left"):
        append_line(path, {"id": "more"})
    assert path.read_bytes() == before
