"""Own data: sequences in files, one each or many in a long table, with the columns that are read and asked for."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from remanent._identity import BY_CONTENT
from remanent._options import check_text
from remanent.tasks.own.array_task import read_arrays, waves
from remanent.tasks.own.parts import PARTS
from remanent.tasks.own.sequences import KINDS, Raw, SequenceSet, SetOptions, make_set
from remanent.tasks.own.set_task import SetTask
from remanent.tasks.own.table_files import SUFFIXES, Table, is_missing, read_table
from remanent.tasks.versions import version_of

HOLDING = f"a folder of files, or one file, of {', '.join(SUFFIXES)} or .npz"
TARGETS = ("target", "label")
"""The columns that are taken for the target where none is named."""


@dataclass(frozen=True)
class Columns:
    """Which columns of tables are read: the options of `OwnData`, which describes them."""

    inputs: str | None = None
    target: str | None = None
    group: str | None = None
    time: str | None = None

    @property
    def features(self) -> list[str] | None:
        """The names of the inputs, if they are given."""
        return None if self.inputs is None else _names(self.inputs)


@dataclass(frozen=True)
class OwnData(SetTask):
    r"""Sequences of your own: a class or values after the last step of each, or at each of its steps.

    `path` names one of these, in which a table is a CSV file (cells separated by commas, semicolons or tabs) or, with
    the extra `parquet`, a Parquet file:

    - a folder of tables, one for each sequence;
    - a folder with a folder of tables for each class, whose name is the class;
    - a folder with the folders `train`, `validation` and `test` of either kind, which are then the parts of the set;
    - one long table with a column `group`, whose values tell the sequences apart; without it, one long sequence;
    - an .npz file as `ArrayTask.save` writes it: `inputs` (N, T, M), `targets`, and, if they differ, `lengths` (N,).

    Sequences may have any lengths. Whole numbers and words are classes, other numbers are values. A target that is the
    same in all rows of each sequence is asked for after the last step, otherwise at each step; rows without one ask for
    nothing there. A value is scored by the mean squared error, in the square of its own units.

    Args:
        path: the folder or the file; None for an example: 240 noisy waves of three kinds, of 20 to 60 steps.
        inputs: the columns that a model reads, separated by commas; None for all columns of numbers that have a name
            and that nothing else names.
        target: the column of what is asked for, or several of values, separated by commas; None for a folder for each
            class, or a column called target or label.
        group: the column that tells the sequences of a table apart; None for one in each table.
        time: the column of times, numbers or dates of ISO 8601, by which the rows of a sequence are ordered; None for
            the order in the file.
        per: what has a target: a "sequence" or each "step"; "auto" for what the data look like.
        kind: what a target is: a "class" or a "value"; "auto" for what the data look like.
        missing: what becomes of an input that is missing (an empty cell, NaN, NA or null): "error" rejects it by file,
            row and column; "forward" takes the last value of the sequence, and before there is one the mean of the
            training part; "indicator" takes that mean, and adds a feature for each input, 1 where it was missing.
        split: how sequences are split: "random" draws whole sequences, of each class its share; "order" takes the first
            ones to train with and the last ones for the test, files in the order of their names; "time" takes the
            beginning of each sequence to train with and its end for the test.
        validation: the share of the validation part, in (0, 1).
        test: the share of the test part, in (0, 1).
        split_seed: the seed by which "random" draws, at least 0.
        window: the steps of the windows that sequences are cut into once they are split, at least 1; None for whole
            ones.

    Raises:
        TypeError: an option is of another type.
        ValueError: an option is not one of its choices or out of its range; when the data are first read, a table is
            damaged or lacks a column, a value is missing, or a part would be empty. The message names the file, and
            where there is one the row and the column.
        FileNotFoundError: when the data are first read, `path` names nothing.

    >>> task = OwnData()
    >>> task.class_names, task.length, task.split_size("test")
    (('saw', 'sine', 'square'), 60, 36)
    """

    name = "own-data"

    path: str | None = field(default=None, metadata=BY_CONTENT)
    inputs: str | None = None
    target: str | None = None
    group: str | None = None
    time: str | None = None
    per: str = "auto"
    kind: str = "auto"
    missing: str = "error"
    split: str = "random"
    validation: float = 0.15
    test: float = 0.15
    split_seed: int = 0
    window: int | None = None

    def __post_init__(self) -> None:
        for name in ("path", "inputs", "target", "group", "time"):
            check_text(name, getattr(self, name))
        self._options()

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the files and their names; "" for the example."""
        return "" if self.path is None else _hash(*_version(self.path))

    def _options(self) -> SetOptions:
        return SetOptions(
            self.per, self.kind, self.missing, self.split, self.validation, self.test, self.split_seed, self.window
        )

    def _load(self) -> SequenceSet:
        if self.path is None:
            return waves(self._options())
        columns = Columns(self.inputs, self.target, self.group, self.time)
        return _load(*_version(self.path), columns, self._options())


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _files(path: str) -> list[Path]:
    """All files of a data set, in the order of their names, numbers by their value."""
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise FileNotFoundError(f"`path` must name {HOLDING}, got {path}, which does not exist")
    found = [each for each in root.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file()]
    found = [each for each in found if not any(part.startswith(".") for part in each.relative_to(root).parts)]
    if not found:
        raise FileNotFoundError(f"`path` must name {HOLDING}, got {path}, which holds no table")
    _check_folders(root, found)
    return sorted(found, key=lambda each: [_by_number(part) for part in each.relative_to(root).parts])


