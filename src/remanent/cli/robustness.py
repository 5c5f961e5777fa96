"""`remanent robustness`: scores a finished run with imprecise parameters, noisy inputs and weights of few bits."""

from pathlib import Path
from typing import Any

from remanent._files import new_folder, to_json, write_json
from remanent._restore import threads_allowed
from remanent.cli._shared import make_parser


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser("Scores a finished run under parameter noise, input noise and with weights of few bits.")
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--draws", type=int, default=5, help="how often each noise is drawn")
    parser.add_argument(
        "--noise",
        type=float,
        nargs="*",
        default=[0.05, 0.1, 0.15],
        help="parameter noise: three standard deviations of the relative error",
    )
    parser.add_argument(
        "--input-noise",
        type=float,
        nargs="*",
        default=None,
        help="input noise: standard deviations over that of the inputs (default: 0.1 0.2 0.5; none for tokens)",
    )
    parser.add_argument("--bits", type=int, nargs="*", default=[8, 4], help="bits of the weights, each from 2 to 8")
    parser.add_argument(
        "--length", type=int | None, default=None, help="steps, or empty steps after an image (default: as trained)"
    )
    parser.add_argument("--split", type=str, default="test", help="the split: test or validation")
    parser.add_argument(
        "--examples",
        type=int | None,
        default=None,
        help="the number of examples, the first of the split (default: all)",
    )
    parser.add_argument("--seed", type=int, default=0, help="the seed of all noise")
    parser.add_argument("--data-dir", type=str | None, default=None, help="the folder that holds the data set")
    parser.add_argument("--out", type=Path | None, default=None, help="a new folder (default: robustness/ in the run)")
    parser.add_argument("--json", action="store_true", help="print the content of robustness.json as a line of JSON")
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    import torch

    from remanent.report.disturbance_tables import robustness_figure
    from remanent.report.figures import save_figure
    from remanent.review import robustness
    from remanent.training import load_run

    experiment, model = load_run(options.run, data_dir=options.data_dir)
    folder = options.out or options.run / "robustness"
    if folder.exists():
        raise FileExistsError(f"`--out` must not exist yet, got {folder}; choose another folder")
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"`--out` must lie in a folder that exists, got {folder}")
    torch.set_num_threads(threads_allowed(experiment.training.threads))
    with new_folder(folder) as staged:
        measured = robustness(
            model,
            experiment.task,
            noise=options.noise,
            input_noise=options.input_noise,
            bits=options.bits,
            draws=options.draws,
            seed=options.seed,
            length=options.length,
            split=options.split,
            examples=options.examples,
            progress=not options.json,
        )
        record = {"run": str(options.run), "config": experiment.to_dict(), **measured}
        write_json(staged / "robustness.json", record)
        save_figure(robustness_figure(record), staged / "robustness.png")
    if options.json:
        print(to_json(record))
    else:
        _print(record, folder)
    return 0


def _print(record: dict[str, Any], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from remanent.report.disturbance_tables import robustness_rows
    from remanent.tasks import METRICS

    where = f"{record['length']:,} {record['length_name']}, {record['examples']:,} examples of {record['split']}"
    table = Table("disturbed", METRICS[record["metric"]].label)
    for row in robustness_rows(record):
        table.add_row(*row)
    console = Console()
    console.print(f"{where}; mean ± standard deviation over draws: {record['draws']}", highlight=False)
    console.print(table)
    console.print(f"{folder} holds robustness.json and robustness.png.", highlight=False, markup=False)
