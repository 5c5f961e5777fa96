"""Files are there whole or not at all; configurations name what is wrong in them."""

import json
import os
from dataclasses import dataclass

import pytest

from remanent._files import (
    from_dict,
    new_folder,
    partial_folders,
    read_json,
    remove_partial,
    write_json,
    write_whole,
)


@dataclass(frozen=True)
class Config:
    size: int
    rate: float = 0.5
    name: str = "x"
    on: bool = False
    folder: str | None = None


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"first")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder"
    with new_folder(path) as staged:
        (staged / "file").write_text("mine")
        assert not path.exists()
    assert [item.name for item in path.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o755
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "other") as staged:
        raise KeyboardInterrupt
    with pytest.raises(OSError, match="not empty"), new_folder(path) as staged:  # it came to be there meanwhile
        (staged / "file").write_text("other")
    assert list(tmp_path.iterdir()) == [path]
    assert (path / "file").read_text() == "mine"


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_never_replaces_one_that_another_process_wrote(tmp_path, monkeypatch, links):
    path = tmp_path / "file"
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no hard links here")))
    write_whole(path, b"first", new=True)
    with pytest.raises(FileExistsError):
        write_whole(path, b"second", new=True)
    assert path.read_bytes() == b"first"
    write_whole(path, b"third")
    assert path.read_bytes() == b"third"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_is_removed_once_it_is_old(tmp_path):
    fresh, other = tmp_path / ".file.abcdefgh.part", tmp_path / ".other.abcdefgh.part"
    old = [tmp_path / ".file.0123abc_.part", tmp_path / ".file.12345678.part"]
    mine = [tmp_path / ".file.swp", tmp_path / ".file.part", tmp_path / "file.abcdefgh.part"]
    old[1].mkdir()
    for path in (fresh, other, old[0], old[1] / "inside", *mine):
        path.write_text("")
    for path in (other, *old, *mine):
        os.utime(path, (0, 0))
    write_whole(tmp_path / "file", b"")
    assert set(tmp_path.iterdir()) == {tmp_path / "file", fresh, other, *mine}
    assert partial_folders(tmp_path / "file") == []
    with new_folder(tmp_path / "run") as staged:
        assert partial_folders(tmp_path / "run") == [staged]
    remove_partial(tmp_path)
    assert set(tmp_path.iterdir()) == {tmp_path / "file", tmp_path / "run", *mine}


def test_json_round_trip_and_errors(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, 2]})
    assert read_json(path) == json.loads(path.read_text()) == {"a": [1, 2]}
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(ValueError, match=r"a.json must hold JSON"):
        read_json(path)
    with pytest.raises(FileNotFoundError, match=r"`b.json` must be a file"):
        read_json(tmp_path / "b.json")


def test_from_dict_takes_what_fits():
    assert from_dict(Config, {"size": 2, "rate": 1}, "c") == Config(2, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 2, "sise": 3}, "c has the unknown key 'sise'; the keys are size, rate, name, on, folder"),
        ({"rate": 2.0}, "c must have the key 'size', got rate"),
        ({"size": "2"}, "c: `size` must be of type int, got '2'"),
        ({"size": True}, "c: `size` must be of type int, got True"),
        ({"size": 2, "rate": "fast"}, "c: `rate` must be of type float, got 'fast'"),
        ({"size": 2, "on": 1}, "c: `on` must be of type bool, got 1"),
    ],
)
def test_from_dict_names_what_is_wrong(values, message):
    with pytest.raises(ValueError, match=message):
        from_dict(Config, values, "c")
