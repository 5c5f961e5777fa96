"""An extension of Python-Markdown with what the site adds to its pages, for every generator that takes such extensions.

Marks in comments become other files: CONTRIBUTING.md, a notebook with its outputs, the latch to draw for. Equations
that `pymdownx.arithmatex` has found become MathML. Generators find this file by `PYTHONPATH=docs`.
"""

import html
import json
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.postprocessors import Postprocessor
from markdown.preprocessors import Preprocessor

ROOT = Path(__file__).parents[1]
PARTS = ROOT / "src" / "remanent" / "report" / "page_parts"
LATCH = "<!-- latch -->"
CONTRIBUTING = "<!-- CONTRIBUTING.md -->"
NOTEBOOK = re.compile(r"<!-- notebook ([\w-]+) -->")
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAYED = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


class SiteExtension(Extension):
    """Files in place of their marks, before all else; the latch and the equations, after all else."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - the name that Python-Markdown calls
        """Registers both parts."""
        md.preprocessors.register(Files(md), "site_files", 200)
        md.postprocessors.register(Drawn(md), "site_drawn", -10)


def makeExtension(**options: Any) -> SiteExtension:  # noqa: N802 - the name that Python-Markdown calls
    """The extension, by the name of this file."""
    return SiteExtension(**options)


class Files(Preprocessor):
    """Puts files in place of their marks."""

    def run(self, lines: list[str]) -> list[str]:
        """The lines of a page."""
        text = "\n".join(lines)
        if CONTRIBUTING in text:
            text = text.replace(CONTRIBUTING, (ROOT / "CONTRIBUTING.md").read_text().replace("](docs/", "]("))
        return NOTEBOOK.sub(lambda found: notebook_text(found[1]), text).split("\n")


class Drawn(Postprocessor):
    """Puts the latch in place of its mark, and MathML in place of LaTeX."""

    def run(self, text: str) -> str:
        """The HTML of a page."""
        if LATCH in text:
            parts = {name: (PARTS / f"latch.{name}").read_text() for name in ("css", "html", "js")}
            latch = f"<style>{parts['css']}</style>{parts['html']}<script>{parts['js']}</script>"
            text = text.replace(LATCH, latch)
        text = INLINE.sub(lambda found: _mathml(found[1], "inline"), text)
        return DISPLAYED.sub(lambda found: _mathml(found[1], "block"), text)


def notebook_text(name: str) -> str:
    """A notebook in `docs/notebooks` as Markdown: its text, its code, and the outputs that it was saved with."""
    cells = json.loads((ROOT / "docs" / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        else:
            parts += [f"```python\n{source}\n```", *map(_output, cell["outputs"])]
    return "\n\n".join([*parts, f"[This page as a notebook]({name}.ipynb) runs in Jupyter and on Colab."])


def _output(output: dict[str, Any]) -> str:
    """One output of a cell: a picture if it has one, else its text."""
    data = output.get("data", {})
    if "image/png" in data:
        return f"![What this code draws](data:image/png;base64,{''.join(data['image/png']).strip()})"
    text = "".join(output.get("text") or data.get("text/plain") or "")
    return f"```text\n{text.rstrip()}\n```" if text else ""


def _mathml(latex: str, display: str) -> str:
    return convert(html.unescape(latex), display=display)
