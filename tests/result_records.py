"""Records as `remanent grid` writes them, with made-up scores."""

import hashlib
import json

VERSIONS = {
    "packages": {"remanent": "0.1.0", "torch": "2.13.0"},
    "python": "3.11.7",
    "platform": "Linux",
    "processor": "AMD EPYC",
    "cores": 2,
}


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
):
    """A run; its scores are at the length trained at, and each ten times further than the last."""
    overrides = overrides or {}
    task = {"name": recipe} | {key[5:]: value for key, value in overrides.items() if key.startswith("task.")}
    training = {"steps": 500, "learning_rate": learning_rate, "seed": seed, "threads": threads}
    training |= {key[9:]: value for key, value in overrides.items() if key.startswith("training.")}
    config = {"task": task, "model": {"unit": unit, "hidden_size": 64}, "training": training}
    named = {"recipe": recipe, "task": task, "model": config["model"], "training": training | {"threads": None}}
    done = status == "done"
    tests = [{"length": length * 10**i, "examples": 512, "score": s} for i, s in enumerate(scores)] if done else []
    return {
        "id": hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16],
        "recipe": recipe,
        "unit": unit,
        "seed": seed,
        "set": overrides,
        "status": status,
        "error": None if done else "FloatingPointError: the loss must be finite, got nan",
        "metric": metric,
        "chance": 1.0 if metric == "mse" else 0.1,
        "length_name": "steps",
        "length": length,
        "tests": tests,
        "failing_length": failing,
        "parameters": 12345,
        "steps": training["steps"],
        "seconds": {"train": 60.0 + seed, "test": 20.0},
        "config": config,
        "commit": commit,
        **VERSIONS,
    }


def write(path, records, tail=""):
    """A results file, with anything after its last line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in records) + tail)
    return path
