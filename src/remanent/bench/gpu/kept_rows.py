"""The files of results: what an earlier run has left in them, what is still to run, and what is written."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from remanent._files import write_json
from remanent.bench.gpu.cases import PASSED, Settings

CODE = ("bench/gpu", "models", "ops", "units")
"""The parts of the package that are checked and measured."""
MACHINE = ("gpu", "triton", "cuda")
NOT_RUN = "not run: the time was over"

Row = dict[str, Any]


class Kept(NamedTuple):
    """What a file of results holds.

    Attributes:
        path: the file.
        version: what the rows of this run are made by: the code, the GPU, torch and Triton, as a hash.
        rows: name of a case to its row of an earlier run.
        about: what the file says beside its rows, such as a note on them.
    """

    path: Path
    version: str
    rows: dict[str, Row]
    about: dict[str, Any]

    @classmethod
    def of(cls, path: Path, results: dict[str, Any]) -> "Kept":
        """Reads a file, which need not exist."""
        about = json.loads(path.read_text()) if path.exists() else {"rows": []}
        return cls(path, _version(results), {row["case"]: row for row in about.pop("rows")}, about)

    def passed(self, name: str) -> bool:
        """Whether a case has passed, as the same code on the same machine had it."""
        row = self.rows.get(name, {})
        return row.get("status") == PASSED and row.get("version") == self.version

    def left(self, names: Sequence[str], settings: Settings) -> list[str]:
        """What is to run: what has passed with other code comes last, as where a fault was mended after a run."""
        wanted = [name for name in names if settings.again or not self.passed(name)]
        before = {name for name, row in self.rows.items() if row["status"] == PASSED and "version" in row}
        return sorted(wanted, key=lambda name: name in before)

    def write(self, results: dict[str, Any], events: Path, names: Sequence[str], left: Sequence[str]) -> list[Row]:
        """Writes a row for each case, in their order; returns those of cases that were to run.

        A case that did not come to run keeps the row in which it passed, of whatever version, or says so.
        """
        new = {row["case"]: row for row in finished(events)}
        stamp = {"version": self.version, "date": datetime.now(UTC).isoformat(timespec="seconds")}
        rows = {}
        for name in names:
            if name in new:
                rows[name] = new[name] | stamp
            elif name in self.rows and (name not in left or self.rows[name]["status"] == PASSED):
                rows[name] = self.rows[name]
            elif name in left:
                rows[name] = {"case": name, "status": NOT_RUN}
        write_json(self.path, self.about | results | {"version": self.version, "rows": list(rows.values())})
        return [new.get(name, {"case": name, "status": NOT_RUN}) for name in left]


def lines_of(events: Path) -> list[Row]:
    """What a process has noted, without a line that it was cut off in."""
    lines = []
    for line in events.read_text().splitlines() if events.exists() else ():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines


def finished(events: Path) -> list[Row]:
    """The rows of the cases that ended, of all processes."""
    return [row for file in sorted(events.glob("*.jsonl")) for row in lines_of(file) if "status" in row]


def _version(results: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    for folder in CODE:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    made_by = [results.get(name) for name in MACHINE] + [results["versions"]["torch"], results["tiny"]]
    digest.update(json.dumps(made_by).encode())
    return digest.hexdigest()[:12]
