"""`remanent export`: a finished run's model for other runtimes."""

from pathlib import Path
from typing import Any

from remanent.cli._shared import make_parser


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser("Writes a finished run's model for another runtime, after comparing both.")
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--format", type=str, default="onnx", help="onnx: a graph for sequences, and one for a step")
    parser.add_argument("--out", type=Path | None, default=None, help="the folder for the files; export/ in the run")
    parser.add_argument("--name", type=str, default="model", help="what the files are called")
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    from rich.console import Console
    from rich.table import Table

    from remanent._options import check_choice
    from remanent.export import FORMATS, export_onnx
    from remanent.training import load_run

    check_choice("--format", options.format, FORMATS)
    _, model = load_run(options.run)
    folder = options.out or options.run / "export"
    table = Table("file", "sequences", "steps", "largest difference", "tipped")
    for check in export_onnx(model, folder, name=options.name):
        compared = (f"{check.sequences}", f"{check.steps:,}", f"{check.largest:.1e}", f"{check.tipped}")
        table.add_row(check.graph, *compared)
    Console().print(f"{folder} holds, compared with torch:", table)
    return 0
