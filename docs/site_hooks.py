"""What the site's pages are given as they are built: equations as MathML, and the latch that a reader can draw for."""

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

PARTS = Path(__file__).parents[1] / "src" / "remanent" / "report" / "page_parts"
LATCH = "<!-- latch -->"
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAYED = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


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
