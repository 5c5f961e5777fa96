"""A release is refused until its version, its addresses and its changelog fit; the workflows name what exists."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from release import PLACEHOLDER, problems

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FILES = ("pyproject.toml", "CHANGELOG.md", "CITATION.cff", "CITATION.bib")
HERE = pytest.mark.skipif(not WORKFLOWS, reason="an sdist has no workflows")


@pytest.fixture
def ready(tmp_path):
    """A copy of the project in which everything that a release needs is there."""
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    edit(tmp_path / "pyproject.toml", PLACEHOLDER, "somebody")
    edit(tmp_path / "CHANGELOG.md", "## Unreleased", "## 0.1.0")
    return tmp_path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_project_that_is_ready_has_no_problems(ready):
    assert problems(ready, "v0.1.0") == []


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        (
            "pyproject.toml",
            'somebody/remanent"',
            f'{PLACEHOLDER}/remanent"',
            "Repository in pyproject.toml must name the",
        ),
        ("pyproject.toml", "Repository =", "Source =", "must have the address Repository"),
        ("CHANGELOG.md", "## 0.1.0", "## Unreleased", "CHANGELOG.md must begin with the version 0.1.0, got Unreleased"),
        (
            "CITATION.cff",
            "version: 0.1.0",
            "version: 0.0.9",
            "CITATION.cff must begin with the version 0.1.0, got 0.0.9",
        ),
        ("CITATION.bib", "{0.1.0}", "{0.0.9}", "CITATION.bib must begin with the version 0.1.0, got 0.0.9"),
    ],
)
def test_what_is_missing_is_named(ready, file, old, new, problem):
    edit(ready / file, old, new)
    assert any(problem in found for found in problems(ready, "v0.1.0"))


def test_a_tag_of_another_version_is_refused(ready):
    files = ("CHANGELOG.md", "CITATION.cff", "CITATION.bib")
    assert problems(ready, "v0.2.0") == [f"{file} must begin with the version 0.2.0, got 0.1.0" for file in files]
    for tag, shown in ((None, "none"), ("v0.1", "v0.1"), ("0.1.0", "0.1.0"), ("v0.1.0.dev1", "v0.1.0.dev1")):
        assert f"the commit must have a tag as v1.2.3 or v1.2.3rc1, got {shown}" in problems(ready, tag)


def test_the_placeholder_stands_in_one_place():
    pages = [path for path in ROOT.glob("*.md") if path.name != "LOG.md"]
    assert [path.name for path in pages if f"{PLACEHOLDER}/remanent" in path.read_text()] == []


@HERE
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_whole_and_name_what_exists(path):
    flow = yaml.safe_load(path.read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert flow["permissions"] == {"contents": "read"}  # each job asks for what it needs beyond that
    for job in flow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            for extra in re.findall(r"\[([\w,]+)\]'", step.get("run", "")):
                assert all(f"\n{name} = [" in project for name in extra.split(","))
            for script in re.findall(r"python (\S+\.py)", step.get("run", "")):
                assert (ROOT / script).is_file()
    tests = yaml.safe_load((path.parent / "tests.yml").read_text())["jobs"]["tests"]["strategy"]["matrix"]
    assert len(tests["os"]) == 3
    oldest = tests["versions"][0]
    assert f'requires-python = ">={oldest["python"]}"' in project
    assert f'"torch>={oldest["torch"].removeprefix("torch==").removesuffix(".*")}"' in project
