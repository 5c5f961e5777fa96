"""The record of a run that has ended: its configuration, and the scores of its model at several lengths."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from remanent._files import read_json, write_whole
from remanent._machine import commit, versions
from remanent._restore import threads_set
from remanent.models import SequenceModel
from remanent.models.saved import CONFIG_FILE
from remanent.records.chosen import Chosen
from remanent.records.configuration import Experiment
from remanent.records.identity import identity
from remanent.records.record import RECORD_FILE, LengthScore, Record, Seconds, Versions, encode_record, read_records
from remanent.training.evaluate import evaluate, failing_length
from remanent.training.folder import VERSIONS_FILE, load_run, owned, steps_taken
from remanent.training.seconds import training_seconds
from remanent.training.variants import Variant, variant_of

FACTORS = (1, 10, 100, 1000)
"""The multiples of the training length that a grid tests."""
STEPS = 1_000_000
"""The number of steps that the examples of a test have together, if the split holds enough examples."""
FEWEST = 16
"""The fewest examples of a test."""
FEWEST_VALIDATED = 512
"""The fewest examples of the validation split by which a run is chosen, if it holds as many."""
ATTENTION_LENGTH, ATTENTION_LIMIT = 10_000, 4096
"""The longest test and the longest word for attention, whose cost grows with the square of the length."""
SHARE = 0.2
"""The steps that `quick_tests` may read in all, as a share of those that training read."""
WRITE_SECONDS = 60.0
"""How long another process that writes the same record is waited for."""


class LengthTest(NamedTuple):
    """A length at which a run is tested, and the number of examples."""

    length: int
    examples: int


def grid_tests(experiment: Experiment) -> list[LengthTest]:
    """The tests of a run in a grid, from the training length to a thousand times that length.

    >>> from remanent.training.recipes import RECIPES
    >>> grid_tests(RECIPES["copy-first"]())[:2]
    [LengthTest(length=300, examples=512), LengthTest(length=3000, examples=333)]
    """
    task = experiment.task
    lengths = sorted({task.length * factor for factor in FACTORS})
    if task.longest is not None:
        lengths = [length for length in lengths if length <= task.longest]
    if _attends(experiment):
        lengths = [length for length in lengths if length <= max(task.length, ATTENTION_LENGTH)]
    size = task.split_size("test")
    return [LengthTest(length, min(size, max(FEWEST, STEPS // max(length, 1)))) for length in lengths]


def validation_test(experiment: Experiment) -> LengthTest:
    """What of the validation split is scored at the end of a run: at the training length, and nothing longer.

    >>> from remanent.training.recipes import RECIPES
    >>> validation_test(RECIPES["copy-first"]())
    LengthTest(length=300, examples=512)
    """
    length, size = experiment.task.length, experiment.task.split_size("validation")
    return LengthTest(length, min(size, max(FEWEST_VALIDATED, STEPS // max(length, 1))))


def quick_tests(experiment: Experiment) -> list[LengthTest]:
    """The tests of a grid that cost little compared with the training: at the training length, and longer ones that do.

    >>> from remanent.training.recipes import RECIPES
    >>> [test.length for test in quick_tests(RECIPES["copy-first"]())]
    [300, 3000]
    """
    first, *longer = grid_tests(experiment)
    training = experiment.training
    left = SHARE * training.steps * training.accumulate * training.batch_size * experiment.task.length
    left -= first.length * first.examples
    tests = [first]
    for test in longer:
        left -= test.length * test.examples
        if left < 0:
            break
        tests.append(test)
    return tests


def record_run(folder: str | Path, *, data_dir: str | None = None) -> Record:
    """Tests a finished run and writes `record.json` into its folder, which `remanent table` reads.

    The run is tested at its training length and at those longer ones that cost little compared with the training. A
    record that is there already stays as it is. `remanent train` does this at its end.

    Args:
        folder: the folder of the run.
        data_dir: the folder that holds the data now; None for the place that the configuration names.

    Returns:
        The record.

    Raises:
        FileNotFoundError: the folder holds no finished run, or the data are missing.
        ValueError: a file is corrupt.
    """
    folder = Path(folder)
    path = folder / RECORD_FILE
    if path.exists():
        return _read_record(path)
    experiment, model = load_run(folder, data_dir=data_dir)
    recipe = read_json(folder / VERSIONS_FILE).get("recipe")
    variant = variant_of(experiment, recipe if isinstance(recipe, str) else None)
    record = scored(plain_record(experiment, variant), experiment, model, quick_tests(experiment))
    record = trained(record, folder)
    with owned(folder, seconds=WRITE_SECONDS):
        if path.exists():  # another process has written it since the first look
            return _read_record(path)
        write_whole(path, encode_record(record), new=True)
    return record


def plain_record(experiment: Experiment, variant: Variant, chosen: Chosen | None = None) -> Record:
    """The record of a run before its training, without scores."""
    config, task = experiment.to_dict(), experiment.task
    return Record(
        id=identity(config),
        recipe=variant.recipe,
        unit=experiment.model.unit,
        seed=experiment.training.seed,
        set=variant.overrides,
        chosen=chosen,
        status="done",
        error=None,
        metric=task.metric,
        chance=task.chance,
        length_name=task.length_name,
        length=task.length,
        validation=None,
        tests=(),
        failing_length=None,
        parameters=None,
        steps=experiment.training.steps,
        seconds=None,
        config=config,
        commit=commit(),
        versions=Versions(**versions()),
    )


def failed(record: Record, error: str, seconds: float = 0.0) -> Record:
    """The record of a run that failed, with its error and the seconds until then."""
    return dataclasses.replace(record, status="failed", error=error, seconds=Seconds(seconds, 0.0))


def trained(record: Record, folder: Path) -> Record:
    """The record of a finished run with the steps that it took, and the seconds of training beside those of testing."""
    seconds = Seconds(training_seconds(folder, CONFIG_FILE), record.seconds.test if record.seconds else 0.0)
    early = any(record.config["training"].get(option) is not None for option in ("settle_steps", "patience"))
    steps = steps_taken(folder) if early else record.steps
    return dataclasses.replace(record, steps=steps, seconds=seconds)


def scored(
    record: Record,
    experiment: Experiment,
    model: SequenceModel,
    tests: Sequence[LengthTest],
    *,
    failing_limit: int | None = None,
) -> Record:
    """The record with the scores of a trained model on validation and on tests, and the seconds that they took.

    Args:
        record: the record of `plain_record`.
        experiment: the configuration of the run.
        model: the trained model.
        tests: the lengths to test, each with a number of examples; none for validation alone.
        failing_limit: the longest word in the search for the failing length, if the task has one; None for no search.
    """
    began = time.monotonic()
    task = experiment.task
    with threads_set(experiment.training.threads):
        validation = validation_test(experiment)
        validated = evaluate(model, task, length=validation.length, split="validation", examples=validation.examples)
        scores = [evaluate(model, task, length=length, examples=examples) for length, examples in tests]
        failing = None
        words = task.metric == "sequence_accuracy" and task.endless and not model.config.bidirectional
        if failing_limit is not None and words:
            limit = min(failing_limit, ATTENTION_LIMIT) if _attends(experiment) else failing_limit
            failing = failing_length(model, task, limit=limit)
    return dataclasses.replace(
        record,
        validation=LengthScore(*validation, _finite(validated)),
        tests=tuple(LengthScore(*test, _finite(score)) for test, score in zip(tests, scores, strict=True)),
        failing_length=failing,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        seconds=Seconds(0.0, round(time.monotonic() - began, 2)),
    )


def _read_record(path: Path) -> Record:
    records = read_records(path).records
    if len(records) != 1:
        raise ValueError(f"{path} must hold one record, got {len(records)}")
    return records[0]


def _attends(experiment: Experiment) -> bool:
    return any("attention" in names for names in experiment.model.layers)


def _finite(score: float) -> float | None:
    """A score as JSON can hold it, which has neither NaN nor infinity; None for those."""
    return score if abs(score) < float("inf") else None
