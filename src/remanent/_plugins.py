"""Modules that are not the library's own, the user's and those of extras, and how messages speak of them."""

import importlib
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_given: list[str] = []
"""The names that the last call of `import_modules` was given, which a suggested command repeats."""

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "train": (
        *("pytorch_lightning", "jsonargparse", "torchmetrics", "tensorboard", "rich", "matplotlib", "jinja2", "PIL"),
        *("sklearn", "pooch", "safetensors", "filelock", "fsspec", "yaml", "shtab"),
    ),
    "cluster": ("ray",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "gpu": ("triton",),
    "automata": ("automata",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "hub": ("huggingface_hub",),
    "parquet": ("pyarrow",),
    "rl": ("torchrl", "tensordict", "gymnasium"),
    "bench": ("mambapy", "minGRU_pytorch", "jax"),
}
"""Each extra with the modules that it installs and the library imports, as they are imported."""


def extra_hint(error: ModuleNotFoundError) -> str:
    """The end of an error about a missing module: what installs it; empty where no extra does, or the error says it.

    >>> extra_hint(ModuleNotFoundError("No module named 'onnx'", name="onnx"))
    '; pip install "remanent[onnx]"'
    """
    name = (error.name or "").partition(".")[0]
    return next((f'; pip install "remanent[{extra}]"' for extra, names in EXTRAS.items() if name in names), "")


@contextmanager
def naming_extra() -> Iterator[None]:
    """Lets the error about a module that is missing within the context name the extra that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}{extra_hint(error)}") from None


def import_modules(names: Iterable[str]) -> None:
    """Imports modules that are installed or in the working directory; they stay imported.

    Raises:
        ValueError: a module does not exist, or its code fails as it is imported.
    """
    _given[:] = names
    for name in _given:
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.insert(0, here)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            rule = "`--import` must name a module, installed or in this folder"
            raise ValueError(f"{rule}, got {name!r} ({error})") from None
        except (Exception, SystemExit) as error:  # a module that ends the program would end it without a word
            rule = "`--import` must name a module whose code runs to its end"
            raise ValueError(f"{rule}, got {name!r} ({type(error).__name__}: {error})") from error


def suggested(*words: str) -> str:
    """A command to suggest to the user, in backticks; it imports the modules that this process was given.

    >>> suggested("evaluate", "runs/my run")
    "`remanent evaluate 'runs/my run'`"
    """
    imports = [word for name in _given for word in ("--import", name)]
    return f"`{shlex.join(['remanent', *imports, *words])}`"


def imported() -> list[str]:
    """The names of the modules that this process was given, which a run notes."""
    return list(_given)


def begun_with(names: object) -> str:
    """The end of an error about a run: the modules that it was begun with and this process was not given.

    They are named, and never imported because a file in a folder says so; what is no name of a module is left out.

    >>> begun_with(["my_units", "rm -rf /"])
    '; the run was begun with `remanent --import my_units ...`'
    """
    listed = names if isinstance(names, list) else []
    found = [name for name in listed if isinstance(name, str) and _MODULE.fullmatch(name)]
    missing = [word for name in found if name not in _given for word in ("--import", name)]
    return f"; the run was begun with `{shlex.join(['remanent', *missing])} ...`" if missing else ""


def import_hint(kind: str) -> str:
    """The end of an error about an unknown name: how a unit, task or recipe of the user's own becomes known.

    >>> import_hint("unit")
    '; a unit of your own needs `remanent --import MODULE ...`'
    """
    return f"; a {kind} of your own needs `remanent --import MODULE ...`"
