"""An exported module on a Cortex-M4, which QEMU emulates: its outputs, instructions, flash and RAM."""

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from remanent.export._native import program_for, run_command
from remanent.export.c import Module

COMPILER, SIZE, EMULATOR = "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"
PACKAGES = "gcc-arm-none-eabi picolibc-arm-none-eabi qemu-system-arm"
"""The packages of Debian that hold them."""
FLAGS = (
    "--specs=picolibc.specs --oslib=semihost --crt0=hosted -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 "
    "-std=c99 -O2 -Wall -Wextra -Werror -ffunction-sections -fdata-sections -Wl,--gc-sections "
    "-Wl,--defsym=__flash=0 -Wl,--defsym=__flash_size=4M -Wl,--defsym=__ram=0x20000000 -Wl,--defsym=__ram_size=4M"
)
MACHINE = (
    "-M mps2-an386 -nographic -monitor none -serial none -semihosting-config enable=on,target=native "
    "-icount shift=6,align=off,sleep=off -kernel"
)
MOST_BYTES = 3 * 2**20
"""The bytes of input that fit into the emulated flash together with the program."""


class ChipRun(NamedTuple):
    """The outputs and the cost of a module on the chip.

    Attributes:
        outputs: for each sequence, the outputs after every step, (T, output_size).
        instructions: of a step, the mean.
        most_instructions: of the longest step.
        flash_bytes: code and weights, with the parts of the C library that they need.
        state_bytes: RAM for the state of a stream.
        stack_bytes: RAM that a step uses for a while.
    """

    outputs: list[np.ndarray]
    instructions: float
    most_instructions: float
    flash_bytes: int
    state_bytes: int
    stack_bytes: int

    def __repr__(self) -> str:
        """What a step costs, without the outputs."""
        count = sum(len(y) for y in self.outputs)
        memory = f"{self.flash_bytes:,} bytes of flash, {self.state_bytes:,} of state, {self.stack_bytes:,} of stack"
        return f"<ChipRun of {count:,} steps: {self.instructions:,.0f} instructions a step, {memory}>"


def missing_tools() -> str | None:
    """Which of the compiler, its C library and the emulator are not installed, or None."""
    missing = [tool for tool in (COMPILER, SIZE, EMULATOR) if shutil.which(tool) is None]
    if missing:
        return ", ".join(missing)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run_command([COMPILER, "--specs=picolibc.specs", "-E", "-x", "c", "/dev/null"], Path(folder))
        except RuntimeError:
            return "picolibc.specs"
    return None


def tool_versions() -> dict[str, str]:
    """The first line of the version of the compiler and of the emulator."""
    tools = (COMPILER, EMULATOR)
    return {tool: run_command([tool, "--version"], Path()).decode().splitlines()[0] for tool in tools}


def run_on_chip(module: Module, sequences: Sequence[np.ndarray]) -> ChipRun:
    """Runs a module on an emulated Cortex-M4 with a floating-point unit (ARM's MPS2 board, AN386).

    Instructions are counted by the chip's own timer, which the emulator moves on by a fixed time an instruction; a
    run of a thousand known ones is the measure. They are not cycles: those depend on the memory of a chip.

    Args:
        module: as `write_c` gives it.
        sequences: at least one, float32 (T, input_size) or tokens (T,), which go into the program.

    Returns:
        Its outputs and its cost: the flash is that of a program with the module less that of one with empty
        functions in its place.

    Raises:
        FileNotFoundError: a tool is missing; the message names it and Debian's packages.
        ValueError: the sequences are more than the flash holds.
        RuntimeError: the program does not build or run.
    """
    if missing := missing_tools():
        raise FileNotFoundError(f"`PATH` must hold the tools in Debian's {PACKAGES}, got none of {missing}")
    size = sum(4 * x.size for x in sequences)
    if not sequences or size > MOST_BYTES:
        raise ValueError(f"`sequences` must be of 1 to {MOST_BYTES} bytes in all, got {size}")
    name = module.name
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        program = program_for(name, "chip.c")
        for file, text in (module.sources | {"chip.c": program, "data.h": _data(module, sequences)}).items():
            (place / file).write_text(text, encoding="utf-8")
        (place / "empty.c").write_text(_empty(module), encoding="utf-8")
        built = {}
        for source in (f"{name}.c", "empty.c"):
            image = f"{source}.elf"
            run_command([COMPILER, *FLAGS.split(), "-o", image, "chip.c", source, "-lm"], place)
            text_size, data_size = run_command([SIZE, image], place).decode().splitlines()[1].split()[:2]
            built[source] = int(text_size) + int(data_size)
        said = run_command([EMULATOR, *MACHINE.split(), f"{name}.c.elf"], place, both=True).decode()
    words, _, rest = said.partition("ticks ")
    figures = re.fullmatch(r"(\d+) (\d+) (\d+) stack (\d+)\s*", rest)
    if figures is None:
        raise RuntimeError(f"{EMULATOR} must run the module to its end, got {said[-200:]!r}")
    thousand, mean, most, stack = (int(figure) for figure in figures.groups())
    y = np.frombuffer(bytes.fromhex(words), ">f4").astype(np.float32).reshape(-1, module.model.config.output_size)
    outputs = np.split(y, np.cumsum([len(x) for x in sequences])[:-1])
    flash = built[f"{name}.c"] - built["empty.c"]
    return ChipRun(outputs, 1000 * mean / thousand, 1000 * most / thousand, flash, module.state_bytes, stack)


def _data(module: Module, sequences: Sequence[np.ndarray]) -> str:
    lengths = ", ".join(str(len(x)) for x in sequences)
    values = np.concatenate([x.ravel() for x in sequences])
    if module.model.config.reads_tokens:
        kind, texts = "uint32_t", [str(v) for v in values.tolist()]
    else:
        kind, texts = (
            "float",
            [f"{v:.9g}f" if "." in f"{v:.9g}" or "e" in f"{v:.9g}" else f"{v:.9g}.0f" for v in values],
        )
    return (
        f"static const uint32_t lengths[] = {{{lengths}}};\nstatic const {kind} inputs[] = {{\n{','.join(texts)}\n}};\n"
    )


def _empty(module: Module) -> str:
    """Functions of the module's names that do nothing."""
    name, upper = module.name, module.name.upper()
    x = "uint32_t x" if module.model.config.reads_tokens else f"const float x[{upper}_INPUT_SIZE]"
    return "\n".join(
        [
            f'#include "{name}.h"',
            f"void {name}_init({name}_state *state) {{ (void)state; }}",
            f"void {name}_step({name}_state *state, {x}, float y[{upper}_OUTPUT_SIZE]) {{",
            "    (void)state; (void)x; y[0] = 0.0f;",
            "}",
            "",
        ]
    )
