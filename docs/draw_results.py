"""Writes the tables of results.md, with their pictures and commands, from the results files of the grid.

python docs/draw_results.py [--results FOLDER] [--page PAGE]    # results, docs/results.md
"""

import argparse
from pathlib import Path

from remanent._files import replace_between, write_whole
from remanent.report.groups import summarise
from results_ablation import ablation_section
from results_compare import then_and_now, worse_section
from results_goals import Firsts, goals_section, read_firsts
from results_published import published_section
from results_tables import Evidence, budget, made_by, read_evidence, section, section_then, tables_of

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"
FIRST = """## The first tables

Made before write rates, normalised gates and convolutions were there, and kept for comparison. All units of a task had
the options of its recipe, with thresholds that begin at 1 (`model.write_span=null`) and stay so until the first step
(`training.write_rates=false`) where a row says "without write rates"; pictures say "write rates" where it does not.
Other options in brackets were found by hand (`LOG.md`), for a few units and not for all. A failure was looked for up to
1,048,576, for attention less far.
"""


def main() -> None:
    """Writes the page's generated part, and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results.md")
    options = parser.parse_args()
    text = options.page.read_text()
    replace_between(text, BEGIN, END, "", options.page)  # a page without the marks is refused before pictures are drawn
    evidence, notes = read_evidence(options.results)
    for note in notes:
        print(note)
    pictures = options.page.parent / "pictures"
    content, drawn = page_content(evidence, pictures, read_firsts(options.results / "first_examples.jsonl"))
    for path in pictures.glob("results-*.svg"):
        if path.stem not in drawn:
            path.unlink()  # of a table that is no more
    write_whole(options.page, replace_between(text, BEGIN, END, content, options.page).encode())


def page_content(evidence: Evidence, pictures: Path, firsts: Firsts) -> tuple[str, list[str]]:
    """The generated part of the page, and the names of the pictures, which are written."""
    now, then = tables_of(evidence.now), summarise(evidence.then) if evidence.then else []
    before = {group.label: group for group in then}
    small = [run for run in evidence.now if run.config["task"].get("standardise") == "set"] or evidence.small
    parts = [
        f"{budget(evidence)}\n",
        goals_section(now, then, evidence.small, firsts),
        worse_section(now, then),
    ]
    drawn: list[str] = []
    made = [section(group, then_and_now(group, before.get(group.label)), pictures) for group in now]
    made += [ablation_section(evidence.ablation, pictures), (published_section(now, then, small), [])]
    made += [(FIRST, [])] if then else []
    made += [section_then(group, pictures) for group in then]
    for text, names in made:
        parts.append(text)
        drawn += names
    parts.append(made_by([*evidence.now, *evidence.trials, *evidence.ablation, *evidence.then]))
    return "\n".join(parts), drawn


if __name__ == "__main__":
    main()
