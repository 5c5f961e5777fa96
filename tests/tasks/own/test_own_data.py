"""Own data: what tables and arrays are read as, how they are split and filled, and what is rejected, by its place."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from remanent.models import ModelConfig
from remanent.records import identity
from remanent.records.configuration import Experiment, fitting
from remanent.records.training_config import TrainingConfig
from remanent.tasks import IGNORED, ArrayTask, OwnData, SetOptions
from remanent.tasks.base import read_whole
from remanent.tasks.own.table_files import read_table


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def by_class(folder, count=6):
    """Sequences of 3 to 8 steps, whose first value is their number."""
    for label, name in enumerate(("rest", "wave")):
        for i in range(count):
            rows = [f"{t},{10 * i + label},{t * t}" for t in range(3 + i)]
            write(folder / name / f"{i}.csv", "t,a,b", *rows)
    return str(folder)


def test_a_folder_for_each_class_is_split_by_seed_with_a_share_of_each(tmp_path):
    path = by_class(tmp_path)
    with pytest.raises(ValueError, match="`kind` must be class where folders name the classes"):
        _ = OwnData(path, kind="value").length
    task = OwnData(path)
    assert (task.class_names, task.features) == (("rest", "wave"), ("t", "a", "b"))
    assert (task.input_size, task.output_size) == (3, 2)
    assert (task.head, task.metric, task.chance, task.ragged) == ("last", "accuracy", 0.5, True)
    parts = [task._data.train, task._data.validation, task._data.test]
    assert [len(part) for part in parts] == [8, 2, 2]
    for part in parts:
        assert sorted(int(task._data.targets[i]) for i in part) == [0] * (len(part) // 2) + [1] * (len(part) // 2)
    again, other = OwnData(path), OwnData(path, split_seed=1)
    assert all(torch.equal(x, y) for x, y in zip(task._data.inputs, again._data.inputs, strict=True))
    assert [x[0, 1].item() for x in task._data.inputs] != [x[0, 1].item() for x in other._data.inputs]
    assert task.fingerprint == other.fingerprint != ""


def test_statistics_are_of_the_real_steps_of_the_training_part(tmp_path):
    task = OwnData(by_class(tmp_path), inputs="b, a")
    of_train = torch.cat([task._data.inputs[i] for i in task._data.train]).double()
    torch.testing.assert_close(task.statistics.mean, of_train.mean(0).float())
    torch.testing.assert_close(task.statistics.deviation, of_train.std(0, correction=0).float())
    assert task.statistics.target_mean is None
    drawn = task.padded_batch(8, torch.Generator().manual_seed(0))
    assert sorted(drawn.lengths.tolist()) == sorted(len(task._data.inputs[i]) for i in task._data.train)
    assert all(not x[length:].any() for x, length in zip(drawn.x, drawn.lengths, strict=True))
    assert len(task.padded_batch(19, torch.Generator()).x) == 19  # more than there are


def test_a_long_table_has_groups_in_the_order_of_their_times(tmp_path):
    rows = [f"{s};2024-01-0{9 - t};{s + t / 10};{'on' if t > 1 else 'off'}" for t in range(4) for s in range(8)]
    path = write(tmp_path / "all.csv", "who;when;value;state", *rows)
    task = OwnData(path, group="who", time="when", target="state", split="order")
    assert (task.head, task.class_names, task.length, task.ragged) == ("every", ("off", "on"), 4, False)
    assert [task.split_size(split) for split in ("validation", "test")] == [1, 1]
    x, y = read_whole(task, "test", 0, 1, 4)
    torch.testing.assert_close(x[0, :, 0], torch.tensor([7.3, 7.2, 7.1, 7.0]))  # the latest row comes first in the file
    assert y.tolist() == [[1, 1, 0, 0]]
    assert task.features == ("value",)


def test_values_are_asked_for_at_each_step_and_one_long_series_is_cut_in_time(tmp_path):
    rows = [f"{t},{t / 2 if t % 5 else ''},{-t}" for t in range(100)]
    path = write(tmp_path / "series.csv", "x,level,other", *rows)
    task = OwnData(path, target="level,other", inputs="x", split="time", window=20)
    assert (task.metric, task.head, task.output_size, task.length) == ("mse", "every", 2, 20)
    data = task._data
    assert [data.inputs[i][0, 0].item() for i in data.train] == [0, 20, 40, 60]
    assert (data.inputs[data.validation[0]][0, 0], data.inputs[data.test[0]][0, 0]) == (70, 85)
    assert data.targets[0][0].isnan().tolist() == [True, False]
    level = torch.tensor([t / 2 for t in range(70) if t % 5])
    torch.testing.assert_close(task.statistics.target_mean[0], level.mean())
    output = torch.zeros(1, 20, 2)
    target = data.targets[0][None]
    asked = (target / task.statistics.target_deviation)[~target.isnan()]
    torch.testing.assert_close(task.loss(output, target), asked.square().mean())


def test_what_is_missing_is_rejected_by_its_place_or_filled(tmp_path):
    lines = ["a,b,label", "1,5,0", ",6,", "3,NaN,0"]
    for i in range(6):
        write(tmp_path / f"{i}.csv", *(lines if i == 3 else ["a,b,label", "1,2,1" if i % 2 else "3,4,0", "2,2,"]))
    place = r"3\.csv, row 3, column 'a' must hold a value unless `missing` is forward or indicator, got none"
    with pytest.raises(ValueError, match=place):
        _ = OwnData(str(tmp_path)).length
    task = OwnData(str(tmp_path), missing="forward", split="order")
    assert task.head == "last"  # a label in some rows alone is one of the sequence
    assert task._data.inputs[3].tolist() == [[1, 5], [1, 6], [3, 6]]
    task = OwnData(str(tmp_path), missing="indicator", split="order")
    assert task.features == ("a", "b", "a is missing", "b is missing")
    mean = task.statistics.mean
    torch.testing.assert_close(
        task._data.inputs[3][1], torch.stack([mean[0], torch.tensor(6.0), *torch.tensor([1.0, 0])])
    )
    assert (mean[2:].tolist(), task.statistics.deviation[2:].tolist()) == ([0, 0], [1, 1])


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (
            ["a,label", "1,0", "x,1"],
            {"inputs": "a"},
            r"row 3, column 'a' must hold a finite number, or nothing, got 'x'",
        ),
        (["a;label", "1,5;0", "2;1"], {"inputs": "a"}, r"got '1,5'; decimals have a point"),
        (
            ["a;b;label", "1,5;2;0", "2;3;1"],
            {},
            r"column 'a' must have a point in its decimals, got '1,5'; `inputs` may",
        ),
        (["a,label", "1,0", "inf,1"], {"inputs": "a"}, r"row 3, column 'a' must hold a finite number"),
        (["a,label", "1,0", "1,0,5"], {}, r"row 3 must have the 2 cells of the first row, got 3"),
        (["a,a", "1,0"], {}, r"must name each column once in its first row, got 'a' 2 times"),
        (["a,label"], {}, r"must have rows below its header, got none"),
        (["a,b", "1,2"], {}, r"`target` must name a column, .*got none for .*whose columns are a, b"),
        (["a,b", "1,2"], {"target": "c"}, r"`target` must name columns of .*, a, b, got 'c'"),
        (["a,label", "1,0"], {"inputs": "b"}, r"`inputs` must name columns of .*, a, label, got 'b'"),
        (["a,label", "1,0"], {"group": "b"}, r"`group` must name columns"),
        (["a,t,label", "1,?,0"], {"time": "t", "inputs": "a"}, r"row 2, column 't' must hold a time"),
        (["a,label", "w,0"], {}, r"must have columns of numbers to read, got a, label"),
        (
            ["a,label", "1,0", "2,1"],
            {},
            r"the validation part must hold a sequence, got none of 1; give more sequences",
        ),
        (["a,label"] + ["1,0"] * 20, {"split": "time"}, r"targets must be of at least two classes, got 0"),
        (
            ["a,label"] + ["1,0"] * 19 + ["1,1"],
            {"split": "time"},
            r"the training part must hold every class, got none of 1",
        ),
        (
            ["a,label"] + ["1,0", "2,1"] * 9,
            {"split": "time", "per": "sequence"},
            r"`per` must be step where targets differ",
        ),
    ],
)
def test_errors_name_file_row_and_column(tmp_path, lines, options, message):
    path = write(tmp_path / "own.csv", *lines)
    with pytest.raises(ValueError, match=message) as found:
        _ = OwnData(path, **options).length
    assert "own.csv" in str(found.value) or "part must" in message or "targets must" in message


def test_options_and_places_that_do_not_exist_are_rejected(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`path` must name a folder of files, or one file, .*absent, which does not exist"
    ):
        _ = OwnData(str(tmp_path / "absent")).length
    with pytest.raises(FileNotFoundError, match="which holds no table"):
        _ = OwnData(str(tmp_path)).length
    with pytest.raises(ValueError, match="`missing` must be one of error, forward, indicator, got 'zero'"):
        OwnData(missing="zero")
    with pytest.raises(ValueError, match="`validation` and `test` must leave a part for training"):
        OwnData(validation=0.5, test=0.5)
    task = OwnData()
    with pytest.raises(ValueError, match="`length` must be 60, the sequences being as long as they are, got 61"):
        task.stream("test", 0, 1, 61)


def test_a_folder_without_a_table_is_a_class_that_nobody_may_overlook(tmp_path):
    path = by_class(tmp_path)
    for name in ("run", ".notes"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"each folder in .* must hold a table, .*got run, which holds none; a name"):
        _ = OwnData(path).length
    (tmp_path / "run").rename(tmp_path / ".run")
    assert OwnData(path).class_names == ("rest", "wave")


def test_a_summary_says_what_was_read_and_which_part_lacks_a_class(tmp_path):
    write(tmp_path / "run" / "0.csv", "t,a,b", "0,1,2")
    assert OwnData(by_class(tmp_path)).summary == (
        "13 sequences of 1 to 8 steps (9 train, 2 validation, 2 test)\n"
        "3 features: t, a, b\n"
        "t rises at every step: `time` orders by a column, and no model reads it\n"
        "b rises at every step: `time` orders by a column, and no model reads it\n"
        "3 classes: rest 4 + 1 + 1, run 1 + 0 + 0, wave 4 + 1 + 1\n"
        "the validation part has none of run\n"
        "the test part has none of run"
    )
    values = ArrayTask([np.zeros((4, 1)) + i for i in range(8)], [np.arange(4.0) + 0.5] * 8)
    assert values.summary.splitlines() == [
        "8 sequences of 4 steps (6 train, 1 validation, 1 test)",
        "1 feature: 0",
        "1 value at each step",
    ]


def test_the_parts_that_folders_name_are_kept(tmp_path):
    for part, count in (("train", 4), ("validation", 2), ("test", 2)):
        for i in range(count):
            write(tmp_path / part / f"s{i}.csv", ",a,label", *[f"7,{i},{i % 2}"] * 2)
    task = OwnData(str(tmp_path))
    assert [len(part) for part in (task._data.train, task._data.validation, task._data.test)] == [4, 2, 2]
    assert task.features == ("a",)  # a column without a name numbers the rows


def test_tables_without_a_header_and_with_other_separators_are_read(tmp_path):
    assert read_table(tmp_path / write(tmp_path / "a.csv", "1\t2", "", "3\t4")).columns == {
        "0": ["1", "3"],
        "1": ["2", "4"],
    }
    quoted = read_table(tmp_path / write(tmp_path / "b.csv", '\ufeffa,"b, c"', '1,"two\nlines"', "2,x"))
    assert (list(quoted.columns), quoted.rows) == (["a", "b, c"], [3, 4])
    (tmp_path / "c.csv").write_bytes(b"a\xff")
    with pytest.raises(ValueError, match=r"c\.csv must be a UTF-8 text, got byte 0xff"):
        read_table(tmp_path / "c.csv")


def test_parquet_is_read_as_the_same_table(tmp_path, monkeypatch):
    """With a stand-in for pyarrow: typed columns become the cells of a text."""
    (tmp_path / "a.parquet").touch()
    columns = {"a": [1.5, None], "when": [np.datetime64("2024-01-02").item(), None], "ok": [True, False]}
    of = lambda name: SimpleNamespace(to_pylist=lambda: columns[name])  # noqa: E731
    table = SimpleNamespace(num_rows=2, column_names=list(columns), column=of)
    parquet = SimpleNamespace(read_table=lambda path: table)
    monkeypatch.setitem(sys.modules, "pyarrow", SimpleNamespace(parquet=parquet))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", parquet)
    found = read_table(tmp_path / "a.parquet")
    assert found.columns == {"a": ["1.5", ""], "when": ["2024-01-02", ""], "ok": ["1", "0"]}
    assert found.rows == [1, 2]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "remanent\[parquet\]"'):
        read_table(tmp_path / "a.parquet")


@pytest.mark.parametrize("kind", ["class", "classes", "value", "values"])
def test_arrays_in_memory_are_the_same_task_as_their_file(tmp_path, kind):
    draw = np.random.default_rng(0)
    x = [draw.normal(size=(4 + i % 3, 2)) for i in range(12)]
    y = {
        "class": [i % 2 for i in range(12)],
        "classes": [np.where(each[:, 0] > 0, "up", "down") for each in x],
        "value": [each.sum() for each in x],
        "values": [each[:, :1] for each in x],
    }[kind]
    task = ArrayTask(x, y, features=["a", "b"], options=SetOptions(split="order"))
    task.save(tmp_path / "own.npz")
    same = OwnData(str(tmp_path / "own.npz"), split="order")
    assert (task.head, task.metric, task.features, task.class_names) == (
        same.head,
        same.metric,
        same.features,
        same.class_names,
    )
    for mine, other in zip(
        task.padded_batch(5, torch.Generator()), same.padded_batch(5, torch.Generator()), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=0, atol=0, equal_nan=True)
    if kind == "classes":
        assert (task.padded_batch(9, torch.Generator()).y == IGNORED).any()  # in the padding
    with pytest.raises(TypeError, match="`task` must be a dataclass, which a configuration can hold"):
        Experiment(task, ModelConfig(**fitting(same)), TrainingConfig())


def test_arrays_that_do_not_fit_are_rejected(tmp_path):
    x = [np.zeros((3, 2))] * 8
    with pytest.raises(ValueError, match=r"`targets` must be as many as the sequences of `inputs`, 8, .* got 7"):
        ArrayTask(x, [0] * 7)
    with pytest.raises(
        ValueError, match=r"`inputs\[8\]` must have shape \(T, M=2\) with a step at least, got \(3, 1\)"
    ):
        ArrayTask([*x, np.zeros((3, 1))], [0, 1] * 4 + [0])
    with pytest.raises(ValueError, match=r"`features` must name the M=2 features, got 1"):
        ArrayTask(x, [0, 1] * 4, features=["a"])
    np.savez(tmp_path / "a.npz", inputs=np.zeros((2, 3, 1)))
    with pytest.raises(ValueError, match=r"a\.npz must hold inputs and targets, .* got inputs"):
        _ = OwnData(str(tmp_path / "a.npz")).length


def test_a_run_is_known_by_what_its_files_hold(tmp_path):
    path = by_class(tmp_path / "a")
    task = OwnData(path)
    config = Experiment(task, ModelConfig(**fitting(task)), TrainingConfig()).to_dict()
    moved = {**config, "task": {**config["task"], "path": by_class(tmp_path / "b")}}
    assert identity(config) == identity(moved)
    write(tmp_path / "b" / "rest" / "0.csv", "t,a,b", "0,0,0")
    assert identity(config) != identity(moved)


def test_whole_numbers_that_are_nearly_all_different_must_be_said_to_be_values(tmp_path):
    for i in range(9):
        write(tmp_path / f"{i}.csv", "a,hours", *(f"{t + i},{i * 7 % 5 if i < 4 else i * 7}" for t in range(4)))
    rule = "`kind` must be class or value where 9 sequences have 9 whole numbers as targets, got auto"
    with pytest.raises(ValueError, match=rule):
        _ = OwnData(str(tmp_path), target="hours").length
    assert OwnData(str(tmp_path), target="hours", kind="value").output_size == 1
