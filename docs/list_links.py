"""Lists the addresses outside of the project that its pages name, each with the pages, for a reader to try.

python docs/list_links.py

Links within the site are checked when it is built: a broken one fails `make docs`. The tests need no network, and so
they try none of these.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ADDRESS = re.compile(r"https?://[^\s)\"'<>`\]]+")


def addresses() -> dict[str, list[str]]:
    """Each address, and the pages that name it."""
    found: dict[str, list[str]] = {}
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]):
        for address in ADDRESS.findall(path.read_text(encoding="utf-8")):
            pages = found.setdefault(address.rstrip(".,;:\\n"), [])
            if str(path.relative_to(ROOT)) not in pages:
                pages.append(str(path.relative_to(ROOT)))
    return dict(sorted(found.items()))


if __name__ == "__main__":
    for address, pages in addresses().items():
        print(f"{address}    {', '.join(pages)}")
