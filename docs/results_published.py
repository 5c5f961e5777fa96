"""Published figures beside those of the tables, with their sources and with what differs."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from remanent.records.record import Record
from remanent.report.groups import Group, Spread, spread, summarise
from remanent.report.tables import counted, markdown_table
from remanent.tasks import METRICS
from results_compare import best_score, written
from results_tables import FAILING_LIMIT, value_of

NOT_YET = "not run yet"
BATCH = "training.batch_size"
LOWER, SAME, HIGHER = "ours is lower", "ours is the same", "ours is higher"
CORNN = "[coRNN](https://arxiv.org/abs/2010.00951), Rusch and Mishra, ICLR 2021"
LMU = "[LMU](https://github.com/abr/neurips2019), Voelker, Kajić and Eliasmith, NeurIPS 2019"
S4 = (
    "[S4](https://arxiv.org/abs/2111.00396), Gu, Goel and Ré, ICLR 2022; the figure and the times are of "
    "[its code](https://github.com/state-spaces/s4/blob/main/models/s4/experiments.md)"
)
SPARKNET = "[SparkNet](https://arxiv.org/abs/2406.06634), Svirsky, Shaham and Lindenbaum, Interspeech 2024"
BC_RESNET = (
    "[BC-ResNet-1](https://arxiv.org/abs/2106.04140), Kim et al., Interspeech 2021, as "
    "[SparkNet's table](https://github.com/jsvir/sparknet) has it"
)
FQ = "[first-quadrant BMRU](https://arxiv.org/abs/2605.15216), Fyon et al., 2026"
CMRU = "[CMRU](https://arxiv.org/abs/2605.11855), Brandoit, Fyon, Ernst and Drion, ICML 2026"
PROVED = "K-state units that were not told their states are [proved](automata.md#how-far-it-gets) at every length"
TRACKING = 'Brandoit et al., 2026, "Length-independent state tracking under a parallel scan"'
COMMANDS = (
    "twelve classes of Speech Commands v2; ours: ten digits, 3,000 recordings of the Free Spoken Digit Dataset, 300 of "
    "them tested"
)


class Published(NamedTuple):
    """A line of the table: what was measured, the published figure with its source, what differs, and ours."""

    what: str
    figure: str
    source: str
    differs: str
    ours: str


def published_section(now: Sequence[Group], then: Sequence[Group], small: Sequence[Record]) -> str:
    """The heading, and the table."""
    mnist = _best(now, then, "permuted-mnist")
    images = "784 steps, none of them empty; ours: 216 empty steps after each image, and trained as the line says"
    lines = [
        Published("permuted MNIST", "97.3 %", CORNN, images, _beside(mnist, 0.973)),
        Published("permuted MNIST", "97.15 %", LMU, f"{images}; ten epochs", _beside(mnist, 0.9715)),
        Published(
            "Pathfinder",
            "94.0 % (90 % after 20 epochs)",
            S4,
            "pictures of 32 x 32, 1,024 steps, 7 minutes an epoch on an A100; ours: 12 x 12, 144 steps, one CPU core",
            _beside(_best(now, then, "pathfinder (task.size=12)"), 0.94),
        ),
        Published(
            "keywords", "97.0 ± 0.18 %, 11,500 parameters", SPARKNET, COMMANDS, _spoken(small, "spoken-digits", 0.97)
        ),
        Published(
            "keywords", "96.9 ± 0.30 %, 9,232 parameters", BC_RESNET, COMMANDS, _spoken(small, "spoken-digits", 0.969)
        ),
        Published(
            "one keyword or not",
            "about 94 % with 4 units, 98 % with 32",
            FQ,
            "Speech Commands v2, units for an analog chip; ours: two blocks, one digit of ten, where chance is 90 %",
            _spoken(small, "keyword", 0.98),
        ),
        Published(
            "small models of many tasks",
            "CMRU and AlphaCMRU match or outperform the LRU and minGRU",
            CMRU,
            "other tasks, sizes and searches; ours: the tables above, at the length trained at",
            _claims(now),
        ),
        Published(
            "failing length",
            "Mamba 85 to 4,352; a K-state unit told its states at least 1,000,000",
            TRACKING,
            f"other words; ours: flip-flop, searched up to {FAILING_LIMIT:,}",
            f"{_failing(now)}; {PROVED}",
        ),
    ]
    said = (
        "These figures are their authors'; nothing of theirs was run here. Sizes, data and times differ, as each line "
        "says, so that higher or lower says little of a unit."
    )
    table = markdown_table(["", "published", "source", "what differs", "ours"], [list(line) for line in lines], words=5)
    return "\n".join(["## Published figures beside ours", "", said, "", table, ""])


class _Ours(NamedTuple):
    """Our score: the name of its row, its spread, and in words how large the model is and how it was trained."""

    name: str
    score: Spread
    metric: str
    said: tuple[str, ...]


def _best(now: Sequence[Group], then: Sequence[Group], label: str) -> _Ours | None:
    """The best row of a table of now, or of one with more options of the task; else of the first tables."""
    for groups, where in ((now, ()), (then, ("first tables",))):
        found = [
            (best.spread.mean, group, best)
            for group in groups
            if (group.label == label or group.label.startswith(f"{label} ("))
            and (best := best_score(group, group.length))
        ]
        if found:
            _, group, best = max(found, key=lambda each: each[0])
            run = best.row.done[0]
            other = () if group.label == label else (group.label,)
            said = (f"{run.parameters:,} parameters", f"{run.steps:,} steps of {value_of(run, BATCH)}", *other, *where)
            return _Ours(best.row.unit if where else best.row.label, best.spread, group.metric, said)
    return None


def _beside(ours: _Ours | None, published: float) -> str:
    """Our score, and whether it is lower than the published one."""
    if ours is None:
        return NOT_YET
    lower = LOWER if ours.score.mean < published else HIGHER
    verdict = SAME if abs(ours.score.mean - published) < 5e-4 else lower
    return f"{ours.name} {written(ours.score, ours.metric)} % ({', '.join(ours.said)}): {verdict}"


def _spoken(small: Sequence[Record], recipe: str, published: float) -> str:
    """The BMRU that fits a chip."""
    runs = [run for run in small if (run.recipe, run.unit, run.status) == (recipe, "bmru", "done")]
    if not runs:
        return NOT_YET
    (group,) = summarise(runs)
    scores = group.rows[0].scores(group.columns[0])
    said = (f"{runs[0].parameters:,} parameters",)
    return _beside(_Ours("bmru", spread(scores), group.metric, said), published)


def _claims(now: Sequence[Group]) -> str:
    """On how many tasks the better of CMRU and AlphaCMRU is level with the LRU and with minGRU, or better."""
    parts = []
    for rival in ("lru", "min_gru"):
        found = []
        for group in now:
            ours = [best_score(group, group.length, unit) for unit in ("cmru", "alpha_cmru")]
            theirs = best_score(group, group.length, rival)
            means = [score.spread.mean for score in ours if score is not None]
            if means and theirs is not None:
                more = METRICS[group.metric].more_is_better
                found.append(max(means) >= theirs.spread.mean if more else min(means) <= theirs.spread.mean)
        if found:
            parts.append(f"{rival} on {sum(found)} of {counted(len(found), 'task')}")
    return f"the better of the two is level with or better than {', '.join(parts)}" if parts else NOT_YET


def _failing(now: Sequence[Group]) -> str:
    """The failing length of the BMRU on flip-flop."""
    lengths = [
        length
        for group in now
        if group.label == "flip-flop"
        for row in group.rows
        if row.unit == "bmru"
        for length in row.failing_lengths
    ]
    if not lengths:
        return f"flip-flop {NOT_YET}"
    middle = statistics.median(lengths)
    return f"bmru {'at least ' if middle >= FAILING_LIMIT else ''}{middle:,.0f}"
