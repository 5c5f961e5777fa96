"""`remanent grid`: trains and tests every combination of recipes, units, seeds and options, each once."""

from pathlib import Path
from typing import Any

from remanent.cli._shared import make_parser

DESCRIPTION = (
    "Trains and tests every combination, and appends a record, a line of JSON, for each. Runs that the results hold "
    "already are skipped, and interrupted runs are resumed: the same command may be killed and repeated, or run twice "
    "at once."
)


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser(DESCRIPTION)
    parser.add_argument("--task", type=str, nargs="+", default=[], help="recipes, as `remanent list` shows them")
    parser.add_argument(
        "--unit", type=str, nargs="+", default=["bmru"], help="units, as `--model.unit` of `remanent train` reads them"
    )
    parser.add_argument(
        "--seed", type=str, nargs="+", default=["0"], help="seeds: numbers, or ranges such as 0:5 (0 to 4)"
    )
    parser.add_argument(
        "--set",
        type=str,
        nargs="+",
        action="append",
        default=[],
        metavar="KEY=VALUE,VALUE",
        help="an option task.X, model.X or training.X and its values; several options are combined",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results/grid.jsonl"),
        help="the results file, to which records are appended",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/grid"), help="the folder that holds the runs' folders")
    parser.add_argument("--threads", type=int, default=1, help="torch threads of each run")
    many = "runs at a time (default: 1; with Ray, cores // threads)"
    parser.add_argument("--workers", type=int | None, default=None, help=many)
    shared = "the address of a Ray cluster; its nodes must share --storage, or the folders of --results and --runs"
    parser.add_argument("--address", type=str | None, default=None, help=shared)
    where = "a path, or an address that fsspec reads, under which the runs' folders are kept for all nodes"
    parser.add_argument("--storage", type=str | None, default=None, help=where)
    parser.add_argument("--gpus", type=float, default=0.0, help="the number of GPUs that a run takes, such as 0.5")
    parser.add_argument("--retries", type=int, default=2, help="how often a run whose process died is tried again")
    parser.add_argument("--retry-failed", action="store_true", help="repeat runs that have failed")
    parser.add_argument(
        "--failing-limit", type=int, default=2**20, help="the longest word in the search for the failing length"
    )
    parser.add_argument("--data-dir", type=str | None, default=None, help="the folder that holds the data set")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and their status, and do nothing else")
    parser.add_argument("--quiet", action="store_true", help="draw no progress bar and print no line for each run")
    return parser


def run(options: Any) -> int:
    """Runs the command; the exit status is 1 if a run of the grid has failed."""
    from remanent.sweep.combinations import combinations, read_choices, read_seeds
    from remanent.sweep.grid import GridOptions, run_grid, statuses

    if not options.task:
        raise ValueError("`--task` must name at least one recipe (`remanent list` shows them), got none")
    runs = combinations(
        options.task,
        options.unit,
        read_seeds(options.seed),
        read_choices([word for words in options.set for word in words]),
        threads=options.threads,
        data_dir=options.data_dir,
    )
    grid = GridOptions(
        options.results,
        options.runs,
        workers=options.workers,
        address=options.address,
        storage=options.storage,
        gpus=options.gpus,
        retries=options.retries,
        retry_failed=options.retry_failed,
        failing_limit=options.failing_limit,
        modules=tuple(options.modules),
    )
    if options.dry_run:
        found = statuses(runs, options.results)
        for each in runs:
            print(f"{found[each.id]:8} {each.name} {' '.join(f'{k}={v}' for k, v in each.overrides.items())}".rstrip())
        print(f"{_runs(len(runs))}, {list(found.values()).count('missing')} of them missing.")
        return 0
    summary = run_grid(runs, grid, progress=not options.quiet)
    counts = f"{summary.done} done, {summary.failed} failed, {summary.skipped} there already"
    failed = summary.failed + summary.failed_before
    print(f"{_runs(len(runs))}: {counts}; {options.results} has them.")
    if failed:
        print(f"{failed} have failed; `--retry-failed` does them again.")
    return int(failed > 0)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
