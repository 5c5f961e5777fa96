"""An Arduino library of a model in C: a zip with the module, its description, and a sketch that runs it."""

import io
import zipfile
from collections.abc import Sequence
from importlib.metadata import metadata
from pathlib import Path

from remanent._files import write_whole
from remanent.export._native import check_new, program_for
from remanent.export.c import Module, check_name, write_c
from remanent.models import SequenceModel

MADE = (1980, 1, 1, 0, 0, 0)
"""The date of every file in a zip, the earliest there is, so that the same model gives the same bytes."""


def export_arduino(
    model: SequenceModel,
    folder: str | Path,
    *,
    name: str = "model",
    weights: str = "float32",
    class_names: Sequence[str] | None = None,
) -> Module:
    """Writes `NAME.zip`, a library for Arduino's IDE (Sketch, Include Library, Add .ZIP Library).

    It holds the files of `write_c`, and a sketch that reads samples from the serial port and answers each of them.
    Where a board's C has constants in RAM, as on an AVR, the weights must fit there.

    Args:
        model: a trained model of float32, on the CPU.
        folder: where the file goes; made if need be.
        name: a C identifier.
        weights: "float32" or "int8".
        class_names: a name for each output, for `NAME_classify`; None for those that the model keeps.

    Returns:
        The module in the library.

    Raises:
        FileExistsError: the file is there already.
        ValueError: an argument that `write_c` rejects.
        RuntimeError: the module differs from torch, or does not compile; nothing was written.
    """
    check_name(name)
    path = Path(folder) / f"{name}.zip"
    check_new(path)
    module = write_c(model, name=name, weights=weights, class_names=class_names)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, library_zip(module), new=True)
    return module


def library_zip(module: Module) -> bytes:
    """The bytes of the zip of a module's library."""
    name = module.name
    sketch = f"{name}_serial"
    texts = {f"src/{file}": text for file, text in module.sources.items()}
    texts["library.properties"] = _properties(module)
    texts[f"examples/{sketch}/{sketch}.ino"] = _sketch(module)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        for place, text in texts.items():
            file.writestr(zipfile.ZipInfo(f"{name}/{place}", MADE), text, zipfile.ZIP_DEFLATED)
    return written.getvalue()


def _properties(module: Module) -> str:
    about = metadata("remanent")
    addresses = dict(address.split(", ", 1) for address in about.get_all("Project-URL") or [])
    values = {
        "name": module.name,
        "version": "1.0.0",
        "author": "remanent",
        "maintainer": "remanent",
        "sentence": module.sources[f"{module.name}.c"].splitlines()[0].strip("/* "),
        "paragraph": f"{module.weight_bytes} bytes of weights, {module.state_bytes} bytes of state for each stream.",
        "category": "Data Processing",
        "url": address if "OWNER" not in (address := addresses.get("Repository", "")) else "",
        "architectures": "*",
        "includes": f"{module.name}.h",
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _order(module: Module) -> str:
    """The names of the inputs, in words."""
    names = module.model.names.features
    return f" ({', '.join(' '.join(name.split()) for name in names)})" if names else ""


def _sketch(module: Module) -> str:
    """The sketch, with the types and calls of this module."""
    tokens, name = module.model.config.reads_tokens, module.name
    reads, answers = ["  for (int i = 0; i < NAME_INPUT_SIZE; i++) {", "    x[i] = Serial.parseFloat();", "  }"], []
    if tokens:
        reads = ["  x = Serial.parseInt();"]
    if module.class_names:
        answers = [f"  const char *label = {name}_classify(&state, x);", '  Serial.println(label ? label : "?");']
    else:
        answers = ["  float y[NAME_OUTPUT_SIZE];", f"  {name}_step(&state, x, y);"]
        answers += ["  for (int i = 0; i < NAME_OUTPUT_SIZE; i++) {", "    Serial.print(y[i], 6);"]
        answers += ["    Serial.print(i + 1 < NAME_OUTPUT_SIZE ? ' ' : '\\n');", "  }"]
    parts = {
        "SAMPLE": "a whole number" if tokens else f"NAME_INPUT_SIZE numbers{_order(module)}",
        "DECLARED": "uint32_t x" if tokens else "float x[NAME_INPUT_SIZE]",
        "READ": "\n".join(reads),
        "ANSWER": "\n".join(answers),
    }
    text = program_for(name, "sketch.ino")
    for part, value in parts.items():
        text = text.replace(f"@{part}@", value.replace("NAME", name.upper()))
    return text
