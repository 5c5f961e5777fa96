"""The small trained models that come with the package, each with its record and its card."""

from importlib.resources import files
from pathlib import Path

from remanent._options import check_choice
from remanent.models.sequence import SequenceModel

SHIPPED = ("copy-first", "flip-flop", "spoken-digits")
"""The names of the models, which are those of the recipes that made them."""


def load(name: str) -> SequenceModel:
    """A small trained model that comes with the package, in evaluation mode; nothing is fetched.

    Each was trained by the recipe of its name with its defaults. `remanent.models.shipped_folder` gives the folder that
    holds its files, with its record and its card.

    Args:
        name: one of `remanent.models.SHIPPED`.

    Raises:
        ValueError: there is no model of this name; the message names those that there are.
        ModuleNotFoundError: safetensors, which the extra `train` installs, is missing.

    >>> import torch
    >>> model = load("flip-flop")  # 0 and 1 set a bit, 2 holds it
    >>> model(torch.tensor([[1, 2, 2, 0, 2, 1]]))[0].argmax(-1)
    tensor([[1, 1, 1, 0, 0, 1]])
    """
    return SequenceModel.load(shipped_folder(name))


def shipped_folder(name: str) -> Path:
    """The folder with the files of a model that comes with the package: its two files, record.json and README.md.

    Raises:
        ValueError: there is no model of this name; the message names those that there are.
    """
    check_choice("name", name, SHIPPED)
    return Path(str(files("remanent.models.shared").joinpath("trained", name)))
