"""Writes tables.h, the constants by which mfcc.c computes what a run's model was trained on."""

import argparse
import sys
from pathlib import Path

import numpy as np

from remanent.tasks.sounds.mfcc import FLOOR, tables
from remanent.tasks.sounds.speech import COMMANDS_RATE, DIGITS_RATE, WORDS, SpeechTask
from remanent.training.folder import read_experiment

RATES = {"digits": DIGITS_RATE, "speech-commands": COMMANDS_RATE}
FULL_SCALE = 32768
"""What a sample of 16 bits is divided by; the window's values are, so that no sample need be."""


def main() -> int:
    """Writes the tables of a run, or says in a line why it does not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a training run")
    parser.add_argument("out", type=Path, help="the header to write")
    options = parser.parse_args()
    try:
        write_tables(options.run, options.out)
    except (OSError, ValueError) as error:
        print(f"make_tables.py: {error}", file=sys.stderr)
        return 2
    return 0


def write_tables(run: Path, out: Path) -> None:
    """Writes the header.

    Args:
        run: the folder of a training run.
        out: the header, which must not exist.

    Raises:
        FileExistsError: there is such a file.
        FileNotFoundError: there is no such run, or its data is not found.
        ValueError: its task is not of speech, or does not standardise by "set".
    """
    if out.exists():
        raise FileExistsError(f"`out` must not exist yet, got {out}")
    task = read_experiment(run).task
    if not isinstance(task, SpeechTask):
        raise ValueError(f"`run` must be of the task spoken-digits or keyword, got {task.name} in {run}")
    if task.standardise != "set":
        rule = "standardise by constants, as trained with `--task.standardise set`"
        raise ValueError(f"`run` must {rule}, got {task.standardise!r} in {run}")
    with out.open("x") as file:
        file.write(header(task))


def header(task: SpeechTask) -> str:
    """The text of the header."""
    rate = RATES[task.dataset]
    window, filters, cosines = tables(rate)
    size = tables(rate).fft_size
    angles = 2 * np.pi * np.arange(size // 2) / size
    spans = [np.flatnonzero(row)[[0, -1]] for row in filters]
    weights = np.concatenate([row[first : last + 1] for row, (first, last) in zip(filters, spans, strict=True)])
    mean, deviation = task.frame_statistics
    words = class_words(task)
    sizes = {
        "RATE": rate,
        "WINDOW": len(window),
        "HOP": rate // 100,
        "FFT": size,
        "FILTERS": len(filters),
        "COUNT": len(cosines),
        "FLOOR": number(FLOOR),
    }
    parts = [
        f"/* Tables of the task {task.name} at {rate} samples a second. Written by make_tables.py. */",
        "#ifndef TABLES_H\n#define TABLES_H\n\n#include <stdint.h>\n",
        *(f"#define MFCC_{name} {value}" for name, value in sizes.items()),
        f"#define SPOT_WORDS {len(words)}\n",
        array("float", "mfcc_window[MFCC_WINDOW]", window / FULL_SCALE),
        "/* cosine and sine of the angles 2 pi k / MFCC_FFT */",
        array("float", "mfcc_cosine[MFCC_FFT / 2]", np.cos(angles)),
        array("float", "mfcc_sine[MFCC_FFT / 2]", np.sin(angles)),
        "/* each filter's first bin and how many it weighs; then all their weights */",
        array("int16_t", "mfcc_filter_first[MFCC_FILTERS]", [first for first, _ in spans]),
        array("int16_t", "mfcc_filter_size[MFCC_FILTERS]", [last - first + 1 for first, last in spans]),
        array("float", f"mfcc_filter_weight[{len(weights)}]", weights),
        array("float", "mfcc_transform[MFCC_COUNT][MFCC_FILTERS]", cosines),
        "/* each coefficient's mean and standard deviation over the training clips */",
        array("float", "mfcc_mean[MFCC_COUNT]", mean.numpy()),
        array("float", "mfcc_deviation[MFCC_COUNT]", deviation.numpy()),
        "/* the word of each of the model's classes; 0 for one of which nothing is said */",
        array("char *const", "spot_words[SPOT_WORDS]", [f'"{word}"' if word else "0" for word in words]),
        "#endif\n",
    ]
    return "\n".join(parts)


def class_words(task: SpeechTask) -> list[str | None]:
    """The word of each class, None for the class of all words but the keyword."""
    return list(WORDS) if task.name == "spoken-digits" else [None, task.keyword]


def array(kind: str, name: str, values: np.ndarray | list[int] | list[str]) -> str:
    """A constant array, in lines of at most 120 characters."""
    rows = np.atleast_2d(values) if isinstance(values, np.ndarray) else [values]
    texts = [wrapped([item if isinstance(item, str) else number(item) for item in row]) for row in rows]
    inner = texts[0] if len(texts) == 1 else ",\n".join(f"    {{\n{text}\n    }}" for text in texts)
    return f"static const {kind} {name} = {{\n{inner}\n}};\n"


def wrapped(items: list[str]) -> str:
    """Items in lines."""
    lines = [""]
    for item in items:
        if len(lines[-1]) + len(item) > 110:
            lines.append("")
        lines[-1] += f" {item},"
    return "\n".join(f"   {line}" for line in lines)


def number(value: float | int | np.number) -> str:
    """A whole number as it is, another as the float32 nearest to it.

    >>> number(0.1), number(1.0), number(np.int64(3))
    ('0.1f', '1.0f', '3')
    """
    if isinstance(value, int | np.integer):
        return str(value)
    return f"{np.float32(value)!s}f"


if __name__ == "__main__":
    sys.exit(main())
