"""A task over arrays in memory, and the files and examples that arrays come from."""

import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from remanent._files import write_whole
from remanent.tasks.own.sequences import Raw, SequenceSet, SetOptions, make_set
from remanent.tasks.own.set_task import SetTask

ARRAYS = ("inputs", "targets", "lengths", "features")
"""What a file of arrays may hold; the first two must be there."""


class ArrayTask(SetTask):
    """Sequences of your own in memory: a class or values after the last step of each, or at each of its steps.

    It has the batches and splits of `OwnData`, by which a run trains that can be resumed: `save` writes the arrays to a
    file that `OwnData` reads.

    Args:
        inputs: the sequences: one array (N, T, M), or N arrays (T, M) of any lengths T. NaN stands for what is missing.
        targets: what is asked for: N classes (ints, bools or words) or values (floats), (N,) or (N, O); or for each
            step, N arrays (T,) or (T, O), where a NaN or an empty word asks for nothing.
        features: the names of the M features; None for their numbers.
        options: how the set is split, and what becomes of missing values.

    Raises:
        ValueError: shapes do not fit each other, a value is missing, or a part would be empty.

    >>> x = [np.random.default_rng(i).normal(i % 2, 1, size=(5 + i, 3)) for i in range(40)]
    >>> task = ArrayTask(x, [i % 2 for i in range(40)])
    >>> task.class_names, task.input_size, task.split_size("test")
    (('0', '1'), 3, 6)
    """

    name = "own-data"

    def __init__(
        self,
        inputs: Any,
        targets: Any,
        *,
        features: Sequence[str] | None = None,
        options: SetOptions | None = None,
    ) -> None:
        self._raw, self._features = _raw(inputs, targets, features)
        self._set_options = options or SetOptions()
        _ = self._data  # errors come where the arrays are given

    def save(self, path: str | Path) -> None:
        """Writes the sequences to an .npz file, which `OwnData` reads, with options of its own.

        Raises:
            OSError: the file cannot be written.
        """
        longest = max(len(raw.inputs) for raw in self._raw)
        inputs = np.stack([_padded(raw.inputs, longest, np.nan) for raw in self._raw])
        per_step = self._data.per_step
        texts = self._raw[0].target.ndim == 1
        given = [raw.target.astype(str) if texts else raw.target for raw in self._raw]
        targets = np.stack([_padded(y, longest, "" if texts else np.nan) if per_step else y[0] for y in given])
        content = io.BytesIO()
        lengths = np.array([len(raw.inputs) for raw in self._raw])
        np.savez(content, inputs=inputs, targets=targets, lengths=lengths, features=np.array(self._features, dtype=str))
        write_whole(Path(path), content.getvalue())

    def __getstate__(self) -> dict[str, Any]:
        """The arrays themselves, which a copy in another process reads nowhere else."""
        return self.__dict__

    def _load(self) -> SequenceSet:
        return make_set(self._raw, self._features, self._set_options)


def read_arrays(path: Path) -> tuple[list[Raw], list[str]]:
    """The sequences in an .npz file, and the names of their features.

    Raises:
        ValueError: it is no such file, or shapes do not fit each other.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (ValueError, BadZipFile, EOFError) as error:
        raise ValueError(f"{path} must be an .npz file of plain arrays, got {error}") from None
    if not {"inputs", "targets"} <= found.keys() <= set(ARRAYS):
        raise ValueError(
            f"{path} must hold inputs and targets, and may hold lengths and features, got {', '.join(found)}"
        )
    inputs, targets, lengths = found["inputs"], found["targets"], found.get("lengths")
    if inputs.ndim not in (2, 3):
        raise ValueError(f"{path}: inputs must have shape (N, T, M) or (N, T), got {inputs.shape}")
    T = inputs.shape[1]
    if lengths is not None:
        fits = lengths.shape == (len(inputs),) and lengths.dtype.kind in "iu"
        if not fits or lengths.min() < 1 or lengths.max() > T:
            raise ValueError(f"{path}: lengths must be whole numbers (N={len(inputs)},) in [1, T={T}], got {lengths}")
        x = [row[:size] for row, size in zip(inputs, lengths, strict=True)]
        per_step = targets.ndim >= 2 and targets.shape[1] == T
        y = [row[:size] for row, size in zip(targets, lengths, strict=False)] if per_step else targets
        inputs, targets = x, y
    names = found.get("features")
    try:
        return _raw(inputs, targets, None if names is None else names.tolist())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


@lru_cache(maxsize=8)
def waves(options: SetOptions) -> SequenceSet:
    """The example of `OwnData`: noisy waves of three kinds, of 20 to 60 steps, 80 of each."""
    draw = np.random.default_rng(0)
    kinds: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "sine": np.sin,
        "square": lambda phase: np.sign(np.sin(phase)),
        "saw": lambda phase: (phase / np.pi) % 2 - 1,
    }
    raw = []
    for i in range(240):
        kind = list(kinds)[i % 3]
        phase = draw.uniform(0, 2 * np.pi) + np.arange(draw.integers(20, 61)) * draw.uniform(0.3, 0.6)
        value = 20 + 3 * (kinds[kind](phase) + draw.normal(0, 0.15, len(phase)))
        raw.append(Raw(f"wave {i}", value[:, None], np.array([kind], dtype=object)))
    return make_set(raw, ["value"], options)


def _raw(inputs: Any, targets: Any, features: Sequence[str] | None) -> tuple[list[Raw], list[str]]:
    x = [np.asarray(each, dtype=np.float64) for each in inputs]
    x = [each[:, None] if each.ndim == 1 else each for each in x]
    y = [np.asarray(each) for each in targets]
    if not x or len(x) != len(y):
        raise ValueError(
            f"`targets` must be as many as the sequences of `inputs`, {len(x)}, of which there is one, got {len(y)}"
        )
    M = x[0].shape[-1]
    for i, each in enumerate(x):
        if each.ndim != 2 or each.shape[1] != M or len(each) == 0:
            raise ValueError(f"`inputs[{i}]` must have shape (T, M={M}) with a step at least, got {each.shape}")
        if np.isinf(each).any():
            raise ValueError(f"`inputs[{i}]` must hold finite numbers, or NaN for missing ones, got an infinite one")
    kinds = {each.dtype.kind for each in y}
    values = kinds == {"f"} or any(each.ndim == 2 for each in y)
    raw = []
    for i, (each, target) in enumerate(zip(x, y, strict=True)):
        per_step = target.ndim >= 1 and len(target) == len(each)
        if not values and target.ndim == 0:
            target = target[None]
        elif values and not per_step:
            target = target.reshape(1, -1)
        elif values and target.ndim == 1:
            target = target[:, None]
        if not values and not (target.ndim == 1 and len(target) in (1, len(each))):
            raise ValueError(
                f"`targets[{i}]` must be a class, or one for each of T={len(each)} steps, got {target.shape}"
            )
        target = target.astype(np.float64) if values else target.astype(str).astype(object)
        raw.append(Raw(f"sequence {i}", each, target))
    names = [str(i) for i in range(M)] if features is None else [str(name) for name in features]
    if len(names) != M:
        raise ValueError(f"`features` must name the M={M} features, got {len(names)}")
    return raw, names


def _padded(values: np.ndarray, size: int, filling: Any) -> np.ndarray:
    wide = np.full((size, *values.shape[1:]), filling, dtype=values.dtype if values.dtype.kind == "f" else object)
    wide[: len(values)] = values
    return wide if values.dtype.kind == "f" else wide.astype(str)
