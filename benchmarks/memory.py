"""The demonstration's models over several seeds: `python benchmarks/memory.py RUNS RESULTS SEED...`.

Trains what RUNS does not hold yet (on one thread, so that seeds can run side by side), tests it on
more examples than the demonstration does, and appends a line of JSON a score to RESULTS.
`python benchmarks/memory.py table RESULTS` prints the medians and every seed's score.
"""

import dataclasses
import json
import statistics
import sys
from pathlib import Path

from rich.console import Console

from remanent.demo import UNITS, Trial, make_experiment, run_tests
from remanent.report import markdown_table
from remanent.training import load_run, start_run

THREADS = 1
TRIALS = (
    Trial("copy-first", "", ((300, 512), (3_000, 512), (30_000, 64), (300, 8), (1_000_000, 8))),
    Trial("digits", "", ((136, 360), (1_360, 360), (13_600, 120), (136, 72), (136_000, 72))),
)


def main() -> None:
    """Runs the seeds, or prints the table."""
    if sys.argv[1] == "table":
        print(table(Path(sys.argv[2])))
        return
    runs, results = Path(sys.argv[1]), Path(sys.argv[2])
    for seed in map(int, sys.argv[3:]):
        for trial in TRIALS:
            models, experiments = {}, {}
            for unit in UNITS:
                folder = runs / f"seed{seed}" / "runs" / f"{trial.recipe}-{unit}"
                asked = make_experiment(trial.recipe, unit, seed)
                training = dataclasses.replace(asked.training, threads=THREADS)
                asked = dataclasses.replace(asked, training=training)
                if not folder.exists():
                    start_run(asked, folder)
                experiments[unit], models[unit] = load_run(folder)
                if (experiments[unit].task, experiments[unit].model) != (asked.task, asked.model):
                    raise ValueError(f"{folder} must be a run of the recipe {trial.recipe}, got another")
            run_tests(models, experiments, trial, results, Console())


def table(results: Path) -> str:
    """Medians over seeds, and every seed's score in brackets, by unit and test."""
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    parts = []
    for trial in TRIALS:
        metric = "mse" if trial.recipe == "copy-first" else "accuracy"
        rows = []
        for unit in UNITS:
            row = [unit]
            for length, examples in trial.tests:
                asked = (trial.recipe, unit, length, examples)
                found = {
                    line["seed"]: line[metric]
                    for line in lines
                    if (line["recipe"], line["unit"], line["length"], line["examples"]) == asked
                }
                row.append(_cell([found[seed] for seed in sorted(found)], metric))
            rows.append(row)
        header = ["unit", *(f"{length:,} ({n})" for length, n in trial.tests)]
        parts.append(markdown_table(header, rows))
    return "\n\n".join(parts)


def _cell(scores: list[float], metric: str) -> str:
    if not scores:
        return "missing"
    shown = [f"{100 * s:.1f}" if metric == "accuracy" else f"{s:.4f}" for s in (statistics.median(scores), *scores)]
    return f"{shown[0]} ({', '.join(shown[1:])})"


if __name__ == "__main__":
    main()
