"""`remanent grid`: trains and tests combinations of recipes, units, seeds and options, or the best of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from remanent.cli._shared import make_parser

if TYPE_CHECKING:
    from remanent.sweep.combinations import GridRun
    from remanent.sweep.grid import GridOptions, Summary

DESCRIPTION = (
    "Trains and tests every combination, and appends a record, a line of JSON, for each. Runs that the results hold "
    "already are skipped, and interrupted runs are resumed: the same command may be killed and repeated, or run twice "
    "at once. With --choose, the best setting of each recipe and unit is searched first, and it alone is tested."
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
        help="an option task.X, model.X or training.X and its values; several options are combined; with --sample "
        "also a range LOW:HIGH, or LOW:HIGH:log",
    )
    drawn = "how many settings of --set are drawn, the same for every recipe and unit (default: all are run)"
    parser.add_argument("--sample", type=int | None, default=None, metavar="N", help=drawn)
    chosen = "validation: every setting is trained with one seed; the best on validation is run with all, and tested"
    parser.add_argument("--choose", type=str | None, default=None, help=chosen)
    steps = "the training steps of a trial of --choose (default: those of the run)"
    parser.add_argument("--search-steps", type=int | None, default=None, metavar="N", help=steps)
    seeded = "the seed of the draw and of the trials (default: the first of --seed)"
    parser.add_argument("--search-seed", type=int | None, default=None, metavar="N", help=seeded)
    trials = "the results file of the trials, which are not tested (default: trials/NAME beside --results)"
    parser.add_argument("--trials", type=Path | None, default=None, help=trials)
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
    """Runs the command; the exit status is 1 if a run of the grid has failed, or nothing could be chosen."""
    from remanent.sweep.combinations import combinations, read_choices, read_seeds
    from remanent.sweep.grid import GridOptions, run_grid, statuses
    from remanent.sweep.sampling import Sample

    _check(options)
    choices, seeds = read_choices([word for words in options.set for word in words]), read_seeds(options.seed)
    search_seed = seeds[0] if options.search_seed is None else options.search_seed
    runs = combinations(
        options.task,
        options.unit,
        seeds if options.choose is None else [search_seed],
        choices,
        sample=None if options.sample is None else Sample(options.sample, search_seed),
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
    if options.choose is not None:
        return _search(options, runs, seeds, choices, grid)
    if options.dry_run:
        return _list(runs, statuses(runs, options.results))
    return _report(run_grid(runs, grid, progress=not options.quiet), "run", options.results)


def _check(options: Any) -> None:
    """Raises where options are missing, or are given without the one that they belong to."""
    from remanent._options import check_at_least, check_choice
    from remanent._plugins import suggested
    from remanent.rl.environments import ENVIRONMENTS
    from remanent.sweep.search import CHOOSE
    from remanent.training.recipes import RECIPES

    if not options.task:
        raise ValueError("`--task` must name at least one recipe (`remanent list` shows them), got none")
    world = next((name for name in options.task if name in ENVIRONMENTS and name not in RECIPES), None)
    if world is not None:
        series = suggested("rl", world, "--unit", *options.unit, "--results", str(options.results))
        raise ValueError(f"`--task` must name recipes, got the environment {world}; a series of agents is {series}")
    if options.choose is not None:
        check_choice("--choose", options.choose, CHOOSE)
    if options.search_seed is not None:
        check_at_least("--search-seed", options.search_seed, 0)
        if options.choose is None and options.sample is None:
            raise ValueError(f"`--search-seed` must go with `--sample` or `--choose`, got {options.search_seed} alone")
    for name, value in (("--search-steps", options.search_steps), ("--trials", options.trials)):
        if value is not None and options.choose is None:
            raise ValueError(f"`{name}` must go with `--choose`, got {value} alone")


def _search(options: Any, settings: "list[GridRun]", seeds: list[int], choices: Any, grid: "GridOptions") -> int:
    """Chooses among settings, and runs what is chosen."""
    from remanent.sweep.grid import statuses
    from remanent.sweep.search import Search, run_search, trials_file, trials_of

    search = Search(choices, options.trials or trials_file(options.results), options.search_steps)
    if options.dry_run:
        trials = trials_of(settings, search)
        return _list(trials, statuses(trials, search.trials))
    summary = run_search(settings, seeds, search, grid, progress=not options.quiet, said=print)
    _report(summary.trials, "trial", search.trials)
    status = _report(summary.runs, "run", options.results)
    if summary.unmarked:
        print(f"{summary.unmarked} of them were there before, as runs whose options were not chosen.")
    return int(status > 0 or bool(summary.undecided))


def _list(runs: "list[GridRun]", found: dict[str, str]) -> int:
    """Lists runs with their status in the results."""
    from remanent.report.tables import counted

    for run in runs:
        print(f"{found[run.id]:8} {run.name} {' '.join(f'{k}={v}' for k, v in run.overrides.items())}".rstrip())
    print(f"{counted(len(runs), 'run')}, {list(found.values()).count('missing')} of them missing.")
    return 0


def _report(summary: "Summary", noun: str, results: Path) -> int:
    """Says how runs ended; gives 1 if any has failed."""
    from remanent.report.tables import counted

    total = summary.done + summary.failed + summary.skipped
    counts = f"{summary.done} done, {summary.failed} failed, {summary.skipped} there already"
    failed = summary.failed + summary.failed_before
    print(f"{counted(total, noun)}: {counts}; {results} has them.")
    if failed:
        print(f"{failed} have failed; `--retry-failed` does them again.")
    return int(failed > 0)
