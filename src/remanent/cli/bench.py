"""`remanent bench`: times scans and layers beside other packages."""

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
        help="sections: scans, floor, layers, threads, transition, streaming, step, model, length, packed, shards, "
        "replay (default: all); or gpu, alone or with right, fast, learn: the parts of the bench on a GPU",
    )
    parser.add_argument("--out", type=Path, default=Path("bench"), help="a new folder")
    parser.add_argument("--repeats", type=int, default=7, help="how often each case is timed")
    parser.add_argument(
        "--threads", type=int | None, default=None, help="threads of torch and jax (default: those of torch)"
    )
    parser.add_argument("--quick", action="store_true", help="use tiny shapes, to try it out")
    parser.add_argument(
        "--allocator", type=str, default="default", help="default, or reuse: freed memory is kept (glibc)"
    )
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    from remanent.bench import run_bench

    if options.names[:1] == ["gpu"]:
        from remanent.bench.gpu import Settings, run_gpu

        return run_gpu(options.names[1:], options.out, settings=Settings(tiny=options.quick))

    run_bench(
        options.names,
        options.out,
        repeats=options.repeats,
        threads=options.threads,
        quick=options.quick,
        allocator=options.allocator,
    )
    return 0
