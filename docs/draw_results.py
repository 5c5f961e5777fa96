"""Writes the tables of results.md, with their figures and commands, from results files of the grid.

python docs/draw_results.py [FILE ...] [--page PAGE]    # results/grid*.jsonl, docs/results.md
"""

import argparse
import re
from pathlib import Path

from remanent._files import replace_between, write_whole
from remanent.records.record import Record
from remanent.report.figures import save_figure
from remanent.report.group_figures import draw_failing_lengths, draw_scores
from remanent.report.groups import Group, summarise
from remanent.report.results import read_results
from remanent.report.score_tables import caption, grid_commands, markdown_scores
from remanent.tasks import METRICS

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"


def main() -> None:
    """Writes the page's generated part, and a picture or two for every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", default=sorted((ROOT / "results").glob("grid*.jsonl")))
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results.md")
    options = parser.parse_args()
    text = options.page.read_text()
    replace_between(text, BEGIN, END, "", options.page)  # a page without the marks is refused before pictures are drawn
    records, notes = read_results(options.files)
    for note in notes:
        print(note)
    groups = summarise(records) if records else []
    parts = [section(group, options.page.parent / "pictures") for group in groups]
    parts.append(made_by(records) if records else "No runs yet.\n")
    write_whole(options.page, replace_between(text, BEGIN, END, "\n".join(parts), options.page).encode())


def section(group: Group, pictures: Path) -> str:
    """Heading, caption, table, pictures and commands of one group; the pictures are written."""
    pictures.mkdir(exist_ok=True)
    name = "results-" + re.sub(r"[^0-9a-z]+", "-", group.label.lower()).strip("-")
    figures = {name: (draw_scores(group), f"{METRICS[group.metric].title} of every unit")}
    if group.has_failing_lengths:
        figures[f"{name}-failing"] = (draw_failing_lengths(group), "failing length of every unit and seed")
    lines = [f"## {group.label}", "", caption(group), "", markdown_scores(group), ""]
    for stem, (figure, said) in figures.items():
        save_figure(figure, pictures / f"{stem}.svg")
        lines += [f"![{group.label}: {said}](pictures/{stem}.svg)", ""]
    return "\n".join([*lines, "```console", *grid_commands(group), "```", ""])


def made_by(records: list[Record]) -> str:
    """On what machines, with what versions, and of what commits the records were made."""
    commits: dict[tuple[str, str], list[str]] = {}
    for record in records:
        by = record.versions
        if by is None:
            continue
        packages = ", ".join(f"{name} {version}" for name, version in by.packages.items())
        machine = f"{by.processor} ({by.cores} cores), {by.platform}"
        commits.setdefault((machine, f"Python {by.python}, {packages}"), []).append(record.commit or "unknown")
    lines = ["## How it was made", ""]
    for (machine, made_with), of_runs in commits.items():
        said = ", ".join(f"`{commit}` ({of_runs.count(commit)})" for commit in dict.fromkeys(of_runs))
        lines.append(f"- {machine}: {made_with}; {len(of_runs)} runs, of commits (runs) {said}.")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
