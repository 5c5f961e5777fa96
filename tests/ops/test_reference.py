"""The reference has the public signature of every scan, with the same names, kinds, defaults and types."""

import inspect

import pytest

import remanent.ops
from remanent.ops import reference

SCANS = [name for name in remanent.ops.__all__ if "_scan" in name]


@pytest.mark.parametrize("name", SCANS)
def test_a_scan_and_its_time_loop_have_the_same_signature(name):
    public = inspect.signature(getattr(remanent.ops, name))
    wanted = [p for p in public.parameters.values() if p.name not in ("backend", "group")]
    twin = inspect.signature(getattr(reference, name))
    assert list(twin.parameters.values()) == wanted
    assert twin.return_annotation == public.return_annotation
