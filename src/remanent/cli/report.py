"""`remanent report`: one HTML page about runs, for example for a colleague."""

from pathlib import Path
from typing import Any

from remanent._files import without_locks
from remanent._terminal import progress_bar, write_line
from remanent.cli._shared import make_parser


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser("Measures finished runs, and writes an HTML page, one file that works offline.")
    parser.add_argument(
        "runs", nargs="*", type=Path, default=[], metavar="RUN", help="folders of finished runs of one task"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("report.html"), help="the page, a new file")
    parser.add_argument(
        "--results",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="results files or run folders whose records are shown as tables; put them after RUN",
    )
    shown = "whose scores the tables of --results show: test, or validation at the length trained at"
    parser.add_argument("--split", type=str, default="test", help=shown)
    parser.add_argument("--data-dir", type=str | None, default=None, help="the folder that holds the data set")
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    from remanent.review.pages import write_report

    runs = without_locks(options.runs)
    with progress_bar(len(runs) + 1) as show:
        write_report(
            runs,
            options.out,
            results=options.results,
            split=options.split,
            data_dir=options.data_dir,
            said=lambda text: write_line(f"remanent: {text}"),
            began=lambda number, folder: show(number, f"measuring {folder}"),
        )
    size = f"{options.out.stat().st_size / 1e6:.1f} MB"
    print(f"{options.out} holds the report, with scores of the {options.split} split ({size}).")
    return 0
