"""Where and with what a benchmark ran: versions, processor, system."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from remanent.bench.peers import PACKAGES
from remanent.bench.runs import usable_cores

CPU_INFO = Path("/proc/cpuinfo")


def environment() -> dict[str, Any]:
    """Versions, processor, system and date, as plain values."""
    versions = {"python": platform.python_version()}
    for package in ("remanent", "torch", "numba", "numpy", *PACKAGES.values()):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "versions": versions,
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "os": platform.platform(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_name() -> str:
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
