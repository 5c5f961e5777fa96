"""The command line of the bench on a GPU, which needs no package beside torch, Triton and Numba."""

import argparse
import sys
from pathlib import Path

from remanent.bench.gpu.cases import Settings
from remanent.bench.gpu.supervise import PARTS, SECONDS, run_gpu, work


def main(arguments: list[str] | None = None) -> int:
    """Runs the parts that are named, all three without a name; returns 0 if every check of "right" passed."""
    parser = argparse.ArgumentParser(prog="python -m remanent.bench.gpu", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"), help="the folder of the JSON files")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together")
    parser.add_argument("--data-dir", default=None, help="a folder with MNIST's IDX files")
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--tiny", action="store_true", help="tiny sizes, to try out: with Triton's interpreter on a CPU"
    )
    parser.add_argument("--only", default="", help="cases in whose name this regular expression is found")
    parser.add_argument("--again", action="store_true", help="run what has passed before, too, by the same code")
    parser.add_argument("--learn-seconds", type=float, default=55.0, help="how long a model is trained")
    parser.add_argument("--worker", nargs=2, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = ("device", "tiny", "data_dir", "only", "again", "learn_seconds")
    settings = Settings(**{name: getattr(options, name) for name in names})
    if options.worker is not None:
        part, events = options.worker
        return work(part, Path(events), settings)
    return run_gpu(options.parts, options.out, settings=settings, seconds=options.seconds)


if __name__ == "__main__":
    sys.exit(main())
