"""A task over a set of sequences: how batches are drawn from it, and how its splits are read."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from remanent._options import check_at_least
from remanent.models import Names, Statistics
from remanent.tasks.base import PaddedBatch, StoredTask, Stream, check_examples, check_split, check_stop
from remanent.tasks.metrics import IGNORED, largest_share
from remanent.tasks.own.sequences import SequenceSet


class SetTask(StoredTask[SequenceSet]):
    """Sequences of any lengths, with a class or values after the last step, or at each of them.

    Shorter sequences of a batch are filled up with zeros to its longest one; `padded_batch` and `lengths` say how long
    each is. Inputs are in the units of the data; a model with `standardise` takes them as they are.
    """

    length_name = "steps"
    extends = False
    standardised = True

    @property
    def head(self) -> str:  # type: ignore[override]
        """Where a model answers: after the "last" step, or at "every" step."""
        return "every" if self._data.per_step else "last"

    @property
    def metric(self) -> str:  # type: ignore[override]
        """The accuracy of classes, or the mean squared error of values."""
        return "accuracy" if self._data.classes else "mse"

    @property
    def ragged(self) -> bool:  # type: ignore[override]
        """Whether sequences differ in their lengths."""
        return len({len(x) for x in self._data.inputs}) > 1

    @property
    def length(self) -> int:
        """The number of steps of the longest training sequence."""
        return max(len(self._data.inputs[i]) for i in self._data.train.tolist())

    @property
    def longest(self) -> int:
        """The same: sequences have the lengths that they have."""
        return self.length

    @property
    def input_size(self) -> int:
        """The number of features, with those that say what is missing."""
        return len(self._data.features)

    @property
    def output_size(self) -> int:
        """The number of classes, or of values."""
        return len(self._data.classes) or self._data.targets[0].shape[-1]

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features, in the order of a model's inputs."""
        return self._data.features

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of a model's outputs; empty where values are asked for."""
        return self._data.classes

    @property
    def names(self) -> Names:
        """The names of the features and of the classes."""
        return Names(self.features, self.class_names)

    @property
    def summary(self) -> str:
        """The sizes of sequences and parts, the features, the classes, and what may not be meant so."""
        data = self._data
        steps = sorted({len(x) for x in data.inputs})
        parts = {"train": data.train, "validation": data.validation, "test": data.test}
        sizes = ", ".join(f"{len(numbers):,} {name}" for name, numbers in parts.items())
        lengths = f"{steps[0]:,} steps" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,} steps"
        lines = [
            f"{len(data.inputs):,} sequences of {lengths} ({sizes})",
            f"{_counted(len(data.features), 'feature')}: {', '.join(data.features)}",
        ]
        lines += [f"not read: {', '.join(data.unread)}"] if data.unread else []
        lines += [
            f"{name} rises at every step: `time` orders by a column, and no model reads it" for name in self._rising()
        ]
        if data.classes:
            found = {name: self._counts(numbers) for name, numbers in parts.items()}
            counts_of = zip(data.classes, *found.values(), strict=True)
            named = ", ".join(f"{name} {' + '.join(f'{n:,}' for n in counts)}" for name, *counts in counts_of)
            lines.append(f"{len(data.classes)} classes{' of steps' * data.per_step}: {named}")
            for part, counts in found.items():
                lacking = [name for name, n in zip(data.classes, counts, strict=True) if n == 0]
                lines += [f"the {part} part has none of {', '.join(lacking)}"] if lacking else []
        else:
            lines.append(_counted(self.output_size, "value") + " at each step" * data.per_step)
        return "\n".join(lines)

    @property
    def statistics(self) -> Statistics:  # type: ignore[override]
        """Means and deviations over the real steps of the training part; of a constant, a deviation of 1."""
        return self._data.statistics

    @property
    def chance(self) -> float:
        """The share of the most frequent class of the test part, or the variance of its values."""
        y = [self._data.targets[i] for i in self._data.test.tolist()]
        if self._data.classes:
            every = torch.cat([target.flatten() for target in y])
            return largest_share(every[every != IGNORED])
        values = torch.cat([target.reshape(-1, self.output_size) for target in y]).double()
        return float((values - values.nanmean(0)).square().nanmean())

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What `padded_batch` gives, without lengths."""
        drawn = self.padded_batch(batch_size, generator)
        return drawn.x, drawn.y

    def padded_batch(self, batch_size: int, generator: torch.Generator) -> PaddedBatch:
        """Draws training sequences, all different ones unless there are too few, which are then drawn again."""
        check_at_least("batch_size", batch_size, 1)
        train = self._data.train
        rounds = -(-batch_size // len(train))
        order = torch.cat([torch.randperm(len(train), generator=generator) for _ in range(rounds)])
        return self._laid_out(train[order[:batch_size]])

    def split_size(self, split: str) -> int:
        """The number of sequences in the split."""
        check_split(split)
        return len(self._part(split))

    def lengths(self, split: str, start: int, stop: int) -> Tensor | None:
        """How many steps the examples of a split have; None where all have as many."""
        return self._laid_out(self._examples(split, start, stop)).lengths

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Gives the sequences in one piece.

        Raises:
            ValueError: `length` is not that of the task, since sequences have the lengths that they have.
        """
        numbers = self._examples(split, start, stop)
        if length != self.length:
            raise ValueError(f"`length` must be {self.length}, the sequences being as long as they are, got {length}")
        return iter([self._laid_out(numbers)[:2]])

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The training loss: of values, the squared error in units of the variance of the training part."""
        deviation = self.statistics.target_deviation
        if deviation is None:
            return super().loss(output, target)
        deviation = deviation.to(output.device)
        return super().loss(output / deviation, target / deviation)

    def _rising(self) -> list[str]:
        """The features that rise at each step of each sequence, as a time does."""
        data = self._data
        long = [x for x in data.inputs if len(x) > 1]
        return [
            name for i, name in enumerate(data.features) if long and all((x[1:, i] > x[:-1, i]).all() for x in long)
        ]

    def _counts(self, numbers: Tensor) -> list[int]:
        """How many targets of some sequences are of each class."""
        y = torch.cat([self._data.targets[i].flatten() for i in numbers.tolist()])
        return torch.bincount(y[y != IGNORED], minlength=len(self._data.classes)).tolist()

    def _part(self, split: str) -> Tensor:
        return self._data.validation if split == "validation" else self._data.test

    def _examples(self, split: str, start: int, stop: int) -> Tensor:
        check_examples(split, start, stop)
        check_stop(split, stop, self.split_size(split), "sequences")
        return self._part(split)[start:stop]

    def _laid_out(self, numbers: Tensor) -> PaddedBatch:
        """Sequences side by side, the shorter ones filled up, with their targets and lengths."""
        data = self._data
        x = [data.inputs[i] for i in numbers.tolist()]
        y = [data.targets[i] for i in numbers.tolist()]
        lengths = torch.tensor([len(each) for each in x])
        unasked = IGNORED if data.classes else torch.nan
        target = pad_sequence(y, batch_first=True, padding_value=unasked) if data.per_step else torch.stack(y)
        same = bool((lengths == lengths[0]).all())
        return PaddedBatch(pad_sequence(x, batch_first=True), target, None if same else lengths)


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'s' * (count != 1)}"
