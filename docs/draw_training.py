"""Writes the tables of training.md: the recipes, and every field of a configuration, from the code that defines them.

python docs/draw_training.py [--page PAGE]    # docs/training.md
"""

import argparse
import dataclasses
import inspect
import re
import textwrap
from pathlib import Path

from remanent import ModelConfig
from remanent._files import replace_between, write_whole
from remanent.distributed import Launch
from remanent.training import RECIPES, TrainingConfig

PAGE = Path(__file__).parent / "training.md"


def main() -> None:
    """Writes what stands between the page's marks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    text = options.page.read_text()
    tables = {"recipes": recipe_table()}
    tables |= {cls.__name__: field_table(cls) for cls in (TrainingConfig, ModelConfig, Launch)}
    for name, table in tables.items():
        text = replace_between(text, f"<!-- begin {name} -->", f"<!-- end {name} -->", table, options.page)
    write_whole(options.page, text.encode())


def recipe_table() -> str:
    """A row for each recipe: what it asks, and how large its model and its training are."""
    lines = ["| recipe | what it trains | width, blocks | steps |", "|---|---|--:|--:|"]
    for name, recipe in RECIPES.items():
        experiment = recipe()
        model, training = experiment.model, experiment.training
        said = (inspect.getdoc(recipe) or "").splitlines()[0]
        size = f"{model.hidden_size}, {model.num_layers}"
        lines.append(f"| `{name}` | {said} | {size} | {training.steps:,} |")
    return "\n".join(lines)


def field_table(cls: type) -> str:
    """A row for each field of a dataclass: its default, and what its docstring says of it."""
    described = described_arguments(cls)
    lines = ["| field | default | meaning and range |", "|---|:-:|---|"]
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        default = "required" if field.default is dataclasses.MISSING else f"`{field.default}`"
        lines.append(f"| `{field.name}` | {default} | {described[field.name]} |")
    return "\n".join(lines)


def described_arguments(cls: type) -> dict[str, str]:
    """The arguments of a Google-style docstring, each as one sentence or more."""
    found = re.search(r"^Args:\n((?:    .*\n|\n)+)", f"{inspect.getdoc(cls)}\n", re.MULTILINE)
    if found is None:
        raise ValueError(f"`{cls.__name__}` must describe its arguments")
    described = {}
    for entry in re.split(r"\n(?=\w)", textwrap.dedent(found[1]).strip()):
        name, _, words = entry.partition(": ")
        said = " ".join(words.split())
        described[name] = said[:1].upper() + said[1:]
    return described


if __name__ == "__main__":
    main()
