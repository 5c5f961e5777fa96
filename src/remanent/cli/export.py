"""`remanent export`: writes the model of a finished run for other runtimes."""

from pathlib import Path
from typing import Any

from remanent._terminal import progress_bar
from remanent.cli._shared import make_parser


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser("Writes the model of a finished run for another runtime, and compares both.")
    parser.add_argument("run", type=Path, help="the folder of the run, or of a model pruned from it")
    parser.add_argument(
        "--format",
        type=str,
        default="onnx",
        help="onnx: a graph for sequences and one for a step; c: C99 for a step; arduino: this C as a library, a zip",
    )
    parser.add_argument(
        "--out", type=Path | None, default=None, help="the folder for the files (default: export/ in the run)"
    )
    parser.add_argument(
        "--name", type=str, default="model", help="the name of the files, and in C the prefix of all names"
    )
    parser.add_argument(
        "--weights", type=str, default="float32", help="the weights in C: float32, or int8 with a scale for each row"
    )
    parser.add_argument("--data-dir", type=str | None, default=None, help="a folder that holds the data set, for int8")
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    from remanent._options import check_choice
    from remanent.export import FORMATS
    from remanent.models import SequenceModel
    from remanent.review.pruned import load_model
    from remanent.training.folder import is_finished

    check_choice("--format", options.format, FORMATS)
    if options.format == "onnx" and options.weights != "float32":
        raise ValueError(f"`--weights` must be float32 unless --format is c or arduino, got {options.weights}")
    if options.weights == "float32" and is_finished(options.run):  # the model is enough, whatever became of its data
        model, task = SequenceModel.load(options.run), None
    else:  # which also says what is missing where a run is not finished
        experiment, model = load_model(options.run, data_dir=options.data_dir)
        task = experiment.task
    folder = options.out or options.run / "export"
    if options.format == "onnx":
        _write_onnx(options, model, folder)
    else:
        _write_c(options, task, model, folder)
    return 0


def _write_onnx(options: Any, model: Any, folder: Path) -> None:
    from remanent.export import export_onnx, time_graph
    from remanent.export.onnx import require_packages

    require_packages()  # before anything is said to be done
    with progress_bar(1) as show:
        show(0, "tracing the model, and comparing its graphs with torch")
        checks = export_onnx(model, folder, name=options.name)
        steps = folder / f"{options.name}-step.onnx"
        taken = time_graph(steps) if steps.exists() else None
    _print_checks(folder, checks)
    _print_time(taken)


def _write_c(options: Any, task: Any, model: Any, folder: Path) -> None:
    """Writes the module; with a task, for int8 weights, both models are also scored on its test split."""
    from rich.console import Console
    from rich.table import Table

    from remanent.export import export_arduino, export_c, time_step
    from remanent.tasks import METRICS
    from remanent.training import evaluate

    scores: list[tuple[str, float]] = []
    if task is not None:
        task.split_size("test")  # raises where data are missing, before anything is written
    export = export_c if options.format == "c" else export_arduino
    with progress_bar(3) as show:
        show(0, "writing C, and comparing it with torch")
        module = export(model, folder, name=options.name, weights=options.weights)
        taken = time_step(module)
        if task is not None:
            for i, (weights, scored) in enumerate((("float32", model), (options.weights, module.model)), 1):
                show(i, f"scoring the model of {weights} on the test split")
                scores.append((weights, evaluate(scored, task)))
    if module.check is None:
        files = " and ".join(module.sources) if options.format == "c" else f"{options.name}.zip"
        said = f"{folder} holds {files}, not compared: there is no C compiler."
        Console().print(said, markup=False)
    else:
        _print_checks(folder, [module.check])
        if options.format == "arduino":
            Console().print(f"{options.name}.zip is that module as a library for Arduino's IDE.", markup=False)
    print(f"{module.weight_bytes:,} bytes of weights, {module.state_bytes:,} bytes of state for each stream.")
    if module.class_names:
        print(f"{options.name}_classify gives the name of a class: {', '.join(module.class_names)}.")
    _print_time(taken)
    if scores:
        table = Table("weights", f"{METRICS[task.metric].title} on the test split")
        for weights, score in scores:
            table.add_row(weights, f"{score:.4f}")
        Console().print(table)


def _print_time(taken: Any) -> None:
    if taken is not None:
        where = f"by {taken.runner}, one thread of this machine's {taken.processor}"
        rate = f"{taken.seconds * 1e6:,.2f} µs ({1 / taken.seconds:,.0f} a second)"
        print(f"One step of one stream takes {rate} {where}.")


def _print_checks(folder: Path, checks: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("file", "sequences", "steps", "largest difference", "tipped")
    for check in checks:
        compared = (f"{check.sequences}", f"{check.steps:,}", f"{check.largest:.1e}", f"{check.tipped}")
        table.add_row(check.file, *compared)
    Console().print(f"{folder} holds, compared with torch:", table, markup=False)