def _check_folders(root: Path, files: list[Path]) -> None:
    """Raises ValueError where one of a set's folders holds no table, so that a class would go unnoticed."""
    used = {parent for file in files for parent in file.relative_to(root).parents}
    if used == {Path()}:
        return  # tables side by side: what lies in folders beside them is something else
    for folder in sorted(each for each in root.rglob("*") if each.is_dir()):
        name = folder.relative_to(root)
        if name not in used and not any(part.startswith(".") for part in name.parts):
            rule = f"each folder in {root} must hold a table, of {', '.join(SUFFIXES)}"
            raise ValueError(f"{rule}, got {name}, which holds none; a name that begins with a dot leaves it out")


def _by_number(name: str) -> tuple[str, int, str]:
    stem = Path(name).stem
    digits = stem[len(stem.rstrip("0123456789")) :]
    return stem[: len(stem) - len(digits)], int(digits or -1), name


def _version(path: str) -> tuple[str, str]:
    """The absolute path of the data, and the version of their files."""
    return str(Path(path).absolute()), version_of(_files(path))


@lru_cache(maxsize=8)
def _hash(path: str, version: str) -> str:
    digest = hashlib.sha256()
    for file in _files(path):
        name = file.relative_to(path).as_posix() if file != Path(path) else file.suffix
        digest.update(f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=4)
def _load(path: str, version: str, columns: Columns, options: SetOptions) -> SequenceSet:
    root = Path(path)
    if root.suffix.lower() == ".npz":
        return make_set(*read_arrays(root), options)
    tables = [Placed.of(root, file) for file in _files(path)]
    target = columns.target or _usual_target(tables)
    if target is None and any(placed.label is None for placed in tables):
        rule = "`target` must name a column, unless there is a folder for each class or a column called target or label"
        raise ValueError(f"{rule}, got none for {tables[0].table.file}, whose columns are {_shown(tables[0].table)}")
    if target is None and options.kind == "value":
        raise ValueError(f"`kind` must be class where folders name the classes, as in {path}, got value")
    asked = [] if target is None else _names(target)
    as_classes = _are_classes(tables, asked, options.kind)
    features = columns.features or _numbers_beside(tables[0].table, {*asked, columns.group, columns.time})
    raw = [each for placed in tables for each in placed.sequences(features, asked, columns, as_classes)]
    left = {name for placed in tables for name in placed.table.columns if name}
    unread = left - {*features, *asked, columns.group, columns.time}
    return make_set(raw, features, options)._replace(unread=tuple(sorted(unread)))


