"""Memory for agents: units and models as modules of TorchRL, environments, training. Needs the extra `rl`."""

from typing import TYPE_CHECKING, Any

from remanent._plugins import naming_extra

if TYPE_CHECKING:
    from remanent.rl.agent_config import AgentConfig, AgentExperiment, agent_experiment
    from remanent.rl.agent_record import record_agent, run_agent
    from remanent.rl.agent_run import load_agent, resume_agent, start_agent
    from remanent.rl.agent_scores import score_agent
    from remanent.rl.module import RecurrentModule

__all__ = [
    "AgentConfig",
    "AgentExperiment",
    "RecurrentModule",
    "agent_experiment",
    "load_agent",
    "record_agent",
    "resume_agent",
    "run_agent",
    "score_agent",
    "start_agent",
]

_HOMES = {
    "RecurrentModule": "module",
    **dict.fromkeys(("AgentConfig", "AgentExperiment", "agent_experiment"), "agent_config"),
    **dict.fromkeys(("record_agent", "run_agent"), "agent_record"),
    **dict.fromkeys(("load_agent", "resume_agent", "start_agent"), "agent_run"),
    "score_agent": "agent_scores",
}
"""The file of each public name."""


def __getattr__(name: str) -> Any:
    """Imports TorchRL, which takes seconds, only where something of it is used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    with naming_extra():
        return getattr(import_module(f"remanent.rl.{_HOMES[name]}"), name)
