"""`remanent evaluate`: scores a finished run at any length."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remanent._files import to_json
from remanent._restore import threads_allowed
from remanent._terminal import progress_bar
from remanent.cli import rl
from remanent.cli._shared import make_parser


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser(
        "Scores a finished run at any length, that of an agent in 200 episodes; long sequences are read in chunks, and "
        "the state is carried over."
    )
    parser.add_argument("run", type=Path, help="the folder of the run, or of a model pruned from it")
    parser.add_argument(
        "--length",
        type=int,
        nargs="+",
        default=None,
        help="lengths, as the task counts: steps, or empty steps after an image (default: as trained)",
    )
    parser.add_argument("--split", type=str, default="test", help="the split: test or validation")
    parser.add_argument(
        "--examples",
        type=int | None,
        default=None,
        help="the number of examples, the first of the split (default: all)",
    )
    parser.add_argument("--batch-size", type=int, default=64, help="the number of sequences read at once")
    parser.add_argument(
        "--failing-limit",
        type=int | None,
        default=None,
        help="search for the longest words that are all right, up to this length",
    )
    parser.add_argument("--data-dir", type=str | None, default=None, help="the folder that holds the data set")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each length")
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    from remanent.rl.agent_config import is_agent

    if is_agent(options.run):
        return rl.evaluate(options)
    import torch
    from rich.console import Console
    from rich.table import Table

    from remanent.review.pruned import load_model
    from remanent.tasks import METRICS
    from remanent.training import failing_length

    experiment, model = load_model(options.run, data_dir=options.data_dir)
    torch.set_num_threads(threads_allowed(experiment.training.threads))
    task = experiment.task
    title = METRICS[task.metric].title
    count = task.split_size(options.split) if options.examples is None else options.examples
    table = Table(task.length_name, title)
    for length, score in _scores(options, model, task, count):
        if options.json:
            line = {"run": str(options.run), "split": options.split, "examples": count, "length": length}
            print(to_json({**line, task.metric: score}), flush=True)
        table.add_row(f"{length:,}", f"{score:.4f}")
    if not options.json:
        print(f"{options.run}: {count:,} examples of the {options.split} split")
        Console().print(table)
        _print_classes(options, model, task, count)
    if options.failing_limit is not None:
        found = failing_length(model, task, limit=options.failing_limit)
        line = {"run": str(options.run), "failing_length": found, "limit": options.failing_limit}
        print(to_json(line) if options.json else f"Right at every step up to {found:,} {task.length_name}.")
    return 0


def _print_classes(options: Any, model: Any, task: Any, count: int) -> None:
    """How many examples of each class are right at the length trained at, where classes have names."""
    from rich.console import Console
    from rich.table import Table

    from remanent.review.measures import confusion

    asked = task.class_names and task.length in (options.length or [task.length])
    counts = confusion(model, task, count, options.split) if asked else None
    if counts is None:
        return
    table = Table("class", "right", "of")
    for name, right, found in zip(task.class_names, counts.diagonal().tolist(), counts.sum(1).tolist(), strict=True):
        table.add_row(name, f"{right:,}", f"{found:,}")
    Console().print(table)


def _scores(options: Any, model: Any, task: Any, count: int) -> Iterator[tuple[int, float]]:
    """Each length with its score, one after the other, while a bar counts the examples by their length."""
    from remanent.training import evaluate

    lengths = list(dict.fromkeys(options.length or [task.length]))
    total = count * sum(max(1, length) for length in lengths)
    before = 0
    with progress_bar(max(1, total), lines=not options.json) as show:
        for length in lengths:
            note, cost = f"scoring {length:,} {task.length_name}", max(1, length)
            show(before, note)
            score = evaluate(
                model,
                task,
                length=length,
                split=options.split,
                examples=options.examples,
                batch_size=options.batch_size,
                done=lambda examples, note=note, cost=cost, before=before: show(before + examples * cost, note),  # type: ignore[misc]
            )
            before += count * cost
            yield length, score
