"""The demonstration: two small grids, of three models on one task each, and a page about what their models remember."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.table import Table

from remanent.report.groups import Group, summarise
from remanent.report.results import read_results
from remanent.report.score_tables import caption, table_cells
from remanent.report.tables import format_score
from remanent.review.pages import write_report
from remanent.sweep.board import Board
from remanent.sweep.combinations import GridRun, combinations
from remanent.sweep.grid import GridOptions, run_grid
from remanent.sweep.sampling import Choices
from remanent.tasks import METRICS

UNITS = ("bmru", "lru", "bmru+lru")
"""A bistable unit, a linear one, and a hybrid with half the width of each."""
GRIDS: Mapping[str, Choices] = {"copy-first": {}, "digits": {}}
"""The recipes that are shown, each with the options that differ from it."""
TINY = {"training.steps": ["2"], "training.batch_size": ["2"], "model.hidden_size": ["2"], "model.num_layers": ["1"]}
SMALL: Mapping[str, Choices] = {"copy-first": TINY | {"task.steps": ["1"]}, "digits": TINY | {"task.padding": ["1"]}}
"""The same recipes in seconds, for models that learn nothing: whether everything is there that a training needs."""
THREADS = 2
"""Of torch, for each run; the runs are trained one after the other."""
MINUTES = 10
"""What the whole demonstration takes on two cores, roughly: `results/grid.jsonl` has the seconds of each run."""


def run_demo(
    folder: Path | None = None, *, seed: int = 0, grids: Mapping[str, Choices] = GRIDS, progress: bool = True
) -> Path:
    """Trains and tests the models of every grid, prints their scores, and writes an HTML page for each task.

    The folder comes to hold, for each recipe, RECIPE.html (the page) and RECIPE.jsonl (a record for each model, as
    `remanent grid` writes them), and in runs/ the folders of the runs.

    Args:
        folder: where to write; must not exist. None for `demo`, or `demo-2`, `demo-3`, ... if it does.
        seed: of weights and batches.
        grids: recipes, each with options and their values, as `read_choices` gives them.
        progress: whether bars and tables are drawn.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder exists.
        OSError: it cannot be written.
        RuntimeError: a run failed.
    """
    folder = _free_folder() if folder is None else Path(folder)
    if folder.exists():
        raise FileExistsError(f"`--out` must not exist yet, got {folder}")
    began = time.monotonic()
    of_recipes = {
        recipe: combinations([recipe], UNITS, [seed], choices, threads=THREADS) for recipe, choices in grids.items()
    }
    board = Board(sum(len(runs) for runs in of_recipes.values()), progress)
    board.say(_opening(board.total, grids, folder))
    folder.mkdir(parents=True)
    with board:
        for recipe, runs in of_recipes.items():
            group = _train(runs, folder, recipe, board)
            board.console.print(_scores(group))
            board.console.print(_sentence(group) + "\n")
            page, results = folder / f"{recipe}.html", folder / f"{recipe}.jsonl"
            board.note(f"measuring what these models remember, for {page}")
            write_report([folder / "runs" / run.name for run in runs], page, results=[results])
    pages = " and ".join(str(folder / f"{recipe}.html") for recipe in grids)
    minutes = (time.monotonic() - began) / 60
    board.say(f"Open {pages} in a browser to see what they remember ({minutes:.1f} minutes).")
    return folder


def _opening(count: int, recipes: Iterable[str], folder: Path) -> str:
    """What will be done, where, and how long it takes."""
    how = (
        f"about {MINUTES} minutes on two cores" if recipes is GRIDS else "in two steps, after which scores mean nothing"
    )
    return (
        f"Training {count} small models on {' and '.join(recipes)}, each tested at up to 1,000 times its length, into "
        f"{folder}/: {how}."
    )


def _free_folder() -> Path:
    name, number = Path("demo"), 1
    while name.exists():
        number += 1
        name = Path(f"demo-{number}")
    return name


def _train(runs: list[GridRun], folder: Path, recipe: str, board: Board) -> Group:
    """Trains and tests the runs of one recipe."""
    results = folder / f"{recipe}.jsonl"
    try:
        run_grid(runs, GridOptions(results, folder / "runs", workers=1), board=board)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"- {folder} holds what was finished") from None
    records, _ = read_results([results])
    for record in records:
        if record.status == "failed":
            raise RuntimeError(f"every run of the demonstration must end well, got {record.unit}: {record.error}")
    (group,) = summarise(records)
    return group


def _scores(group: Group) -> Table:
    """The scores of all units at all lengths, for the terminal."""
    header, rows = table_cells(group)
    shown = 1 + len(group.columns)
    table = Table(title=f"{group.recipe}: {caption(group)}")
    for i, name in enumerate(header[:shown]):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*(cell.text for cell in row[:shown]))
    return table


def _sentence(group: Group) -> str:
    """How the score of each unit changes from the shortest length to the longest, whatever it does."""
    ends = group.columns[0], group.columns[-1]
    changes = []
    for row in group.rows:
        first, last = (format_score(row.scores(column)[0], group.metric) for column in ends)
        changes.append(f"from {first} to {last} for {row.label}")
    lengths = f"From {ends[0].length:,} to {ends[1].length:,} {group.length_name}"
    return f"{lengths}, the {METRICS[group.metric].title} goes {', '.join(changes)}."
