"""Which cases of a product of axes run in `make test`; the others carry the mark `exhaustive`, for `make test-all`."""

from itertools import combinations, product

import pytest

exhaustive = pytest.mark.exhaustive


def rarely(*values):
    """A case for `make test-all` alone."""
    return pytest.param(*values, marks=exhaustive)


def covering(axes, together=2):
    """The fewest cases, or nearly, in which any values of so many axes meet once; as tuples of positions."""
    cases = list(product(*(range(len(axis)) for axis in axes)))
    groups = list(combinations(range(len(axes)), min(together, len(axes))))
    meetings = {case: {(group, *(case[axis] for axis in group)) for group in groups} for case in cases}
    missing = set().union(*meetings.values())
    chosen = set()
    while missing:
        best = max(cases, key=lambda case: len(meetings[case] & missing))
        missing -= meetings[best]
        chosen.add(best)
    return chosen


def crossed(together=2, **axes):
    """Parametrizes a test by the whole product of its axes, of which `make test` runs a `covering`.

    The last axis changes fastest. Names joined by two underscores, as in `name__options`, are of one axis
    whose values are tuples.
    """
    chosen = covering(list(axes.values()), together)
    names = [name for joined in axes for name in joined.split("__")]
    cases = []
    for places in product(*(range(len(axis)) for axis in axes.values())):
        values = []
        for (joined, axis), place in zip(axes.items(), places, strict=True):
            values += axis[place] if "__" in joined else [axis[place]]
        cases.append(pytest.param(*values, marks=() if places in chosen else exhaustive))
    return pytest.mark.parametrize(names, cases, ids=case_id)


def case_id(value):
    """Shows types, options and shapes in a test's name."""
    if isinstance(value, dict):
        return ",".join(f"{key}={part}" for key, part in value.items()) or "plain"
    return getattr(value, "__name__", None) if callable(value) else str(value)
