"""A saved model's files: written whole, and checked against each other before anything of their sizes is allocated."""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from remanent._files import from_dict, read_json, write_json, write_whole
from remanent._identity import with_before
from remanent._plugins import naming_extra
from remanent.models.config import ModelConfig

CONFIG_FILE = "model.json"
"""The file of a saved model that holds its configuration."""
WEIGHTS_FILE = "model.safetensors"
"""The file of a saved model that holds its parameters."""
LARGEST_CONFIG = 2**20
"""The most bytes that a configuration may have."""
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
"""The dtypes of saved real numbers."""
COMPLEX_DTYPES = (torch.complex64, torch.complex128)
"""The dtypes of saved complex numbers."""
NAMES = "names"
"""The key of a saved configuration under which the names of inputs and outputs stand, if there are any."""
Shapes = dict[str, tuple[int, ...]]


class Names(NamedTuple):
    """What a model's numbers are called, by which exports speak of them.

    Attributes:
        features: the name of each input; empty where they have none.
        classes: the name of each output, the classes that a model tells apart; empty where they have none.
    """

    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def check(self, config: ModelConfig, where: str) -> "Names":
        """The names themselves; raises a ValueError unless they are different, and as many as what they name."""
        sizes = {"features": config.input_size, "classes": config.output_size}
        for kind, size in sizes.items():
            found = getattr(self, kind)
            texts = all(isinstance(name, str) and name for name in found)
            if not texts or len(set(found)) < len(found) or len(found) not in (0, size):
                raise ValueError(f"{where}: `{kind}` must be {size} different names, or none, got {found}")
        return self


def read_config(folder: Path) -> tuple[ModelConfig, Names]:
    """The configuration in a folder, and the names beside it.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is too large, no JSON, or no configuration; the message names the file.
    """
    path = folder / CONFIG_FILE
    if path.is_file() and path.stat().st_size > LARGEST_CONFIG:
        raise ValueError(f"{path} must have at most {LARGEST_CONFIG} bytes, got {path.stat().st_size}")
    values = read_json(path)
    named = values.pop(NAMES, {})
    try:
        config = from_dict(ModelConfig, with_before(ModelConfig, values), str(path))
        return config, _names(named, str(path)).check(config, str(path))
    except (ValueError, TypeError) as error:
        said = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise ValueError(said) from None


def write_saved(
    folder: Path, config: ModelConfig, names: Names, state: Mapping[str, Tensor], *, overwrite: bool
) -> None:
    """Writes a model's configuration, names and weights, whole, as `SequenceModel.save` says."""
    with naming_extra():
        from safetensors.torch import save

    for name, value in state.items():
        if value.is_meta:
            raise ValueError(f"`{name}` must have a value to be saved, got a parameter on the meta device")
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not overwrite and (folder / file).exists():
            raise FileExistsError(f"`folder` must not hold a model yet unless `overwrite` is set, got {folder / file}")
    noted = names.check(config, "`names`")._asdict() if any(names) else None
    content = dataclasses.asdict(config) | ({} if noted is None else {NAMES: noted})
    folder.mkdir(parents=True, exist_ok=True)
    weights = save({name: value.detach().cpu().contiguous() for name, value in state.items()})
    if not overwrite:
        write_whole(folder / WEIGHTS_FILE, weights, new=True)
        write_json(folder / CONFIG_FILE, content)
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix=".model-") as staged:  # a full disk replaces nothing
        write_whole(Path(staged, WEIGHTS_FILE), weights)
        write_json(Path(staged, CONFIG_FILE), content)
        (folder / CONFIG_FILE).unlink(missing_ok=True)  # old weights never meet a new configuration
        for file in (WEIGHTS_FILE, CONFIG_FILE):
            Path(staged, file).replace(folder / file)


