"""Writes the tables of agents in rl.md, with their pictures, from the records that `remanent rl` made.

python docs/draw_agents.py    # docs/rl.md and docs/pictures, from results/agents.jsonl
"""

import dataclasses
from pathlib import Path

from remanent._files import replace_between, write_whole
from remanent.report.figures import save_figure
from remanent.report.group_figures import draw_scores
from remanent.report.groups import Group, summarise
from remanent.report.results import read_results
from remanent.report.score_tables import caption, grid_commands, markdown_scores
from results_tables import core_hours, made_by, slug

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- agents -->", "<!-- end of agents -->"
UNITS = ("bmru", "bmru+lru", "lru", "min_gru", "gru", "lstm", "attention")
"""The units, in the order of the tables."""


def main() -> None:
    """Writes the generated part of the page, and a picture of each table with several lengths."""
    page, pictures = ROOT / "docs" / "rl.md", ROOT / "docs" / "pictures"
    records, notes = read_results([ROOT / "results" / "agents.jsonl"])
    for note in notes:
        print(note)
    parts = []
    for group in map(in_order, summarise(records)):
        name = f"agents-{slug(group.label)}"
        parts += [f"### {group.label}", "", caption(group), "", markdown_scores(group), ""]
        if len({column.length for column in group.columns}) > 1:
            save_figure(draw_scores(group, UNITS), pictures / f"{name}.svg")
            parts += [f"![{group.label}: what every unit scores by length](pictures/{name}.svg)", ""]
        parts += ["```console", *grid_commands(group, ("--results", "results/agents.jsonl")), "```", ""]
    made = made_by(records).partition("\n\n")[2]
    hours = core_hours(records)
    took = f"All runs and tests took {hours:.1f} core-hours on a busy machine; some were stopped for a while."
    text = "\n".join([*parts, took, "", made])
    write_whole(page, replace_between(page.read_text(), BEGIN, END, text, page).encode())


def in_order(group: Group) -> Group:
    """The group with the rows that were run, in the order of `UNITS`."""
    rows = [row for row in group.rows if row.runs]
    return dataclasses.replace(group, rows=tuple(sorted(rows, key=lambda row: UNITS.index(row.unit))))


if __name__ == "__main__":
    main()
