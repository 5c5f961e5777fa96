"""What is added to the pages as the site is built: equations as MathML, the latch to draw for, files from elsewhere."""

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PARTS = ROOT / "src" / "remanent" / "report" / "page_parts"
LATCH = "<!-- latch -->"
BENCH = "bench", "bench-model"
"""The folders of results with the pictures of speed.md, which the page shows from there on GitHub too."""
CONTRIBUTING = "<!-- CONTRIBUTING.md -->"
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAYED = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_files(files: Any, config: Any) -> Any:
    """Adds the pictures that lie beside their numbers."""
    for folder in BENCH:
        for path in sorted((ROOT / "results" / folder).glob("*.png")):
            files.append(File.generated(config, f"pictures/{folder}/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Puts CONTRIBUTING.md in place of its mark, and turns links to the repository into links within the site."""
    if CONTRIBUTING in markdown:
        text = (ROOT / "CONTRIBUTING.md").read_text().replace("](docs/", "](")
        markdown = markdown.replace(CONTRIBUTING, text)
    for folder in BENCH:
        markdown = markdown.replace(f"](../results/{folder}/", f"](pictures/{folder}/")
    return markdown


def on_page_content(content: str, page: Any, config: Any, files: Any) -> str:
    """Replaces the mark of the latch, and every equation."""
    if LATCH in content:
        parts = {name: (PARTS / f"latch.{name}").read_text() for name in ("css", "html", "js")}
        latch = f"<style>{parts['css']}</style>{parts['html']}<script>{parts['js']}</script>"
        content = content.replace(LATCH, latch)
    content = INLINE.sub(lambda found: _mathml(found[1], "inline"), content)
    return DISPLAYED.sub(lambda found: _mathml(found[1], "block"), content)


def _mathml(latex: str, display: str) -> str:
    return convert(html.unescape(latex), display=display)