class Placed:
    """A table, with what the folders around it say of its sequences.

    Attributes:
        table: its content.
        part: the part of the set that it belongs to; None where no folder says it.
        label: the class of its sequences; None where no folder says it.
    """

    def __init__(self, table: Table, part: str | None, label: str | None) -> None:
        self.table, self.part, self.label = table, part, label

    @classmethod
    def of(cls, root: Path, file: Path) -> "Placed":
        """The table in a file somewhere below a folder."""
        folders = list(file.relative_to(root).parts[:-1]) if file != root else []
        part = folders.pop(0) if folders and folders[0] in PARTS else None
        if len(folders) > 1:
            rule = "`path` must name a folder of tables, or of a folder of them for each class"
            raise ValueError(f"{rule}, got {file}, which lies deeper")
        return cls(read_table(file), part, folders[0] if folders else None)

    def sequences(self, features: list[str], asked: list[str], columns: Columns, as_classes: bool) -> list[Raw]:
        """The sequences in the table, in the order in which they begin."""
        table = self.table
        for option, names in (("inputs", features), ("target", asked)):
            for name in names:
                table.column(option, name)
        groups: dict[str, list[int]] = {}
        names = [""] * len(table.rows) if columns.group is None else table.column("group", columns.group)
        for row, name in enumerate(names):
            groups.setdefault(name, []).append(row)
        if columns.time is not None:
            table.column("time", columns.time)
            times = table.times(columns.time)
            groups = {name: sorted(rows, key=times.__getitem__) for name, rows in groups.items()}
        x = np.stack([table.numbers(name) for name in features], axis=1)
        y = self._targets(asked, as_classes)
        found = []
        for name, rows in groups.items():
            where = table.file if columns.group is None else f"{table.file}, {columns.group} {name}"
            target = y if len(y) == 1 and self.label is not None and not asked else y[rows]
            found.append(Raw(where, x[rows], target, [table.rows[row] for row in rows], self.part))
        return found

    def _targets(self, asked: list[str], as_classes: bool) -> np.ndarray:
        """The targets of all rows: text (N,) or values (N, O); or (1,), the class that the folder says."""
        if not asked:
            return np.array([self.label], dtype=object)
        if not as_classes:
            return np.stack([self.table.numbers(name) for name in asked], axis=1)
        cells = ["" if is_missing(cell) else cell for cell in self.table.columns[asked[0]]]
        if self.table.holds_numbers(asked[0]):  # 1 and 1.0 are one class
            cells = [cell and f"{float(cell):.15g}" for cell in cells]
        return np.array(cells, dtype=object)


def _usual_target(tables: list[Placed]) -> str | None:
    if all(placed.label is not None for placed in tables):
        return None
    return next((name for name in TARGETS if all(name in placed.table.columns for placed in tables)), None)


def _are_classes(tables: list[Placed], asked: list[str], kind: str) -> bool:
    """Whether what is asked for are classes: by default words and whole numbers."""
    assert kind in KINDS
    if len(asked) != 1 or kind != "auto":
        return kind != "value" and len(asked) < 2
    for placed in tables:
        placed.table.column("target", asked[0])
    if not all(placed.table.holds_numbers(asked[0]) for placed in tables):
        return True
    values = np.concatenate([placed.table.numbers(asked[0]) for placed in tables])
    values = values[~np.isnan(values)]
    return bool((values == np.round(values)).all())


def _numbers_beside(table: Table, others: set[str | None]) -> list[str]:
    """The columns of numbers that no option names, except one without a name, which numbers the rows."""
    left = [name for name in table.columns if name and name not in others]
    for name in left:
        table.check_point(name)
    found = [name for name in left if table.holds_numbers(name)]
    if not found:
        raise ValueError(f"{table.file} must have columns of numbers to read, got {_shown(table)}")
    return found


def _shown(table: Table) -> str:
    return ", ".join(table.columns)
