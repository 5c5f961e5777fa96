"""Records as `remanent grid` writes them, with made-up scores."""

import hashlib
import json

from remanent.records.record import LengthScore, Record, Seconds, Versions

VERSIONS = Versions(
    packages={"remanent": "0.1.0", "torch": "2.13.0"},
    python="3.11.7",
    platform="Linux",
    processor="AMD EPYC",
    cores=2,
)


def record(
    recipe="copy-first",
    unit="bmru",
    seed=0,
    scores=(0.5, 0.6),
    *,
    overrides=None,
    metric="mse",
    status="done",
    failing=None,
    length=300,
    threads=1,
    learning_rate=0.006,
    commit="abc1234",
    validation=None,
    chosen=None,
):
    """A run; its scores are at the length trained at, and each ten times further than the last."""
    overrides = overrides or {}
    task = {"name": recipe} | {key[5:]: value for key, value in overrides.items() if key.startswith("task.")}
    training = {"steps": 500, "learning_rate": learning_rate, "seed": seed, "threads": threads, "write_rates": True}
    training |= {key[9:]: value for key, value in overrides.items() if key.startswith("training.")}
    model = {"unit": unit, "hidden_size": 64, "write_span": 256}
    model |= {key[6:]: value for key, value in overrides.items() if key.startswith("model.")}
    config = {"task": task, "model": model, "training": training}
    named = {"recipe": recipe, "task": task, "model": config["model"], "training": training | {"threads": None}}
    done = status == "done"
    return Record(
        id=hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16],
        recipe=recipe,
        unit=unit,
        seed=seed,
        set=overrides,
        chosen=chosen,
        status=status,
        error=None if done else "FloatingPointError: the loss must be finite, got nan",
        metric=metric,
        chance=1.0 if metric == "mse" else 0.1,
        length_name="steps",
        length=length,
        validation=None if validation is None else LengthScore(length, 512, validation),
        tests=tuple(LengthScore(length * 10**i, 512, score) for i, score in enumerate(scores)) if done else (),
        failing_length=failing,
        parameters=12345,
        steps=training["steps"],
        seconds=Seconds(60.0 + seed, 20.0),
        config=config,
        commit=commit,
        versions=VERSIONS,
    )


def write(path, records, tail=""):
    """A results file of records or of plain values, with anything after its last line."""
    lines = [json.dumps(each.to_dict() if isinstance(each, Record) else each) + "\n" for each in records]
    path.write_text("".join(lines) + tail)
    return path
