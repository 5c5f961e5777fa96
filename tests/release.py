"""Checks that a release can be made: its version, its addresses, its entry in the changelog.

`make release` calls it before it builds anything, and so does the workflow that publishes; it needs nothing but Python.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACEHOLDER = "OWNER"
"""What stands in `pyproject.toml` for the owner of the repository until there is one."""


def problems(root: Path, tag: str | None = None) -> list[str]:
    """A sentence for everything that a release lacks.

    Args:
        root: the folder of the project.
        tag: the tag that is released; None where there is none yet.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    version, found = project["version"], []
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        found.append(f"the version in pyproject.toml must be as 1.2.3 or 1.2.3rc1, got {version}")
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag must be v{version}, the version in pyproject.toml, got {tag}")
    for name, address in project.get("urls", {}).items():
        if PLACEHOLDER in address:
            found.append(f"the address {name} in pyproject.toml must name the owner, got {address}")
    if "Repository" not in project.get("urls", {}):
        found.append("pyproject.toml must have the address Repository, got none")
    for file, pattern in (
        ("CHANGELOG.md", r"^## (\S+)"),
        ("CITATION.cff", r"^version: (\S+)"),
        ("CITATION.bib", r"version\s*= \{(\S+?)\}"),
    ):
        first = re.search(pattern, (root / file).read_text(), re.MULTILINE)
        if first is None or first[1].strip("[]") != version:
            found.append(f"{file} must begin with the version {version}, got {first and first[1]}")
    return found


def main() -> int:
    """Prints what is missing, and returns 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tag", help="the tag that is released, such as v1.2.3")
    found = problems(ROOT, parser.parse_args().tag)
    for problem in found:
        print(f"not ready: {problem}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