def read_model(folder: Path, make: Callable[[ModelConfig], nn.Module]) -> tuple[nn.Module, Names]:
    """The model in a folder, on the CPU, and its names, with each parameter in the dtype that it was saved in.

    Nothing in the files is executed, no size is allocated that the weights do not have, and torch's global generator
    is left as it was.

    Args:
        folder: where the files are.
        make: the class of the model.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is corrupt, or weights and configuration do not fit.
    """
    with naming_extra():
        from safetensors import SafetensorError, safe_open

    (config, names), path = read_config(folder), folder / WEIGHTS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"`{WEIGHTS_FILE}` must be a file in {folder}, got none")
    try:
        with safe_open(path, framework="pt", device="cpu") as file, torch.device("cpu"):
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no dict
            _check_parts(config, shapes, path)
            with torch.random.fork_rng(devices=[]):
                _check_shapes(_on_meta(make, config), shapes, path)
                model = make(config)
            _check_shapes(model, shapes, path)
            weights = {name: file.get_tensor(name) for name in shapes}
            _check_dtypes(model, weights, path)
            _fill(model, weights)
    except SafetensorError as error:
        raise ValueError(f"{path} must hold safetensors weights, got a corrupt file ({error})") from None
    except (OverflowError, RuntimeError) as error:  # sizes that no tensor has
        raise ValueError(f"{path} must fit {CONFIG_FILE}, got {error}") from None
    return model, names


def _names(values: Any, where: str) -> Names:
    """The names that a file holds; raises a ValueError where it holds something else."""
    lists = isinstance(values, dict) and all(isinstance(found, list) for found in values.values())
    if not lists or not values.keys() <= set(Names._fields):
        raise ValueError(f"{where}: `{NAMES}` must hold lists of names, {' and '.join(Names._fields)}, got {values}")
    return Names(**{kind: tuple(found) for kind, found in values.items()})


def _check_parts(config: ModelConfig, shapes: Shapes, path: Path) -> None:
    """Raises unless the numbers of blocks and units, and the widths, are those of the weights."""
    blocks = len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})
    if blocks != config.num_layers:
        raise ValueError(
            f"{path} must fit {CONFIG_FILE}, whose `num_layers` is {config.num_layers}, got {blocks} blocks"
        )
    for i, names in enumerate(config.layers):
        start = f"blocks.{i}.layer.units."
        units = len({name.removeprefix(start).split(".")[0] for name in shapes if name.startswith(start)})
        if units != len(names):
            rule = f"{path} must fit {CONFIG_FILE}, whose block {i} has {len(names)} units"
            raise ValueError(f"{rule}, got {units} units")
    sizes = config.hidden_size, config.input_size
    wanted = {"head.weight": (config.output_size, config.hidden_size)}
    if config.encoder != "table":
        wanted["encoder.weight"] = sizes[::-1] if config.encoder == "embedding" else sizes
    for name, shape in wanted.items():
        if shapes.get(name) != shape:
            found = shapes.get(name, "none")
            raise ValueError(f"{path} must fit {CONFIG_FILE}, where `{name}` has shape {shape}, got {found}")


def _on_meta(make: Callable[[ModelConfig], nn.Module], config: ModelConfig) -> nn.Module | None:
    """The model without memory; None where a unit of the user's own cannot be made so."""
    try:
        with torch.device("meta"):
            return make(config)
    except Exception:  # it is made with memory next, which raises again what is wrong with it
        return None


def _check_shapes(model: nn.Module | None, shapes: Shapes, path: Path) -> None:
    """Raises unless a model has exactly the weights of a file."""
    if model is None:
        return
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name in wanted | shapes:
        if wanted.get(name) != shapes.get(name):
            rule, found = f"`{name}` {_shown(wanted.get(name))}", _shown(shapes.get(name))
            raise ValueError(f"{path} must fit {CONFIG_FILE}, where {rule}, got one that {found}")


def _shown(shape: tuple[int, ...] | None) -> str:
    return "does not exist" if shape is None else f"has shape {shape}"


def _check_dtypes(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Raises unless real, complex and other numbers are what they are in the model, whatever their precision."""
    for name, value in model.state_dict().items():
        allowed = DTYPES if value.is_floating_point() else COMPLEX_DTYPES if value.is_complex() else (value.dtype,)
        if weights[name].dtype not in allowed:
            known = " or ".join(str(dtype) for dtype in allowed)
            raise ValueError(f"{path}: `{name}` must have dtype {known}, got {weights[name].dtype}")


def _fill(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Gives a model the weights, in their dtypes; what it does not save takes that of the weights if they have one."""
    dtypes = {value.dtype for value in weights.values() if value.is_floating_point()}
    if len(dtypes) == 1:
        model.to(dtypes.pop())
    model.load_state_dict({name: value.clone() for name, value in weights.items()}, assign=True)
