"""`remanent demo`: three small models on two tasks, and a page about each task."""

from pathlib import Path
from typing import Any

from remanent.cli._shared import make_parser


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser("Trains BMRU, LRU and a hybrid on two tasks, and tests them at up to 1,000 times the length.")
    parser.add_argument("--out", type=Path | None, default=None, help="a new folder (default: demo, or demo-2, ...)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of weights and batches")
    parser.add_argument(
        "--small", action="store_true", help="two steps of training for each model: whether all is there"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    from remanent.demo import GRIDS, SMALL, run_demo

    grids = SMALL if options.small else GRIDS
    run_demo(options.out, seed=options.seed, grids=grids, progress=not options.quiet)
    return 0
