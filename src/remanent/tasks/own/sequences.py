"""Sequences as they are read, and the set that is made of them: parts, classes, statistics, and missing values."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent._options import check_at_least, check_choice, check_range
from remanent.models import Statistics
from remanent.tasks.metrics import IGNORED
from remanent.tasks.own.parts import PARTS, SPLITS, parts_of

PER = ("auto", "sequence", "step")
"""What has a target: a whole sequence, each step, or what the data look like."""
KINDS = ("auto", "class", "value")
"""What a target is: a class, a value, or what the data look like."""
MISSING = ("error", "forward", "indicator")
"""What becomes of a missing value of an input."""
LEAST_DEVIATION = 1e-6
"""A deviation below this share of the largest value counts as that of a constant feature, which becomes 1."""


@dataclass(frozen=True)
class SetOptions:
    """How sequences become a set: the options of `OwnData`, which describes them."""

    per: str = "auto"
    kind: str = "auto"
    missing: str = "error"
    split: str = "random"
    validation: float = 0.15
    test: float = 0.15
    split_seed: int = 0
    window: int | None = None

    def __post_init__(self) -> None:
        for name, choices in (("per", PER), ("kind", KINDS), ("missing", MISSING), ("split", SPLITS)):
            check_choice(name, getattr(self, name), choices)
        for name in ("validation", "test"):
            check_range(name, getattr(self, name), 0, 1, open_low=True, open_high=True)
        if self.validation + self.test >= 1:
            rule = "`validation` and `test` must leave a part for training, less than 1 together"
            raise ValueError(f"{rule}, got {self.validation} and {self.test}")
        check_at_least("split_seed", self.split_seed, 0)
        if self.window is not None:
            check_at_least("window", self.window, 1)


class Raw(NamedTuple):
    """A sequence as it was read.

    Attributes:
        name: its name in errors.
        inputs: float64 (T, M), NaN where a value is missing.
        target: the classes, as text (T,), or the values, float64 (T, O), at each step, "" or NaN where none is given;
            or those of the whole sequence, (1,) or (1, O).
        rows: the row of each step in its file, for errors; None for arrays in memory.
        part: "train", "validation" or "test" where the data say so; None where the set is to be split.
    """

    name: str
    inputs: np.ndarray
    target: np.ndarray
    rows: Sequence[int] | None = None
    part: str | None = None

    def place(self, step: int) -> str:
        """Where a step stands, in words."""
        return f"{self.name}, step {step}" if self.rows is None else f"{self.name}, row {self.rows[step]}"


class SequenceSet(NamedTuple):
    """Sequences with their targets, in three parts.

    Attributes:
        inputs: of each sequence, float32 (T, M).
        targets: of each, its class, int64 (), or values, float32 (O,); at each step int64 (T,) or float32 (T, O).
        train: the numbers of the sequences of the training part.
        validation: those of the validation part.
        test: those of the test part.
        features: the names of the features.
        classes: the names of the classes; empty where values are asked for.
        per_step: whether each step has a target.
        statistics: of the real steps of the training part.
        unread: the names of columns that nobody reads, since they are not asked for or hold other things.
    """

    inputs: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    train: Tensor
    validation: Tensor
    test: Tensor
    features: tuple[str, ...]
    classes: tuple[str, ...]
    per_step: bool
    statistics: Statistics
    unread: tuple[str, ...] = ()


def make_set(raw: list[Raw], features: Sequence[str], options: SetOptions) -> SequenceSet:
    """Splits sequences, takes statistics of the training part, and fills in what is missing.

    Args:
        raw: the sequences.
        features: the names of their features.
        options: how the set is made.

    Raises:
        ValueError: a value is missing where none may be, there are too few sequences for three parts, a class has no
            sequence to train with, or whole numbers that are nearly all different may be classes or values; the message
            names the place.
    """
    per_step = _is_per_step(raw, options.per)
    classes = _classes(raw, options.kind)
    if options.kind == "auto" and not per_step:
        _check_not_values(classes or [], len(raw))
    targets = [_target(each, per_step, classes) for each in raw]
    labels = None if per_step or classes is None else [int(target) for target in targets]
    pieces = parts_of([len(each.inputs) for each in raw], [each.part for each in raw], labels, per_step, options)
    by_part = {part: [piece for piece in pieces if piece.part == part] for part in PARTS}
    of_train = np.concatenate([raw[piece.number].inputs[piece.steps] for piece in by_part["train"]])
    mean, deviation = _moments(of_train, features)
    inputs = [_filled(each, features, mean, options.missing) for each in raw]
    if options.missing == "indicator":
        features = [*features, *(f"{name} is missing" for name in features)]
        mean, deviation = np.pad(mean, (0, len(mean))), np.pad(deviation, (0, len(mean)), constant_values=1.0)
    ordered = [piece for part in PARTS for piece in by_part[part]]
    x = tuple(torch.from_numpy(inputs[piece.number][piece.steps]).float() for piece in ordered)
    y = tuple(targets[piece.number][piece.steps] if per_step else targets[piece.number] for piece in ordered)
    ends = np.cumsum([0] + [len(by_part[part]) for part in PARTS]).tolist()
    train, validation, test = (torch.arange(start, end) for start, end in pairwise(ends))
    known = _check_classes([y[i] for i in train.tolist()], classes)
    statistics = Statistics(*(torch.from_numpy(each).float() for each in (mean, deviation)))
    if classes is None:
        asked = (
            torch.stack([y[i] for i in train.tolist()]) if not per_step else torch.cat([y[i] for i in train.tolist()])
        )
        of_targets = _moments(asked.double().numpy(), [f"target {i}" for i in range(asked.shape[-1])])
        statistics = Statistics(*statistics[:2], *(torch.from_numpy(each).float() for each in of_targets))
    return SequenceSet(x, y, train, validation, test, tuple(features), known, per_step, statistics)


def _is_per_step(raw: list[Raw], per: str) -> bool:
    """Whether each step has a target of its own: by default where any sequence has several different ones.

    A target that stands at some steps of a sequence alone, always the same, is one of the whole sequence.
    """
    given = [len(each.target) == len(each.inputs) for each in raw]
    if per == "step" and not all(given):
        found = raw[given.index(False)]
        rule = (
            f"`per` must be sequence where {found.name} has {len(found.inputs)} steps and {len(found.target)} targets"
        )
        raise ValueError(f"{rule}, got step")
    several = [len(np.unique(_given(each.target), axis=0)) > 1 for each in raw]
    if per == "sequence" and any(several):
        found = raw[several.index(True)]
        raise ValueError(f"`per` must be step where targets differ within a sequence, as in {found.name}, got sequence")
    return per == "step" or (per == "auto" and any(several) and all(given))


def _classes(raw: list[Raw], kind: str) -> list[str] | None:
    """The names of the classes in their order; None where targets are values."""
    wide = raw[0].target.ndim == 2
    texts = {str(cell) for each in raw for cell in each.target.ravel().tolist()} if not wide else set()
    texts -= {""}
    if kind == "value" or wide:
        if kind == "class":
            raise ValueError("`kind` must be value for several targets or numbers with a fraction, got class")
        return None
    return sorted(texts, key=_in_order)


def _check_not_values(classes: list[str], count: int) -> None:
    """Raises where whole numbers that were taken for classes look like values, which differ in most sequences."""
    if 2 < count < 2 * len(classes) and all(np.isfinite(_in_order(name)[0]) for name in classes):
        rule = f"`kind` must be class or value where {count} sequences have {len(classes)} whole numbers as targets"
        raise ValueError(f"{rule}, got auto")


def _in_order(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return np.inf, name


def _target(raw: Raw, per_step: bool, classes: list[str] | None) -> Tensor:
    """The classes or values of a sequence, IGNORED or NaN at steps without one."""
    given = raw.target if per_step else _given(raw.target)[:1]
    if len(given) == 0:
        raise ValueError(f"{raw.name} must have a target, got none")
    if classes is None:
        values = torch.from_numpy(np.asarray(given, dtype=np.float64)).float()
    else:
        number = {name: i for i, name in enumerate(classes)} | {"": IGNORED}
        values = torch.tensor([number[str(cell)] for cell in given.tolist()])
    return values if per_step else values[0]


def _given(target: np.ndarray) -> np.ndarray:
    """The targets of a sequence that are not missing."""
    return target[~np.isnan(target).any(1)] if target.ndim == 2 else target[target != ""]


def _moments(values: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the deviation of each column (N, M) over what is not missing; of a constant, a deviation of 1."""
    counts = (~np.isnan(values)).sum(0)
    for name, count in zip(names, counts, strict=True):
        if count == 0:
            raise ValueError(f"the training part must have a value of {name!r} somewhere, got none")
    mean = np.nanmean(values, axis=0)
    deviation = np.nanstd(values, axis=0)
    constant = deviation <= LEAST_DEVIATION * np.maximum(np.nanmax(np.abs(values), axis=0), LEAST_DEVIATION)
    return mean, np.where(constant, 1.0, deviation)


