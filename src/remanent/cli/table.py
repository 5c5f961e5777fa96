"""`remanent table`: the records of grids and runs as tables."""

import sys
from pathlib import Path
from typing import Any

from remanent._files import write_whole
from remanent._options import check_choice
from remanent.cli._shared import make_parser

RESULTS = Path("results")
"""The folder whose results files are read where no file is named."""


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser("Tables of results files and runs: mean and standard deviation over seeds.")
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        default=[],
        metavar="FILE",
        help="results files of `remanent grid`, or folders of finished runs (default: all results files in results/)",
    )
    parser.add_argument("--task", type=str, nargs="+", default=None, help="only these recipes; put them after FILE")
    shown = "whose scores are shown: test, or validation at the length trained at"
    parser.add_argument("--split", type=str, default="test", help=shown)
    parser.add_argument("--format", type=str, default="md", help="md, csv (a line for every unit and length) or latex")
    parser.add_argument("--out", type=Path | None, default=None, help="a new file to write to, instead of the screen")
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    from remanent.report import FORMATS, find_results, read_results, render, summarise

    check_choice("--format", options.format, FORMATS)
    if options.out is not None and options.out.exists():
        raise FileExistsError(f"`--out` must not exist yet, got {options.out}")
    if options.out is not None and not options.out.parent.is_dir():
        raise FileNotFoundError(f"`--out` must lie in a folder that exists, got {options.out}")
    _check_names(options.task or [])
    records, notes = read_results(options.files or find_results(RESULTS))
    for note in notes:
        print(f"remanent: {note}", file=sys.stderr)
    text = render(summarise(records, options.task, split=options.split), options.format)
    if options.out is None:
        print(text, end="")
    else:
        write_whole(options.out, text.encode(), new=True)
    return 0


def _check_names(names: list[str]) -> None:
    """Raises if a name after `--task` is a file or a run's folder, which the option took for a task."""
    for name in names:
        path = Path(name)
        if path.is_file() or (path.exists() and (path.name != name or (path / "config.json").exists())):
            raise ValueError(f"`--task` must name tasks, got the path {name}; put files before the options")
