"""Memory tasks: data and how answers are judged, without any model; and what a task of your own is made from."""

from remanent.tasks.adding import Adding
from remanent.tasks.automata.automaton import Automaton
from remanent.tasks.automata.automaton_word import AutomatonWord
from remanent.tasks.automata.dyck import Dyck
from remanent.tasks.automata.flip_flop import FlipFlop
from remanent.tasks.automata.group_word import GroupWord
from remanent.tasks.automata.parity import Parity
from remanent.tasks.automata.tomita import Tomita
from remanent.tasks.automata.walks import Walk
from remanent.tasks.automata.words import LanguageTask, WordTask
from remanent.tasks.base import GeneratedTask, Stream, Task, check_split, example_generators, read_whole
from remanent.tasks.characters import Characters
from remanent.tasks.chunks import BLOCK, blocks, noise_blocks, then_empty
from remanent.tasks.copy_first import CopyFirst
from remanent.tasks.delayed_integration import DelayedIntegration
from remanent.tasks.denoising import Denoising
from remanent.tasks.images.pathfinder import Pathfinder
from remanent.tasks.images.sequential_image import SequentialImage
from remanent.tasks.listops import ListOps
from remanent.tasks.metrics import IGNORED, METRICS, Metric
from remanent.tasks.own.array_task import ArrayTask
from remanent.tasks.own.own_data import OwnData
from remanent.tasks.own.sequences import SetOptions
from remanent.tasks.recall.induction_heads import InductionHeads
from remanent.tasks.recall.multi_query_recall import MultiQueryRecall
from remanent.tasks.recall.selective_copying import SelectiveCopying
from remanent.tasks.sounds.keyword import Keyword
from remanent.tasks.sounds.spoken_digits import SpokenDigits

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        CopyFirst,
        Denoising,
        DelayedIntegration,
        Adding,
        SelectiveCopying,
        InductionHeads,
        MultiQueryRecall,
        SequentialImage,
        Pathfinder,
        ListOps,
        FlipFlop,
        Parity,
        GroupWord,
        Tomita,
        Dyck,
        AutomatonWord,
        SpokenDigits,
        Keyword,
        Characters,
        OwnData,
    )
}
"""Name to class, for configurations and the command line."""

__all__ = [
    "BLOCK",
    "IGNORED",
    "METRICS",
    "TASKS",
    "Adding",
    "ArrayTask",
    "Automaton",
    "AutomatonWord",
    "Characters",
    "CopyFirst",
    "DelayedIntegration",
    "Denoising",
    "Dyck",
    "FlipFlop",
    "GeneratedTask",
    "GroupWord",
    "InductionHeads",
    "Keyword",
    "LanguageTask",
    "ListOps",
    "Metric",
    "MultiQueryRecall",
    "OwnData",
    "Parity",
    "Pathfinder",
    "SelectiveCopying",
    "SequentialImage",
    "SetOptions",
    "SpokenDigits",
    "Stream",
    "Task",
    "Tomita",
    "Walk",
    "WordTask",
    "blocks",
    "check_split",
    "example_generators",
    "noise_blocks",
    "read_whole",
    "then_empty",
]