def _filled(raw: Raw, features: Sequence[str], mean: np.ndarray, missing: str) -> np.ndarray:
    """The inputs of a sequence without anything missing, float64 (T, M), or (T, 2 M) with indicators."""
    absent = np.isnan(raw.inputs)
    if not absent.any():
        return np.concatenate([raw.inputs, absent], axis=1) if missing == "indicator" else raw.inputs
    if missing == "error":
        step, feature = (int(axis[0]) for axis in np.nonzero(absent))
        place = f"{raw.place(step)}, column {features[feature]!r}"
        raise ValueError(f"{place} must hold a value unless `missing` is forward or indicator, got none")
    if missing == "indicator":
        return np.concatenate([np.where(absent, mean, raw.inputs), absent], axis=1)
    last = np.maximum.accumulate(np.where(absent, -1, np.arange(len(absent))[:, None]), axis=0)
    held = np.take_along_axis(raw.inputs, np.maximum(last, 0), axis=0)
    return np.where(last >= 0, held, mean)


def _check_classes(train: list[Tensor], classes: list[str] | None) -> tuple[str, ...]:
    """The classes; raises unless there are two, and each is among the training targets."""
    if classes is None:
        return ()
    if len(classes) < 2:
        raise ValueError(f"targets must be of at least two classes, got {', '.join(classes) or 'none'}")
    found = set(torch.cat([target.flatten() for target in train]).tolist())
    absent = [name for i, name in enumerate(classes) if i not in found]
    if absent:
        few = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        hint = "; where targets are values, `kind` must say so"
        raise ValueError(f"the training part must hold every class, got none of {few}{hint}")
    return tuple(classes)
