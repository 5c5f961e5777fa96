"""A matplotlib figure as the bytes of a file."""

import io
from typing import Any


def figure_bytes(figure: Any, kind: str) -> bytes:
    """The bytes of a figure as "png" or "svg", the same for the same figure."""
    import matplotlib

    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "remanent"}):
        figure.savefig(content, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)
    return content.getvalue()
