"""Environments that ask for a memory: batched, seeded, and in gymnasium's interface."""

from remanent.rl.environments.count_recall import CountRecall
from remanent.rl.environments.episodes import ArrayEnvironment, Environment, Episodes, Moved, Step
from remanent.rl.environments.gym_id import GymId
from remanent.rl.environments.repeat_first import RepeatFirst
from remanent.rl.environments.t_maze import TMaze
from remanent.rl.environments.tree_maze import TreeMaze

__all__ = [
    "ENVIRONMENTS",
    "ArrayEnvironment",
    "CountRecall",
    "Environment",
    "Episodes",
    "GymId",
    "Moved",
    "RepeatFirst",
    "Step",
    "TMaze",
    "TreeMaze",
]

ENVIRONMENTS: dict[str, type[Environment]] = {
    kind.name: kind for kind in (TMaze, TreeMaze, RepeatFirst, CountRecall, GymId)
}
"""Name to class; "gym" is any environment that gymnasium knows by an id."""
