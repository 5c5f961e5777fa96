"""The record of a run: one dataclass, which is one line of a results file, with its only reader and its only writer."""

import dataclasses
import types
import typing
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from remanent._json import is_number
from remanent.records.chosen import Chosen
from remanent.records.identity import added_since
from remanent.records.lines import append_line, encode_line, read_lines

RECORD_FILE = "record.json"
"""The file of a run's folder that holds its record, as one line."""
STATUSES = ("done", "failed")
TABLES = ("task", "model", "training")
AGENT = "agent"
"""The table that the configuration of an agent's run has, and no other."""
ADDED = ("chosen", "validation")
"""The keys that were added later: a line has them only where they say something, and an older line keeps its bytes."""


@dataclass(frozen=True)
class LengthScore:
    """The score of a model at one length.

    Attributes:
        length: of the sequences, as the task counts.
        examples: how many of the split were scored.
        score: of the task's metric; None where it is not finite, for which JSON has no number.
    """

    length: int
    examples: int
    score: float | None


@dataclass(frozen=True)
class Seconds:
    """How long a run took: to train, and to be scored."""

    train: float
    test: float


@dataclass(frozen=True)
class Versions:
    """What made a number: packages with their versions, Python, the system and the machine."""

    packages: dict[str, str]
    python: str
    platform: str
    processor: str
    cores: int | None


