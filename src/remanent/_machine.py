"""The provenance of a number: the commit of the source, the versions of packages, and the machine."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

CPU_INFO = Path("/proc/cpuinfo")
"""The file in which Linux describes the processors."""
PACKAGES = ("remanent", "torch", "numpy", "numba", "pytorch-lightning", "scikit-learn")
"""The packages whose versions `versions` gives."""


def processor_name() -> str:
    """The name of the processor, or its architecture where the system does not give a name."""
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of the package's source, with "-dirty" if it was changed; None outside a repository."""
    source = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # rules out a repository of something else around it
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, Any]:
    """The versions of packages and Python, and the platform, processor and cores of the machine."""
    return {
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
    }
