"""`remanent chip`: runs the model of a finished run on an emulated Cortex-M4, and measures what it costs."""

from pathlib import Path
from typing import Any

from remanent._files import to_json
from remanent.cli._shared import make_parser


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser("Runs the C code of a finished run on an emulated Cortex-M4, over the test split.")
    parser.add_argument("run", type=Path, help="the folder of the run, or of a model pruned from it")
    parser.add_argument("--weights", type=str, default="float32", help="float32, or int8 with a scale for each row")
    parser.add_argument(
        "--examples",
        type=int | None,
        default=None,
        help="the number of examples, the first of the test split (default: all)",
    )
    parser.add_argument("--data-dir", type=str | None, default=None, help="the folder that holds the data set")
    parser.add_argument("--json", action="store_true", help="print a line of JSON")
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from remanent.bench import measure_chip
    from remanent.review.pruned import load_model
    from remanent.tasks import METRICS

    experiment, model = load_model(options.run, data_dir=options.data_dir)
    task = experiment.task
    found = measure_chip(model, task, weights=options.weights, examples=options.examples)
    if options.json:
        print(to_json({"run": str(options.run), "weights": options.weights, **found._asdict()}))
        return 0
    table = Table("Cortex-M4", options.weights, title=escape(str(options.run)))
    title = METRICS[task.metric].title
    for name, value in (
        (f"{title} of {found.examples} test examples", f"{found.score:.4f}"),
        ("the same in torch, as trained", f"{found.torch_score:.4f}"),
        ("examples in which both decide the same, with these weights", f"{found.same}"),
        ("instructions per step, mean", f"{found.instructions:,.0f}"),
        ("instructions per step, most", f"{found.most_instructions:,.0f}"),
        ("flash, bytes", f"{found.flash_bytes:,}"),
        ("of these weights", f"{found.weight_bytes:,}"),
        ("RAM for the state of a stream, bytes", f"{found.state_bytes:,}"),
        ("RAM on the stack during a step, bytes", f"{found.stack_bytes:,}"),
    ):
        table.add_row(name, value)
    Console().print(table)
    return 0
