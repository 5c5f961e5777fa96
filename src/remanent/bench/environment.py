"""The environment of a benchmark: versions, processor, system."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from remanent._machine import processor_name
from remanent.bench.passes import usable_cores
from remanent.bench.peers import PACKAGES


def environment() -> dict[str, Any]:
    """The versions, processor, system and date, as plain values."""
    versions = {"python": platform.python_version()}
    for package in ("remanent", "torch", "numba", "numpy", *PACKAGES.values()):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "versions": versions,
        "cpu": processor_name(),
        "cores": usable_cores(),
        "os": platform.platform(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
