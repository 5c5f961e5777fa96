"""Writes the tables of scaling.md: what was measured, from a results file, and what the model of the cost computes.

python docs/draw_scaling.py [--results FILE] [--page PAGE]    # results/bench-shards/bench.json, docs/scaling.md
"""

import argparse
import json
from pathlib import Path
from typing import Any

from remanent._files import replace_between, write_whole
from remanent.bench.scaling_tables import longest_table, scaling_table
from remanent.bench.shards import device_of

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Writes what stands between the page's marks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "bench-shards" / "bench.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "scaling.md")
    options = parser.parse_args()
    text = options.page.read_text()
    measured = json.loads(options.results.read_text())
    for name, table in (
        ("measured", measured_table(measured)),
        ("computed", scaling_table()),
        ("longest", longest_table()),
    ):
        text = replace_between(text, f"<!-- begin {name} -->", f"<!-- end {name} -->", table, options.page)
    write_whole(options.page, text.encode())


def measured_table(found: dict[str, Any]) -> str:
    """Times of the section, beside what the model computes of them; what made them below."""
    lines = [
        "| | B | T | D | median | over one process | computed over measured |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["rows"]:
        if "B" not in row["shape"]:
            continue
        sizes = " | ".join(f"{row['shape'][axis]:,}" for axis in "BTD")
        ratios = [row["ratios"].get(name) for name in ("over one process", "computed over measured")]
        shown = " | ".join("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
        lines.append(f"| {row['case']} | {sizes} | {1e3 * row['median']:,.1f} ms | {shown} |")
    device = device_of({row["case"]: row["median"] for row in found["rows"]})
    lines += [
        "",
        f"By `{found['command']}`: {found['cpu']}, {found['cores']} cores, torch {found['versions']['torch']}, "
        f"medians of {found['repeats']}. "
        "The model's rates, of the same run: "
        f"{device.products / 1e9:.0f} GFLOP/s in products, "
        f"copies of {device.copies / 1e9:.1f} GB/s, "
        f"{device.link / 1e9:.2f} GB/s and "
        f"{1e3 * device.latency:.2f} ms between the processes.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
