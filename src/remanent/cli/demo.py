"""`remanent demo`: three small models on two tasks, and a page about each task."""

from pathlib import Path
from typing import Any

from remanent.cli._shared import make_parser


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser("Trains BMRU, LRU and a hybrid on two tasks, and tests them at up to 1,000 times the length.")
    parser.add_argument("--out", type=Path | None, default=None, help="a new folder (default: demo, or demo-2, ...)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of weights and batches")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    from remanent.demo import run_demo

    run_demo(options.out, seed=options.seed, progress=not options.quiet)
    return 0
