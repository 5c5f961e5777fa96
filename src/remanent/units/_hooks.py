"""Hooks on the layers of a unit: how a measure sees what each layer is given, without a hand in how it runs."""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from remanent.units.recurrence import Params

LayerHook = Callable[[str, Params, Tensor], None]
"""What is called before a layer runs, with the layer's name, its parameters and its inputs."""


class HookedLayers(nn.Module):
    """A module whose layers tell their hooks before they run."""

    def __init__(self) -> None:
        super().__init__()
        self._layer_hooks: OrderedDict[int, LayerHook] = OrderedDict()

    def register_layer_hook(self, hook: LayerHook) -> RemovableHandle:
        """Registers a function that is called before each layer and direction runs, in `forward` and in `step`.

        It is called once for each run, also where `checkpoint` computes the layer again for the backward pass.

        Args:
            hook: called as `hook(name, p, x)` with the layer's name ("l0", "l0_reverse", "l1", ...), its parameters as
                the recurrence reads them (computed ones under a parametrization), and its inputs (B, T, M) in the
                order in which the direction reads them; a step has T = 1. It must change none of them.

        Returns:
            A handle, whose `remove()` unregisters the hook.

        >>> import torch
        >>> from remanent import BMRU
        >>> unit = BMRU(3, 8, num_layers=2)
        >>> with unit.register_layer_hook(lambda name, p, x: print(name, tuple(x.shape))):
        ...     y, h = unit(torch.randn(10, 4, 3))
        l0 (4, 10, 3)
        l1 (4, 10, 8)
        """
        handle = RemovableHandle(self._layer_hooks)
        self._layer_hooks[handle.id] = hook
        return handle

    def _call_layer_hooks(self, suffix: str, p: Params, x: Tensor) -> None:
        for hook in list(self._layer_hooks.values()):
            hook(suffix[1:], p, x if x.dim() == 3 else x[:, None])
