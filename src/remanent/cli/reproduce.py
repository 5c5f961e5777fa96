"""`remanent reproduce`: trains and tests committed runs again, and says which numbers are reproduced."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remanent.cli._shared import make_parser
from remanent.cli.table import RESULTS

if TYPE_CHECKING:
    from remanent.report.agreement import Number
    from remanent.review.reproduction import Member

DESCRIPTION = (
    "Trains and tests runs of committed tables again, and says of each number whether it is the same or lies within "
    "the spread over the committed seeds; the exit status is 1 if one does not. The committed files are not changed. "
    "An interrupted command may be repeated, and resumes."
)


def parser(arguments: list[str]) -> Any:
    """The command's parser."""
    parser = make_parser(DESCRIPTION)
    tables = (
        "headings of tables, such as 'copy-first (task.steps=1000)', recipes, or results files for all of their tables"
    )
    parser.add_argument("tables", nargs="+", type=str, metavar="TABLE", help=tables)
    rows = "only these rows, as the first column has them, or all rows of a unit; put them after TABLE"
    parser.add_argument("--row", type=str, nargs="+", default=[], help=rows)
    share = "the share of the runs that is repeated, at least one; spread over the rows"
    parser.add_argument("--fraction", type=float, default=1.0, help=share)
    parser.add_argument("--seed", type=int, default=0, help="of the draw of this share; a run has the seed that it had")
    where = "the committed results files (default: all results files in results/)"
    parser.add_argument("--results", type=Path, nargs="+", default=[], metavar="FILE", help=where)
    within = "standard deviations over the committed seeds that a score may lie from their mean"
    parser.add_argument("--within", type=float, default=2.0, help=within)
    near = "how far a score may lie from that of the same seed: a share by so much, an error by this share of it"
    parser.add_argument("--tolerance", type=float, default=0.01, help=near)
    own = "the folder of the repeated runs and their results"
    parser.add_argument("--folder", type=Path, default=Path("reproduced"), help=own)
    parser.add_argument("--out", type=Path | None, default=None, help="a new file for all numbers, as JSON")
    many = "runs at a time (default: 1; with Ray, as many as there are cores for)"
    parser.add_argument("--workers", type=int | None, default=None, help=many)
    parser.add_argument("--data-dir", type=str | None, default=None, help="the folder that holds the data set")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and what they took, and do nothing else")
    parser.add_argument("--quiet", action="store_true", help="draw no progress bar and print no line for each run")
    return parser


def run(options: Any) -> int:
    """Runs the command; the exit status is 1 if a number lies outside."""
    from remanent._files import to_json, write_whole
    from remanent.records.record import read_records
    from remanent.report.agreement import OUTSIDE, Rule, agreement_line
    from remanent.review.reproduction import again_options, made_by, reproduce

    rule = Rule(options.within, options.tolerance)
    if options.out is not None and options.out.exists():
        raise FileExistsError(f"`--out` must not exist yet, got {options.out}")
    if options.out is not None and not options.out.parent.is_dir():
        raise FileNotFoundError(f"`--out` must lie in a folder that exists, got {options.out}")
    members, files = _members(options)
    grid = again_options(options.folder, files, options.workers, options.modules)
    if options.dry_run:
        return _list(members)
    numbers = reproduce(members, grid, rule, data_dir=options.data_dir, progress=not options.quiet)
    ids = {number.id for number in numbers}
    before = made_by([member.record for member in members])
    now = made_by([record for record in read_records(grid.results, warn=True).records if record.id in ids])
    _print(numbers)
    print(agreement_line(numbers))
    if before != now:
        print(f"committed: {' | '.join(before)}\nagain: {' | '.join(now)}")
    if options.out is not None:
        report = {"within": rule.within, "tolerance": rule.tolerance, "committed": before, "again": now}
        write_whole(options.out, to_json(report | {"numbers": [vars(number) for number in numbers]}).encode(), new=True)
    return int(any(number.verdict == OUTSIDE for number in numbers))


def _members(options: Any) -> "tuple[list[Member], list[Path]]":
    """The runs that are repeated, and the committed files."""
    from remanent.report import find_results, read_results, summarise
    from remanent.review.reproduction import Draw, drawn, select

    draw = Draw(options.fraction, options.seed)
    given = [Path(name) for name in options.tables if Path(name).is_file()]
    names = [name for name in options.tables if Path(name) not in given]
    if given and (names or options.results):
        raise ValueError(f"`TABLE` must be files alone, or headings in `--results`, got {' and '.join(options.tables)}")
    files = given or options.results or find_results(RESULTS)
    records = read_results(files)[0]
    recipes = {record.recipe for record in records} & {name.partition(" (")[0] for name in names}
    groups = summarise(records, sorted(recipes) or None)  # other tables need not be whole
    members = select(groups, names or [group.label for group in groups], options.row)
    return drawn(members, draw), files


def _list(members: "Sequence[Member]") -> int:
    """Lists the runs with the seconds that they took."""
    from remanent.report.tables import counted

    taken = [each.record.seconds.train + each.record.seconds.test if each.record.seconds else 0.0 for each in members]
    for member, seconds in zip(members, taken, strict=True):
        print(f"{seconds:8,.0f} s  {member.group.label}, {member.row.label}, seed {member.record.seed}")
    print(f"{counted(len(members), 'run')}, which took {sum(taken) / 60:,.0f} minutes in all.")
    return 0


def _print(numbers: "Sequence[Number]") -> None:
    """A table for each committed table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from remanent.report.agreement import HEADER, agreement_rows

    console = Console()
    for label in dict.fromkeys(number.table for number in numbers):
        table = Table(*HEADER, title=Text(label))
        for row in agreement_rows([number for number in numbers if number.table == label]):
            table.add_row(*map(Text, row))
        console.print(table)
