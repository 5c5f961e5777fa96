"""The scripts of the page of results, and made-up runs of its tables."""

import dataclasses
import importlib
import sys
from pathlib import Path

from remanent.records.chosen import Chosen
from remanent.records.record import LengthScore
from result_records import record

DOCS = Path(__file__).parents[1] / "docs"
PARTS = ("draw_results", "results_ablation", "results_compare", "results_goals", "results_published", "results_tables")
CHOSEN = Chosen("validation", 4, 0, 0.5, 0, 200, {"model.conv_size": "0,4", "training.learning_rate": "0.004,0.012"})
COMMON = {"model.gate_norm": "batch", "model.initial_state": "low", "training.anneal_ramp": 0.4}


def load_page():
    """The scripts of the page by the last word of their names."""
    sys.path.insert(0, str(DOCS))
    try:
        return {name.rpartition("_")[2]: importlib.import_module(name) for name in PARTS}
    finally:
        sys.path.remove(str(DOCS))


def run(recipe="copy-first", unit="bmru", seed=0, scores=(0.5, 0.6), *, taps=4, given=None, **options):
    """A run of now: its options are the best of four, or given."""
    overrides = COMMON | {"model.conv_size": taps, "training.learning_rate": 0.004} | (given or {})
    chosen = None if given else CHOSEN
    return record(recipe, unit, seed, scores, overrides=overrides, chosen=chosen, **options)


def share(recipe, unit, seed, scores, length, **options):
    """A run of a share of right answers, tested at the trained length and 100 times it."""
    made = run(recipe, unit, seed, scores[:1], metric="accuracy", length=length, **options)
    far = tuple(LengthScore(length * factor, 16, score) for factor, score in zip((100, 1000), scores[1:], strict=False))
    return dataclasses.replace(made, length_name="empty steps", tests=(*made.tests, *far))
