"""The choice of cases: any two or three values meet in it, and it is small."""

from itertools import combinations, product

import pytest

from cases import covering, crossed, rarely

AXES = ["ab", "abcd", "abcdef", "ab", "ab", "abc"]


@pytest.mark.parametrize(("together", "at_most"), [(1, 6), (2, 25), (3, 75)])
def test_all_meet_in_few_cases(together, at_most):
    chosen = covering(AXES, together)
    assert chosen == covering(AXES, together)
    assert len(chosen) <= at_most
    for axes in combinations(range(len(AXES)), together):
        met = {tuple(case[axis] for axis in axes) for case in chosen}
        assert met == set(product(*(range(len(AXES[axis])) for axis in axes)))


def test_the_other_cases_carry_the_mark():
    names, cases = crossed(size=[1, 2, 3], way__back=[("a", 0), ("b", 1)], last=[True, False]).mark.args
    assert names == ["size", "way", "back", "last"]
    assert [case.values for case in cases[:2]] == [(1, "a", 0, True), (1, "a", 0, False)]
    assert len(cases) == 12
    assert sum(not case.marks for case in cases) == 6
    assert all(case.marks == rarely(1).marks for case in cases if case.marks)
