"""Runs on the Hugging Face Hub: the card that a record makes, and the upload of a model with it."""

from remanent.hub.card import model_card, run_card
from remanent.hub.pushing import push_run

__all__ = ["model_card", "push_run", "run_card"]
