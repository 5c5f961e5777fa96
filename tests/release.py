"""Checks that a release can be made: its tag, which is its version, its addresses, its entry in the changelog.

`make release` calls it before it builds anything, and so does the workflow that publishes; it needs nothing but Python
and git.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACEHOLDER = "OWNER"
"""What stands in `pyproject.toml` for the owner of the repository until there is one."""


def problems(root: Path, tag: str | None) -> list[str]:
    """A sentence for everything that a release lacks.

    Args:
        root: the folder of the project.
        tag: the tag that is released; None where there is none.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    version, found = (tag or "").removeprefix("v"), []
    if tag is None or not re.fullmatch(r"v\d+\.\d+\.\d+((a|b|rc)\d+)?", tag):
        found.append(f"the commit must have a tag as v1.2.3 or v1.2.3rc1, got {tag or 'none'}")
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
            found.append(f"{file} must begin with the version {version or 'of the tag'}, got {first and first[1]}")
    return found


def main() -> int:
    """Prints what is missing, and returns 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tag", help="the tag that is released, such as v1.2.3; without it, that of the commit")
    tag = parser.parse_args().tag
    if tag is None:
        command = ["git", "-C", str(ROOT), "describe", "--exact-match", "--tags", "HEAD"]
        tag = subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
    found = problems(ROOT, tag)
    for problem in found:
        print(f"not ready: {problem}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