@dataclass(frozen=True)
class Record:
    """What is known of a run that has ended.

    Attributes:
        id: the run's identity, the hash of its configuration.
        recipe: the name of the recipe that it began from.
        unit: as `ModelConfig.unit` reads it.
        seed: of weights and batches.
        set: what was changed in the recipe: dotted name to value.
        chosen: how that was chosen among trials; None where it was not.
        status: "done" or "failed".
        error: why it failed; None where it did not.
        metric: the name of the task's metric.
        chance: the metric of the best answer that ignores the input.
        length_name: what lengths count.
        length: the length trained at.
        validation: the score on the validation split at that length, of the weights that the run ended with; None for a
            run that failed, and for one of an earlier version.
        tests: the scores on the test split at all lengths that were tested.
        failing_length: the longest at which all fresh words were right; None where it was not looked for.
        parameters: how many numbers were trained; None where that is not known.
        steps: the training steps that the run took.
        seconds: how long it took; None where that is not known.
        config: the whole configuration, as `Experiment.to_dict` gives it.
        commit: of the package's source; None outside a repository.
        versions: what made the numbers; None where that is not known.
    """

    id: str
    recipe: str
    unit: str
    seed: int
    set: dict[str, Any]
    chosen: Chosen | None
    status: str
    error: str | None
    metric: str
    chance: float
    length_name: str
    length: int
    validation: LengthScore | None
    tests: tuple[LengthScore, ...]
    failing_length: int | None
    parameters: int | None
    steps: int
    seconds: Seconds | None
    config: dict[str, Any]
    commit: str | None = None
    versions: Versions | None = None

    @property
    def changed(self) -> dict[str, Any]:
        """What differs from the recipe now: `set`, and what the configuration means by options that were added since.

        A run of an earlier version thus stands beside those of this version, and not among them.
        """
        return self.set | added_since(self.config)

    @property
    def of_agent(self) -> bool:
        """Whether the run is that of an agent, which `remanent rl` trains."""
        return AGENT in self.config

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a line of a results file holds them; versions stand in the line itself."""
        values = dataclasses.asdict(self)
        versions = values.pop("versions") or {}
        values = {key: value for key, value in values.items() if key not in ADDED or value is not None}
        return values | {"tests": list(values["tests"])} | versions

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> "Record":
        """Checks what `to_dict` gave; keys that are not known are passed over.

        Args:
            values: plain values.
            where: what an error calls them.

        Raises:
            ValueError: a key is missing, or a value is one that no record can have.
        """
        given, values = values, {"error": None, "parameters": None, "commit": None} | dict.fromkeys(ADDED) | values
        kinds = {name: kind for name, kind in typing.get_type_hints(cls).items() if name != "versions"}
        for key, kind in kinds.items():
            if key not in values:
                raise ValueError(
                    f"{where} must be a record of `remanent grid` with the key {key!r}, got {', '.join(given)}"
                )
            allowed = _plain_types(kind)
            if not isinstance(values[key], allowed) or isinstance(values[key], bool):
                raise ValueError(f"{where}: `{key}` must be of type {allowed[0].__name__}, got {_short(values[key])}")
            if isinstance(values[key], int | float) and not is_number(values[key]):
                raise ValueError(f"{where}: `{key}` must be a finite number, got {_short(values[key])}")
        if values["status"] not in STATUSES:
            raise ValueError(f"{where}: `status` must be one of {', '.join(STATUSES)}, got {values['status']!r}")
        for table in TABLES:
            if not isinstance(values["config"].get(table, {}), dict):
                found = _short(values["config"][table])
                raise ValueError(f"{where}: `config.{table}` must be of type dict, got {found}")
        seconds = values["seconds"] or {}
        needed = {"parameters": values["parameters"], "seconds.train": seconds.get("train")}
        needed = needed if values["status"] == "done" else {}
        for key, value in {**needed, **{f"seconds.{name}": number for name, number in seconds.items()}}.items():
            if not is_number(value):
                raise ValueError(f"{where}: `{key}` must be a number, got {_short(value)}")
        chosen, validation = values["chosen"], values["validation"]
        return cls(
            **{key: values[key] for key in kinds if key not in ("chosen", "validation", "tests", "seconds")},
            chosen=None if chosen is None else Chosen.from_dict(chosen, where),
            validation=None if validation is None else _length_score(validation, "validation", where),
            tests=tuple(_length_score(line, "tests", where) for line in values["tests"]),
            seconds=Seconds(seconds["train"], seconds.get("test", 0.0)) if "train" in seconds else None,
            versions=read_versions(values),
        )


class Results(NamedTuple):
    """The records of a file, and the number of its last line where that is broken and left out."""

    records: list[Record]
    broken: int | None


def read_records(path: Path, *, warn: bool = False) -> Results:
    """Reads a results file; one that does not exist yet holds no records.

    Args:
        path: the file.
        warn: whether a line that is no record is left out, with a warning that names it, where other lines are records.

    Raises:
        ValueError: a line before the last is broken, or one is no record; the message names the file and the line.
    """
    lines = read_lines(path)
    records, wrong = [], []
    for line in lines.whole:
        try:
            records.append(Record.from_dict(line.value, f"{path}, line {line.number}"))
        except ValueError as error:
            wrong.append(str(error))
    if wrong and not (warn and records):
        raise ValueError(wrong[0])
    for sentence in wrong:
        warnings.warn(f"{sentence}; the line is left out", stacklevel=2)
    return Results(records, lines.broken)


def append_record(path: Path, record: Record) -> Path | None:
    """Appends a record to a results file, to which other processes may append as well.

    Returns:
        Where a broken last line, which another process had left, was put; None if there was none.

    Raises:
        ValueError: a line before the last is broken.
        OSError: the file cannot be written.
    """
    return append_line(path, record.to_dict())


def encode_record(record: Record) -> bytes:
    """A record as a results file of one line."""
    return encode_line(record.to_dict())


def _plain_types(kind: Any) -> tuple[type, ...]:
    """The types that a field's values have in JSON, the first of them the one that an error names.

    >>> _plain_types(int | None), _plain_types(float), _plain_types(tuple[LengthScore, ...]), _plain_types(Seconds)
    ((<class 'int'>, <class 'NoneType'>), (<class 'float'>, <class 'int'>), (<class 'list'>,), (<class 'dict'>,))
    """
    if isinstance(kind, types.UnionType):
        return tuple(plain for part in typing.get_args(kind) for plain in _plain_types(part))
    kind = typing.get_origin(kind) or kind
    if dataclasses.is_dataclass(kind):
        return (dict,)
    return {float: (float, int), tuple: (list,)}.get(kind, (kind,))


def _length_score(line: Any, key: str, where: str) -> LengthScore:
    if not isinstance(line, dict) or not is_number(line.get("length")) or not is_number(line.get("examples")):
        raise ValueError(f"{where}: `{key}` must hold numbers `length` and `examples`, got {_short(line)}")
    if "score" not in line or not (line["score"] is None or is_number(line["score"])):
        raise ValueError(f"{where}: `score` must be a number, or null where not finite, got {_short(line)}")
    return LengthScore(line["length"], line["examples"], line["score"])


def read_versions(values: dict[str, Any]) -> Versions | None:
    """What made a number, from plain values that may hold more; None where one of its parts is missing or no such part.

    >>> read_versions({"packages": {}, "python": "3.11.7"}) is None
    True
    """
    kinds = typing.get_type_hints(Versions)
    if not all(name in values and isinstance(values[name], _plain_types(kind)) for name, kind in kinds.items()):
        return None
    return Versions(**{name: values[name] for name in kinds})


def _short(value: Any) -> str:
    """A value for an error, which may be long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return f"a {type(value).__name__} of too many digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
