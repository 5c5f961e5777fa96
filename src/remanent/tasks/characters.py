"""Characters: predict the next character at every character of a text."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remanent._identity import BY_CONTENT
from remanent._options import check_at_least, check_text
from remanent.tasks.base import StoredTask, Stream, check_examples, check_split, check_stop
from remanent.tasks.chunks import blocks
from remanent.tasks.versions import version_of

MOST_CHARACTERS = 255
"""The most characters that have a token of their own."""
OTHER = "\N{REPLACEMENT CHARACTER}"
"""What a text shows for the token of all other characters."""
WINDOWS = 64
"""The most examples in a split."""


class Text(NamedTuple):
    """The characters that have tokens, the parts of the text as tokens, each (N,), and the SHA-256 of the text."""

    vocabulary: str
    train: Tensor
    validation: Tensor
    test: Tensor
    hash: str


@dataclass(frozen=True)
class Characters(StoredTask[Text]):
    r"""Next-character prediction, at every character of a text: $c_{t+1}$ after $c_1 \dots c_t$.

    The last tenth of the text is the test split, the tenth before it the validation split; the rest gives training
    windows, which are drawn anywhere in it. Tokens are the characters of the training part by code point, at most its
    255 most frequent ones; the last token stands for all others. The metric is bits per character. A perfect
    model would score 0, which no model can reach, since a text does not determine what follows.

    A split holds up to 64 windows that begin at even distances and do not overlap at length T. A longer
    window reads on, and continues at the beginning of the split after its end.

    Args:
        path: the text, a UTF-8 file of at least 10 (T + 1) characters; None for the language reference that
            Python itself carries (its `help` topics, some 400,000 characters, which differ between versions).
        steps: T, the number of characters in a window, at least 1.

    Raises:
        TypeError: an option is of another type.
        ValueError: `steps` is below 1; when the text is first read, it is not UTF-8 or too short.
        FileNotFoundError: when the text is first read, `path` names no file.

    Source: Graves (2013), arXiv 1308.0850.

    >>> x, y = Characters(__file__, steps=32).batch(2, torch.Generator().manual_seed(0))
    >>> torch.equal(x[:, 1:], y[:, :-1])
    True
    """

    name = "characters"
    metric = "bits"
    length_name = "steps"
    length_option = "steps"
    head = "every"
    tokens = True
    continues = True

    path: str | None = field(default=None, metadata=BY_CONTENT)
    steps: int = 256

    def __post_init__(self) -> None:
        check_text("path", self.path)
        check_at_least("steps", self.steps, 1)

    @property
    def length(self) -> int:
        """The number of characters trained with."""
        return self.steps

    @property
    def input_size(self) -> int:
        """The number of tokens."""
        return len(self.vocabulary) + 1

    @property
    def output_size(self) -> int:
        """The number of tokens."""
        return len(self.vocabulary) + 1

    @property
    def vocabulary(self) -> str:
        """The characters that have a token, in the order of their tokens; one more token stands for all others."""
        return self._data.vocabulary

    def encode(self, text: str) -> Tensor:
        """The tokens of a text, int64 (T,).

        >>> task = Characters()
        >>> task.decode(task.encode("if x:"))
        'if x:'
        """
        place = {character: token for token, character in enumerate(self.vocabulary)}
        return torch.tensor([place.get(character, len(place)) for character in text], dtype=torch.int64)

    def decode(self, tokens: Tensor) -> str:
        """The text of tokens (T,), in which U+FFFD stands for a character that has no token of its own."""
        characters = self.vocabulary + OTHER
        return "".join(characters[token] for token in tokens.tolist())

    @property
    def chance(self) -> float:
        """The bits per character of the test part by the frequencies in the training part, each counted once more."""
        text = self._data
        counts = text.train.bincount(minlength=self.output_size).double() + 1
        return -(counts / counts.sum()).log2()[text.test].mean().item()

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the text's characters."""
        return self._data.hash

    @property
    def longest(self) -> int:
        """The number of characters in a split."""
        return len(self._data.test)

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws windows of the training part: tokens (B, T), and the tokens one step later (B, T)."""
        check_at_least("batch_size", batch_size, 1)
        train = self._data.train
        starts = torch.randint(len(train) - self.steps, (batch_size, 1), generator=generator)
        windows = train[starts + torch.arange(self.steps + 1)]
        return windows[:, :-1], windows[:, 1:]

    def stream_windows(
        self, number: int, rows: list[int], streams: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The windows of streams that begin at even distances in the training part, and go on at its beginning."""
        train = self._data.train
        first = int(torch.randint(len(train), (), generator=generator))
        starts = torch.tensor([first + row * len(train) // streams + number * self.steps for row in rows])
        return next(_read_round(train, starts[:, None], [self.steps]))  # type: ignore[return-value]

    def split_size(self, split: str) -> int:
        """The number of windows that fit without overlap, at most 64."""
        check_split(split)
        return min(WINDOWS, (len(self._part(split)) - 1) // self.steps)

    def stream(self, split: str, start: int, stop: int, length: int) -> Stream:
        """Gives the windows in blocks, with the tokens one step later.

        Raises:
            ValueError: the split has fewer characters than `length`.
        """
        check_examples(split, start, stop)
        windows = self.split_size(split)
        check_stop(split, stop, windows, "windows")
        part = self._part(split)
        sizes = list(blocks(length))
        if length > len(part):
            raise ValueError(f"`length` must be at most the {len(part)} characters of {split}, got {length}")
        places = torch.tensor([i * len(part) // windows for i in range(windows)[start:stop]])
        return _read_round(part, places[:, None], sizes)

    def _part(self, split: str) -> Tensor:
        return self._data.validation if split == "validation" else self._data.test

    def _load(self) -> Text:
        text = _load_text(None, "") if self.path is None else _load_text(*_find_text(self.path))
        size, least = sum(map(len, (text.train, text.validation, text.test))), 10 * (self.steps + 1)
        if size < least:
            raise ValueError(
                f"{self.path or 'the text'} must hold {least} characters for {self.steps} `steps`, got {size}"
            )
        return text


def _read_round(part: Tensor, places: Tensor, sizes: list[int]) -> Stream:
    """Reads from each of the places (B, 1) on: tokens, and those one step later; the first token follows the last."""
    begin = 0
    for size in sizes:
        window = part[(places + torch.arange(begin, begin + size + 1)) % len(part)]
        yield window[:, :-1], window[:, 1:]
        begin += size


def _find_text(path: str) -> tuple[str, str]:
    """The absolute path of the file, and its version."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"`path` must name a text file, got {path}")
    return str(Path(path).absolute()), version_of([Path(path)])


@lru_cache(maxsize=8)
def _load_text(path: str | None, version: str) -> Text:
    text = _language_reference() if path is None else _read_text(path)
    codes = np.frombuffer(text.encode("utf-32-le"), np.dtype("<u4"))
    held_out = len(codes) // 10
    found, counts = np.unique(codes[: len(codes) - 2 * held_out], return_counts=True)
    known = np.sort(found[np.argsort(-counts, kind="stable")[:MOST_CHARACTERS]])
    places = np.searchsorted(known, codes).clip(max=max(0, len(known) - 1))
    tokens = torch.from_numpy(np.where(known[places] == codes, places, len(known)) if len(codes) else places)
    train, validation, test = tokens.long().split([len(codes) - 2 * held_out, held_out, held_out])
    return Text("".join(map(chr, known.tolist())), train, validation, test, hashlib.sha256(text.encode()).hexdigest())


def _language_reference() -> str:
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def _read_text(path: str) -> str:
    try:
        return Path(path).read_bytes().decode()
    except UnicodeDecodeError as error:
        byte = f"0x{error.object[error.start]:02x} at byte {error.start}"
        raise ValueError(f"{path} must be a UTF-8 text, got {byte} ({error.reason})") from None
