"""Epsilon beside the weights: noted where they are saved, compared where they are loaded."""

import warnings
from typing import Any

from torch import nn

from remanent.units.recurrence import Recurrence


class NotesEpsilon(nn.Module):
    """A module whose `state_dict` notes epsilon beside its tensors, where the equations have one; no key is added."""

    recurrence: Recurrence

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        notes = getattr(destination, "_metadata", {}).get(prefix[:-1])
        if notes is not None and hasattr(self.recurrence, "epsilon"):
            notes["epsilon"] = self.recurrence.epsilon

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
        trained, own = local_metadata.get("epsilon"), getattr(self.recurrence, "epsilon", None)
        if trained is not None and own is not None and trained != own:
            where = f"{prefix[:-1]}, {type(self).__name__}" if prefix else type(self).__name__
            warnings.warn(
                f"weights that were saved at an epsilon of {trained:g} were loaded into {where}, whose epsilon is "
                f"{own:g}; remanent.set_epsilon sets it",
                stacklevel=2,
            )
