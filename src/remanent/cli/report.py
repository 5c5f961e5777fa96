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
    from remanent.rl.agent_config import is_agent

    runs = without_locks(options.runs)
    of_agents = [run for run in runs if is_agent(run)]
    if of_agents and len(of_agents) < len(runs):
        other = next(run for run in runs if run not in of_agents)
        raise ValueError(f"`RUN` must be runs of `remanent rl` beside {of_agents[0]}, got {other}")
    with progress_bar(len(runs) + 1) as show:
        shared = {
            "results": options.results,
            "split": options.split,
            "said": lambda text: write_line(f"remanent: {text}"),
            "began": lambda number, folder: show(number, f"measuring {folder}"),
        }
        if of_agents:
            if options.data_dir is not None:
                raise ValueError(f"`--data-dir` must not be given for runs of agents, got {options.data_dir}")
            from remanent.rl.agent_pages import write_agent_report

            write_agent_report(runs, options.out, **shared)
        else:
            from remanent.review.pages import write_report

            write_report(runs, options.out, data_dir=options.data_dir, **shared)
    size = f"{options.out.stat().st_size / 1e6:.1f} MB"
    print(f"{options.out} holds the report, with scores of the {options.split} split ({size}).")
    return 0
