"""Makes the table of drop-in replacements: units at the parameters of a GRU, and what each help for a latch is worth.

Every unit is trained at each learning rate with seed 0; the best rate on validation examples is then trained with all
seeds. A row of the ladder, which adds one help at a time, is trained at one rate. Runs that the file holds already are
skipped, so that the command may be stopped and repeated.

python table.py --task mnist-rows --out drop_in.jsonl --jobs 2
python table.py --task mnist-rows --table ladder --out drop_in.jsonl
python table.py --task mnist-rows --rows BMRU MinGRU --out drop_in.jsonl
python table.py --out drop_in.jsonl --page learning.md    # writes every table between its marks
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from train import arguments

from remanent._files import replace_between, write_whole

RATES = (2e-3, 5e-3, 1e-2)
"""The learning rates of the sweep."""
SEEDS = {"units": 5, "ladder": 1}
"""How many seeds a row of each table has."""
LADDER_RATE = 5e-3
"""The learning rate of the ladder."""
STEPS = {"mnist-rows": 4800, "digit-rows": 1200, "spoken-digits": 600}
"""The optimiser steps of a run on each task."""
HELP = ("--write-rates", "--initial-state low", "--taps 4", "--gate-norm batch", "--anneal")
"""What helps a BMRU, in the order of the ladder."""


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        name: what it is called.
        options: the options of train.py that make it.
    """

    name: str
    options: str


def latch(unit: str, *given: str) -> str:
    """The options of a latch with some help."""
    return " ".join([f"--unit {unit}", *given])


UNITS = (
    Row("torch.nn.GRU", "--unit gru"),
    Row("torch.nn.GRU, 4 taps", "--unit gru --taps 4"),
    Row("BMRU", latch("bmru", *HELP)),
    Row("AlphaBMRU", latch("alpha_bmru", "--write-rates", "--taps 4", "--gate-norm batch", "--anneal")),
    Row("AlphaCMRU", latch("alpha_cmru", "--write-rates", "--taps 4", "--gate-norm batch")),
    Row("MinGRU", "--unit min_gru --taps 4"),
    Row("LRU", "--unit lru --taps 4"),
)
"""Units at the parameters of a GRU of 64, each at its best learning rate."""
LADDER = (
    Row("BMRU of 64, thresholds at 1", "--unit bmru --hidden-size 64 --write-span none"),
    Row("BMRU of 64", "--unit bmru --hidden-size 64"),
    Row("the GRU's parameters", "--unit bmru"),
    Row("write rates from data", latch("bmru", *HELP[:1])),
    Row("low start", latch("bmru", *HELP[:2])),
    Row("4 taps in front", latch("bmru", *HELP[:3])),
    Row("gates normalised by batch", latch("bmru", *HELP[:4])),
    Row("... or by layer", latch("bmru", *HELP[:3], "--gate-norm layer")),
    Row("annealed, by batch", latch("bmru", *HELP)),
    Row("... or by layer, annealed", latch("bmru", *HELP[:3], "--gate-norm layer --anneal")),
)
"""One help after another; each row has all of those above it, apart from alternatives ("...")."""
TABLES = {"units": UNITS, "ladder": LADDER}


def wanted(task: str, table: str, done: list[dict[str, Any]], names: list[str] | None = None) -> Iterator[str]:
    """The options of every run that rows of a table still lack; the other seeds once the best rate is known."""
    for row in TABLES[table]:
        if names and row.name not in names:
            continue
        rates = RATES if table == "units" else (LADDER_RATE,)
        missing = [rate for rate in rates if not found(done, task, row, rate, 0)]
        if missing:
            yield from (f"{row.options} --rate {rate} --seed 0" for rate in missing)
            continue
        rate = best_rate(task, table, row, done)
        assert rate is not None
        for seed in range(1, SEEDS[table]):
            if not found(done, task, row, rate, seed):
                yield f"{row.options} --rate {rate} --seed {seed}"


def best_rate(task: str, table: str, row: Row, done: list[dict[str, Any]]) -> float | None:
    """The rate whose run with seed 0 is the best on validation examples; None where a run of the sweep is missing."""
    if table == "ladder":
        return LADDER_RATE
    runs = {rate: found(done, task, row, rate, 0) for rate in RATES}
    return max(runs, key=lambda rate: runs[rate][0]["validation"]) if all(runs.values()) else None


def found(done: list[dict[str, Any]], task: str, row: Row, rate: float | None, seed: int) -> list[dict[str, Any]]:
    """The records of one run."""
    asked = vars(
        arguments().parse_args(["--task", task, "--rate", str(rate), "--seed", str(seed), *row.options.split()])
    )
    counted = [name for name in asked if name not in ("steps", "threads", "set", "out")]
    return [record for record in done if all(record[name] == asked[name] for name in counted)]


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a file, none where there is no file yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def make(task: str, table: str, out: Path, jobs: int, names: list[str] | None = None) -> None:
    """Trains what a table lacks, or those of its rows that are named, several runs at a time."""
    script = Path(__file__).with_name("train.py")

    def run(options: str) -> None:
        own = ["--task", task, "--steps", str(STEPS[task]), "--out", str(out), *options.split()]
        subprocess.run([sys.executable, str(script), *own], check=True, stdout=subprocess.DEVNULL)

    while options := list(wanted(task, table, read(out), names)):
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(run, options))


def markdown(task: str, table: str, done: list[dict[str, Any]]) -> str:
    """A table of mean and standard deviation over the seeds, in %; a row without runs is left out."""
    lines = ["| | parameters | width | learning rate | test accuracy, % | seeds |", "|---|--:|--:|--:|--:|--:|"]
    for row in TABLES[table]:
        rate = best_rate(task, table, row, done)
        records = (
            [] if rate is None else [r for seed in range(SEEDS[table]) for r in found(done, task, row, rate, seed)]
        )
        if not records:
            continue
        scores, first = [100 * r["test"] for r in records], records[0]
        spread = f" ± {statistics.stdev(scores):.1f}" if len(scores) > 1 else ""
        score = f"{statistics.mean(scores):.1f}{spread}"
        cells = (row.name, f"{first['parameters']:,}", first["width"], f"{rate:g}", score, len(scores))
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def write_page(page: Path, done: list[dict[str, Any]]) -> None:
    """Writes every table whose marks a page has."""
    text = page.read_text()
    for task in STEPS:
        for table in TABLES:
            start, end = (f"<!-- {word} {task} {table} -->" for word in ("begin", "end"))
            if start in text:
                text = replace_between(text, start, end, markdown(task, table, done), page)
    write_whole(page, text.encode())


def main() -> None:
    """Trains what is missing, and prints the table; or writes the tables into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=STEPS, default="mnist-rows", help="what is classified")
    parser.add_argument("--table", choices=TABLES, default="units", help="units, or one help after another")
    parser.add_argument("--rows", nargs="*", help="the names of the rows that are trained; else all")
    parser.add_argument("--out", type=Path, required=True, help="the file of records, a line of JSON for each run")
    parser.add_argument("--jobs", type=int, default=1, help="how many runs at a time")
    parser.add_argument("--page", type=Path, help="the page that gets the tables of the runs that the file holds")
    options = parser.parse_args()
    if options.page is not None:
        write_page(options.page, read(options.out))
        return
    make(options.task, options.table, options.out, options.jobs, options.rows)
    print(markdown(options.task, options.table, read(options.out)))


if __name__ == "__main__":
    main()
