"""How the options of a run were chosen among trials, as its record says."""

from dataclasses import dataclass
from typing import Any

from remanent._json import is_number


@dataclass(frozen=True)
class Chosen:
    """That the options of a run were chosen, among how many settings, and by which score.

    Attributes:
        by: the split whose score decided, "validation".
        trials: how many settings were trained, with those that failed.
        failed: how many of them failed or have no finite score.
        score: of the chosen trial; the best of all.
        seed: with which every trial was trained.
        steps: the training steps of the chosen trial.
        options: what was varied: dotted name to its values, or its range, as `--set` of `remanent grid` reads them.
    """

    by: str
    trials: int
    failed: int
    score: float
    seed: int
    steps: int
    options: dict[str, str]

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> "Chosen":
        """Checks plain values; keys that are not known are passed over.

        Args:
            values: plain values.
            where: what an error calls them.

        Raises:
            ValueError: a key is missing, or its value is of another type.
        """
        words = (isinstance(values.get("by"), str), isinstance(values.get("options"), dict))
        counts = [values.get(key) for key in ("trials", "failed", "seed", "steps")]
        whole = all(isinstance(count, int) and not isinstance(count, bool) for count in counts)
        if not (all(words) and whole and is_number(values.get("score"))):
            keys = ", ".join(cls.__dataclass_fields__)
            raise ValueError(f"{where}: `chosen` must hold {keys}, got {str(values)[:80]}")
        return cls(**{key: values[key] for key in cls.__dataclass_fields__})
