"""`remanent list`: lists units, tasks and recipes."""

import json
import re
from typing import Any

from remanent.cli._shared import make_parser
from remanent.models import Attention
from remanent.tasks import TASKS
from remanent.units import UNITS


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser("Lists units, tasks and recipes.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(options: Any) -> int:
    """Runs the command."""
    from remanent.training import RECIPES

    units = UNITS | {"attention": Attention}
    listed: dict[str, dict[str, Any]] = {"units": units, "tasks": TASKS, "recipes": RECIPES}
    if options.json:
        print(json.dumps({kind: list(members) for kind, members in listed.items()}))
        return 0
    for kind, members in listed.items():
        print(kind)
        for name, member in members.items():
            first = (member.__doc__ or "").partition("\n")[0]
            first = re.split(r"[:,] \$", first)[0]  # without a formula, which a terminal cannot show
            print(f"  {name:25} {first.rstrip('.')}".rstrip())
    return 0
