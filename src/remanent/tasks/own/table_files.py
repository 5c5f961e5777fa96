"""Tables in files, CSV or Parquet: columns of text, and the rows they stand in; errors name file, row and column."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from remanent._plugins import naming_extra

DELIMITERS = ",;\t"
"""What may stand between the cells of a row; the header says which does."""
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""The cells, in small letters, that hold no value."""
SUFFIXES = (".csv", ".tsv", ".parquet")
"""How the names of files with tables end."""


class Table(NamedTuple):
    """The columns of a table.

    Attributes:
        file: its name, for errors.
        columns: name to the cells, without the spaces around them.
        rows: the number of the line that each row stands in, the first line being 1; in Parquet the row's own number.
    """

    file: str
    columns: dict[str, list[str]]
    rows: list[int]

    def take(self, order: np.ndarray) -> "Table":
        """The rows with these numbers, in this order."""
        places = order.tolist()
        columns = {name: [cells[i] for i in places] for name, cells in self.columns.items()}
        return Table(self.file, columns, [self.rows[i] for i in places])

    def column(self, option: str, name: str) -> list[str]:
        """The cells of a column, which the user has named by an option.

        Raises:
            ValueError: there is none of this name.
        """
        if name not in self.columns:
            raise ValueError(f"`{option}` must name columns of {self.file}, {', '.join(self.columns)}, got {name!r}")
        return self.columns[name]

    def numbers(self, name: str) -> np.ndarray:
        """A column as float64 (T,), NaN where a cell holds no value.

        Raises:
            ValueError: a cell is no finite number; the message names file, row and column.
        """
        values = np.empty(len(self.rows))
        for i, cell in enumerate(self.columns[name]):
            number = _number(cell)
            if number is None:
                place = f"{self.file}, row {self.rows[i]}, column {name!r}"
                hint = "; decimals have a point" if _number(cell.replace(",", ".")) is not None else ""
                raise ValueError(f"{place} must hold a finite number, or nothing, got {cell!r}{hint}")
            values[i] = number
        return values

    def holds_numbers(self, name: str) -> bool:
        """Whether all cells of a column are finite numbers or hold no value."""
        return all(_number(cell) is not None for cell in self.columns[name])

    def check_point(self, name: str) -> None:
        """Raises a ValueError where all cells of a column are numbers but for a comma in the place of the point."""
        cells = [cell for cell in self.columns[name] if not is_missing(cell)]
        if any("," in cell for cell in cells) and all(_number(cell.replace(",", ".")) is not None for cell in cells):
            rule = f"{self.file}, column {name!r} must have a point in its decimals"
            raise ValueError(f"{rule}, got {cells[0]!r}; `inputs` may leave it out")

    def times(self, name: str) -> np.ndarray:
        """A column of times as float64 (T,): numbers, or dates as ISO 8601 writes them.

        Raises:
            ValueError: a cell is neither; the message names file, row and column.
        """
        cells, read = self.columns[name], _number if self.holds_numbers(name) else _date
        values = [read(cell) for cell in cells]
        for i, value in enumerate(values):
            if value is None or np.isnan(value):
                place = f"{self.file}, row {self.rows[i]}, column {name!r}"
                raise ValueError(f"{place} must hold a time, a number or a date of ISO 8601, got {cells[i]!r}")
        return np.array(values, dtype=np.float64)


def is_missing(cell: str) -> bool:
    """Whether a cell holds no value.

    >>> is_missing("NaN"), is_missing("0")
    (True, False)
    """
    return cell.lower() in MISSING


def read_table(path: Path) -> Table:
    """The table in a file.

    A text has a row in each line, its cells separated by commas, semicolons or tabs; its first row names the columns,
    unless all of it is numbers: columns are then called 0, 1 and so on.

    Raises:
        ValueError: it is no such table; the message names file and row.
        ModuleNotFoundError: a Parquet file needs pyarrow, which is not installed.
        OSError: the file cannot be read.
    """
    return _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path)


def _read_text(path: Path) -> Table:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be a UTF-8 text, got byte {error.object[error.start]:#04x}") from None
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=first.count))
    names: list[str] = []
    columns: list[list[str]] = []
    rows: list[int] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells) and len(cells) <= 1:
                continue
            if not names:
                headed = any(_number(cell) is None for cell in cells)
                names = cells if headed else [str(i) for i in range(len(cells))]
                _check_names(path, names)
                columns = [[] for _ in names]
                if headed:
                    continue
            if len(cells) != len(names):
                rule = f"{path}, row {reader.line_num} must have the {len(names)} cells of the first row"
                raise ValueError(f"{rule}, got {len(cells)}")
            rows.append(reader.line_num)
            for column, cell in zip(columns, cells, strict=True):
                column.append(cell)
    except csv.Error as error:
        raise ValueError(f"{path}, row {reader.line_num} must be a row of CSV, got {error}") from None
    if not rows:
        raise ValueError(f"{path} must have rows below its header, got none")
    return Table(str(path), dict(zip(names, columns, strict=True)), rows)


def _check_names(path: Path, names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"{path} must name each column once in its first row, got {twice!r} {names.count(twice)} times"
        )


def _read_parquet(path: Path) -> Table:
    with naming_extra():
        import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path} must be a Parquet file, got {error}") from None
    columns = {str(name): [_text(value) for value in table.column(name).to_pylist()] for name in table.column_names}
    if not table.num_rows:
        raise ValueError(f"{path} must have rows, got none")
    return Table(str(path), columns, list(range(1, table.num_rows + 1)))


def _text(value: Any) -> str:
    """A value of a typed column as a cell of a text has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value).strip()


def _number(cell: str) -> float | None:
    """The number in a cell: NaN where it holds no value, None where it holds something else."""
    try:
        number = float(cell)
    except ValueError:
        return np.nan if is_missing(cell) else None
    return None if np.isinf(number) or "_" in cell else number


def _date(cell: str) -> float | None:
    try:
        date = datetime.fromisoformat(cell)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        return None
