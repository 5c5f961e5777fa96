"""Settings drawn from ranges and lists of values, spread evenly, and the same for every unit that is compared."""

import math
import re
from typing import NamedTuple

import torch

from remanent._options import check_at_least, check_range
from remanent.tasks.base import derive_seed

Choices = dict[str, list[str]]
"""The values of each option, by its dotted name, as they were written on the command line."""
ROUNDS = 64
"""How many times as many settings are drawn as are asked for, where many of them are equal."""
_RANGE = re.compile(r"([^:]+):([^:]+?)(:log)?")
_WHOLE = re.compile(r"[-+]?[0-9]+")


class Sample(NamedTuple):
    """How many settings are drawn, and the seed of the draw."""

    size: int
    seed: int


class Range(NamedTuple):
    """The numbers from `low` to `high`, whole ones or all, spread evenly themselves or in their logarithm."""

    low: float
    high: float
    whole: bool
    logarithmic: bool

    def at(self, share: float) -> str:
        """The number at a share in [0, 1) of the way, with three digits where it is not whole.

        >>> Range(1e-3, 0.1, False, True).at(0.5), Range(2, 5, True, False).at(0.99)
        ('0.01', '5')
        """
        low, high = self.low, self.high + self.whole  # a whole number stands for all up to the next
        found = low * (high / low) ** share if self.logarithmic else low + (high - low) * share
        found = float(math.floor(found)) if self.whole else float(f"{found:.3g}")
        found = min(max(found, self.low), self.high)
        return str(int(found)) if self.whole else repr(found)


def sampled(choices: Choices, sample: Sample) -> list[dict[str, str]]:
    """Draws settings; more of them begin with the same ones.

    Each option has an axis of a scrambled Sobol sequence, so that few settings already cover every range and list,
    which independent draws do not.

    Args:
        choices: options and their values, of which a single one may be a range: LOW:HIGH or LOW:HIGH:log.
        sample: how many are drawn, and the seed.

    Returns:
        Different settings, dotted name to the text of a value; fewer where there are not as many.

    Raises:
        ValueError: a range is not one, or no setting is asked for.

    >>> sampled({"training.warmup": ["0.1"], "model.num_layers": ["1:4"]}, Sample(2, seed=0))[0].keys()
    dict_keys(['model.num_layers', 'training.warmup'])
    """
    check_at_least("--sample", sample.size, 1)
    axes = {key: _axis(key, values) for key, values in sorted(choices.items())}
    if not axes:
        return [{}]
    engine = torch.quasirandom.SobolEngine(len(axes), scramble=True, seed=derive_seed("sample", sample.seed) >> 1)
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for _ in range(ROUNDS):
        for shares in engine.draw(sample.size, dtype=torch.float64).tolist():
            setting = {key: _value(axis, share) for (key, axis), share in zip(axes.items(), shares, strict=True)}
            found.setdefault(tuple(setting.values()), setting)
            if len(found) == sample.size:
                return list(found.values())
    return list(found.values())


def check_no_range(choices: Choices) -> None:
    """Raises if an option has a range, of which all values cannot be run."""
    for key, values in choices.items():
        if len(values) == 1 and is_range(values[0]):
            raise ValueError(f"`--set` must give {key} values, or a range with `--sample`, got {values[0]!r}")


def is_range(text: str) -> bool:
    """Whether the text of a value is a range.

    >>> is_range("0.001:0.1:log"), is_range("C:notes.txt")
    (True, False)
    """
    return _numbers(text) is not None


def _axis(key: str, values: list[str]) -> list[str] | Range:
    """What the values of an option are: a list, or one range."""
    numbers = _numbers(values[0]) if len(values) == 1 else None
    if numbers is None:
        return values
    (low, high), logarithmic = map(float, numbers), values[0].endswith(":log")
    check_range(f"--set {key}", low, -math.inf, math.inf, open_low=True)
    check_range(f"--set {key}", high, low, math.inf, open_low=True)
    if logarithmic:
        check_range(f"--set {key}", low, 0, high, open_low=True)
    return Range(low, high, all(map(_WHOLE.fullmatch, numbers)), logarithmic)


def _numbers(text: str) -> tuple[str, str] | None:
    """The ends of a range; None for a text of another kind."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    try:
        [float(number) for number in match.groups()[:2]]
    except ValueError:
        return None
    return match[1], match[2]


def _value(axis: list[str] | Range, share: float) -> str:
    share = min(share, math.nextafter(1.0, 0.0))
    return axis.at(share) if isinstance(axis, Range) else axis[int(share * len(axis))]
