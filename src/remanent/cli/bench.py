"""`remanent bench`: scans and layers beside other packages."""

from pathlib import Path
from typing import Any

from remanent.cli._shared import make_parser


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser("Times the library beside other packages, and writes tables and figures.")
    parser.add_argument(
        "names",
        nargs="*",
        default=[],
        metavar="NAME",
        help="sections: scans, floor, layers, threads, streaming, length, shards; all if none",
    )
    parser.add_argument("--out", type=Path, default=Path("bench"), help="a new folder")
    parser.add_argument("--repeats", type=int, default=7, help="how often each case is timed")
    parser.add_argument("--threads", type=int | None, default=None, help="of torch and jax (as many as torch has)")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to try out")
    parser.add_argument("--allocator", type=str, default="default", help="default, or reuse: keep freed memory (glibc)")
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    from remanent.bench import run_bench

    run_bench(
        options.names,
        options.out,
        repeats=options.repeats,
        threads=options.threads,
        quick=options.quick,
        allocator=options.allocator,
    )
    return 0
