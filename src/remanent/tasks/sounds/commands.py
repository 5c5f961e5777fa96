"""The clips of Google Speech Commands in a folder of the user: their words, their official splits, and their checks."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from remanent.tasks.base import derive_seed
from remanent.tasks.sounds.clips import find_samples, is_recording, read_recording
from remanent.tasks.versions import version_of

COMMANDS = "speech_commands_v0.02"
COMMANDS_RATE = 16_000
SPLITS = ("train", "validation", "testing")
"""The splits of the data set; the clips of the last two are listed in files, and all others are for training."""


class Commands(NamedTuple):
    """The clips of some words, in a fixed mixed order.

    Attributes:
        root: the absolute path of the folder of the data set.
        words: the words.
        clips: the path of each clip below the folder, WORD/NAME.wav.
        splits: the number in `SPLITS` of the split of each clip.
        version: the version of the files.
    """

    root: str
    words: tuple[str, ...]
    clips: tuple[str, ...]
    splits: tuple[int, ...]
    version: str


def find_commands(folder: str | None, words: tuple[str, ...] | None) -> Commands:
    """Lists the clips of these words, or of all, in a folder.

    Raises:
        FileNotFoundError: the folder is not the data set, or does not hold a word or a clip that a list names.
        ValueError: a list is damaged, or a split has no clip of the words.
    """
    root = _find(folder)
    every = {
        place.name: sorted(clip.name for clip in os.scandir(place) if is_recording(clip.name))
        for place in sorted(root.iterdir())
        if place.is_dir() and not place.name.startswith(("_", "."))
    }
    words = words or tuple(every)
    for word in words:
        if not every.get(word):
            raise FileNotFoundError(f"{root} must hold a folder of clips for each word, got none for {word!r}")
    known = {f"{word}/{name}" for word, names in every.items() for name in names}
    validation, testing = (_read_list(root, split, known) for split in SPLITS[1:])
    if both := validation & testing:
        raise ValueError(f"{root} must list a clip for one split, got for both {min(both)}")
    clips = sorted(
        (f"{word}/{name}" for word in words for name in every[word]),
        key=lambda clip: derive_seed("speech-commands", clip),
    )
    splits = [(clip in validation) + 2 * (clip in testing) for clip in clips]
    for number, split in enumerate(SPLITS):
        if number not in splits:
            raise ValueError(f"{root} must hold clips of these words in every split, got none for {split}")
    lists = [root / f"{split}_list.txt" for split in SPLITS[1:]]
    version = version_of([*lists, *(root / clip for clip in clips)])
    return Commands(str(root.absolute()), words, tuple(clips), tuple(splits), version)


def check_clips(commands: Commands) -> str:
    """Reads every clip once, so that a damaged one is found before anything is trained.

    Returns:
        The SHA-256 of the names, splits and contents of the clips.

    Raises:
        ValueError: a clip is damaged; the message names it.
    """
    digest = hashlib.sha256()
    for clip, split in zip(commands.clips, commands.splits, strict=True):
        path = Path(commands.root, clip)
        content = read_recording(path)
        find_samples(content, str(path), COMMANDS_RATE)
        digest.update(f"{split} {clip} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def _find(folder: str | None) -> Path:
    rule = f"`data_dir` must be or hold the folder {COMMANDS} of Google Speech Commands, which is not fetched (2.3 GB)"
    if folder is None:
        raise FileNotFoundError(f"{rule}; REMANENT_DATA may name it, got neither")
    for root in (Path(folder) / COMMANDS, Path(folder)):
        if all((root / f"{split}_list.txt").is_file() for split in SPLITS[1:]):
            return root
    raise FileNotFoundError(f"{rule}, with validation_list.txt and testing_list.txt, got {folder}")


def _read_list(root: Path, split: str, known: set[str]) -> set[str]:
    """The clips in the list of a split, each written WORD/NAME.wav; all must be there, or it would be trained on."""
    path = root / f"{split}_list.txt"
    try:
        lines = path.read_bytes().decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8, got {error}") from None
    listed = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    for number, line in listed:
        if line in known:
            continue
        word, slash, name = line.partition("/")
        if slash and word.isidentifier() and is_recording(name) and not set("/\\") & set(name):
            raise FileNotFoundError(f"{root} must hold the clips in {path.name}, got none named {line}")
        raise ValueError(f"{path}:{number} must be a clip, written WORD/NAME.wav, got {line!r}")
    return {line for _, line in listed}
