"""The site: it is built without a warning, its latch works, its equations are drawn, and its commands are known."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from remanent.cli import COMMANDS, main
from remanent.ops import latch_scan

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
PAGES = sorted((ROOT / "docs").glob("*.md"))
LINES = [
    (path.stem, shlex.split(line.removeprefix("$ "), comments=True)[1:])
    for path in PAGES
    for block in re.findall(r"```console\n(.*?)```", path.read_text(), re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.removeprefix("$ ").startswith("remanent ")
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    out = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    path = os.pathsep.join([str(ROOT / "docs"), *filter(None, [os.environ.get("PYTHONPATH")])])
    quiet = os.environ | {"PYTHONPATH": path, "NO_MKDOCS_2_WARNING": "1"}  # of what the theme says about its successor
    done = subprocess.run(words, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return out


def test_every_page_is_in_the_site_and_its_equations_are_drawn(site):
    for path in PAGES:
        page = site / ("index.html" if path.stem == "index" else f"{path.stem}/index.html")
        text = page.read_text()
        assert "arithmatex" not in text, path
        if re.search(r"\$[^$\n]+\$", path.read_text()):
            assert "<math" in text, path
    assert not list(site.rglob("*.py"))
    notebook = (site / "notebooks" / "first-steps" / "index.html").read_text()
    assert 'src="data:image/png;base64,' in notebook
    assert "300/300" in notebook  # the output of a cell
    assert (site / "notebooks" / "first-steps.ipynb").is_file()
    assert "How the package is built" in (site / "contributing" / "index.html").read_text()
    analysis = (site / "api" / "analysis" / "index.html").read_text()
    assert "find_attractors" in analysis
    assert "&gt;&gt;&gt;" in analysis  # examples are shown as code
    assert not [page for page in (site / "api").rglob("*.html") if "blockquote" in page.read_text()]


def test_what_the_site_adds_needs_no_generator(monkeypatch):
    """Python-Markdown alone, with the extensions that the site has, gives the page: equations, marks, notebooks."""
    markdown = pytest.importorskip("markdown", reason="needs the extra docs")
    pytest.importorskip("latex2mathml", reason="needs the extra docs")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    page = "A $x^2$ and\n\n$$y_t$$\n\n<!-- latch -->\n\n<!-- CONTRIBUTING.md -->\n\n<!-- notebook exact-stream -->\n"
    options = {"pymdownx.arithmatex": {"generic": True}}
    extensions = ["site_markdown", "md_in_html", "pymdownx.superfences", "pymdownx.arithmatex"]
    text = markdown.markdown(page, extensions=extensions, extension_configs=options)
    assert text.count("<math") == 2
    assert "data-latch" in text
    assert "The architecture</h2>" in text
    assert "A stream with exact state</h1>" in text
    assert "of 32 channels changed" in text
    assert "arithmatex" not in text
    assert "<!--" not in re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text, flags=re.DOTALL)


def test_pictures_of_pages_are_vectors_that_fit_a_screen():
    shown = {
        (path.parent / target).resolve()
        for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES)
        for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", path.read_text())
    }
    assert len(shown) > 30
    for path in shown:
        assert path.suffix == ".svg", path
        width = float(re.search(r'viewBox="0 0 ([\d.]+) ', path.read_text())[1])
        assert width <= 1300 * 72 / 96, path  # points


def test_addresses_outside_of_the_project_are_listed_once_and_are_encrypted():
    spec = importlib.util.spec_from_file_location("list_links", ROOT / "docs" / "list_links.py")
    links = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(links)
    found = links.addresses()
    assert len(found) > 20
    assert [address for address in found if not address.startswith("https://")] == []
    assert found["https://arxiv.org/abs/2601.09495"][0] == "README.md"


def test_the_latch_of_the_concepts_page_follows_its_equation(site):
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        errors, asked = [], []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "concepts" / "index.html").as_uri())
        page.locator('[data-control="threshold"]').fill("0.5")
        page.locator('[data-preset="noise"]').click()
        seen = page.evaluate("(({input, state}) => ({input, state}))(document.querySelector('[data-latch]').latch)")
        browser.close()
    c = torch.tensor(seen["input"], dtype=torch.float64).reshape(1, -1, 1)
    expected = latch_scan(c, torch.tensor([0.5]).double(), torch.ones(1).double())
    assert torch.equal(torch.tensor(seen["state"]).double(), expected.flatten())
    assert errors == []
    assert all(url.startswith(("file:", "data:")) for url in asked), asked


@pytest.mark.parametrize(("page", "command"), LINES, ids=[f"{page}: {' '.join(words)}" for page, words in LINES])
def test_every_command_is_one_that_the_parser_takes(page, command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    modules = []
    if command[0] == "--import":
        modules, command = command[1:2], command[2:]
    if command[0] == "grid" and not modules and "--address" not in command:
        assert main([*command, "--dry-run"]) == 0
        return
    parsed = COMMANDS[command[0]].module.parser(command).parse_args(command[1:])
    assert json.dumps(list(parsed.as_dict()), default=str)
