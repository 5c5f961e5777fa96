"""Model cards: what a run's record says of its model, as the README.md of a repository."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remanent.models.shared.hub_client import LIBRARY, loading
from remanent.records.lines import parse_line
from remanent.records.record import RECORD_FILE, LengthScore, Record, read_records
from remanent.tasks import METRICS, TASKS
from remanent.training.folder import METRICS_FILE

LICENSE = "apache-2.0"
"""The licence of a model where none is named, as the hub writes it."""


def run_card(run: str | Path, *, repo_id: str = "OWNER/NAME", license: str = LICENSE) -> str:
    """The model card of a finished run, from the record in its folder and the last write rates of its training.

    Args:
        run: the folder of the run.
        repo_id: the repository that the model is loaded from.
        license: the licence of the model, by its name on the hub.

    Returns:
        The text of the card, with the hub's metadata at its head.

    Raises:
        FileNotFoundError: the folder holds no record.
        ValueError: the record is damaged.
    """
    path = Path(run, RECORD_FILE)
    if not path.is_file():
        raise FileNotFoundError(f"`run` must be the folder of a finished run with its {RECORD_FILE}, got {run}")
    (record,) = read_records(path).records
    return model_card(record, write_rates=_write_rates(Path(run)), repo_id=repo_id, license=license)


def model_card(
    record: Record,
    *,
    write_rates: Mapping[str, float] | None = None,
    repo_id: str = "OWNER/NAME",
    license: str = LICENSE,
) -> str:
    """The model card of a record: task, scores by length, failing length, write rates, configuration and versions.

    Args:
        record: of a finished run.
        write_rates: the share of steps that write, by the name of each layer of latches; None where it is not known.
        repo_id: the repository that the model is loaded from.
        license: the licence of the model, by its name on the hub.
    """
    task, metric = str(record.config["task"]["name"]), METRICS[record.metric]
    about = (getattr(TASKS.get(task), "__doc__", None) or "").strip().partition("\n")[0]
    parts = [
        _metadata(record, license),
        f"# {record.recipe}, {record.unit}",
        f"A sequence model of the Python package remanent, trained on the task `{task}`. {about}",
        loading(repo_id),
        f"## Scores\n\nThe metric is the {metric.title}: a perfect model has {_written(record.metric, metric.best)}, "
        f"an answer that ignores the input {_written(record.metric, record.chance)}. The model was trained at "
        f"{record.length:,} {record.length_name}.",
        _scores(record),
    ]
    if record.failing_length is not None:
        parts.append(f"Failing length: 512 fresh words are right at every step up to {record.failing_length:,} steps.")
    if write_rates:
        rows = [f"| `{name}` | {rate:.1%} |" for name, rate in write_rates.items()]
        table = "\n".join(["| layer | steps that write |", "|---|---:|", *rows])
        parts.append(f"## Write rates\n\nThe share of steps that write a channel, on average over channels:\n\n{table}")
    parts += [_training(record), _versions(record), f"## Licence\n\n{license}"]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _metadata(record: Record, license: str) -> str:
    lines = ["---", f"library_name: {LIBRARY}", f"license: {license}", "tags:", f"- {LIBRARY}"]
    lines += [f"- {name}" for name in dict.fromkeys(record.unit.replace(",", "+").split("+"))]
    return "\n".join([*lines, "metrics:", f"- {record.metric}", "---"])


def _scores(record: Record) -> str:
    rows = [("validation", record.validation)] if record.validation else []
    rows += [("test", test) for test in record.tests]

    def row(split: str, score: LengthScore) -> str:
        return f"| {split} | {score.length:,} | {score.examples:,} | {_written(record.metric, score.score)} |"

    head = f"| split | {record.length_name} | examples | {METRICS[record.metric].label} |"
    return "\n".join([head, "|---|---:|---:|---:|", *(row(split, score) for split, score in rows if score)])


def _written(name: str, score: float | None) -> str:
    metric = METRICS[name]
    return "not finite" if score is None else f"{score * metric.scale:.{metric.digits}f}"


def _training(record: Record) -> str:
    changed = ", ".join(f"`{key}` {json.dumps(value)}" for key, value in record.set.items()) or "nothing"
    seconds = f", {record.seconds.train:,.0f} s" if record.seconds else ""
    parameters = "" if record.parameters is None else f"{record.parameters:,} parameters, "
    options = json.dumps(_portable(record.config), indent=2)
    return (
        f"## Training\n\nRecipe `{record.recipe}`, in which {changed} was changed; seed {record.seed}. "
        f"{parameters}{record.steps:,} steps{seconds}.\n\n"
        f"<details><summary>The whole configuration</summary>\n\n```json\n{options}\n```\n\n</details>"
    )


def _portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the folders of the machine that it was used on."""
    named = {key: Path(value).name for key, value in config["task"].items() if key in ("path", "data_dir") and value}
    return {**config, "task": {**config["task"], **named}}


def _versions(record: Record) -> str:
    if record.versions is None:
        return ""
    made = record.versions
    rows = [f"| {name} | {version} |" for name, version in {**made.packages, "Python": made.python}.items()]
    return "\n".join(["## Versions", "", "| package | version |", "|---|---|", *rows])


def _write_rates(run: Path) -> dict[str, float] | None:
    """The last write rates that a training measured, by layer."""
    path = run / METRICS_FILE
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for line in reversed(lines):
        rates = (parse_line(line) or {}).get("write_rates")
        if isinstance(rates, dict):
            return {str(name): float(rate) for name, rate in rates.items()}
    return None
