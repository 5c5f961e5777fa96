"""Small copies of both speech data sets: tones, one for each digit or word."""

import io
import math
import wave
import zipfile
from functools import cache

from remanent.tasks.sounds.speech import WORDS


def tone(digit, speaker=0, index=0, rate=8000):
    """A clip's samples: a tone for each digit, a length for each recording."""
    count = rate // 8 + rate // 50 * ((7 * digit + 3 * speaker + 5 * index) % 11)
    hertz = 200 * (digit + 1) + 10 * speaker + index
    return [round(9000 * math.sin(2 * math.pi * hertz * n / rate) * (n + 1) / count) for n in range(count)]


def wav(samples, rate=8000, channels=1, width=2):
    file = io.BytesIO()
    with wave.open(file, "wb") as clip:
        clip.setparams((channels, width, rate, 0, "NONE", ""))
        clip.writeframes(b"".join(s.to_bytes(width, "little", signed=True) for s in samples))
    return file.getvalue()


RECORDINGS = {
    f"{digit}_{speaker}_{index}.wav": wav(tone(digit, number, index))
    for digit in range(10)
    for number, speaker in enumerate(("anna", "bo"))
    for index in range(0, 14, 2)
}


def write_digits(place, recordings=RECORDINGS, *, top=""):
    """A folder of recordings, or a zip where the place ends so."""
    if place.suffix == ".zip":
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(f"{top}README.md", "digits")
            for name, content in recordings.items():
                file.writestr(f"{top}recordings/{name}", content)
        return place
    (place / top / "recordings").mkdir(parents=True)
    for name, content in recordings.items():
        (place / top / "recordings" / name).write_bytes(content)
    return place


@cache
def _command(number, index):
    return wav(tone(number, 0, index, 16_000), 16_000)


def write_commands(folder, words=(*WORDS, "cat")):
    names = [f"{speaker}_nohash_{n}.wav" for speaker in ("0a", "1b", "2c") for n in (0, 1)]
    for number, word in enumerate(words):
        (folder / word).mkdir(parents=True)
        for index, name in enumerate(names):
            (folder / word / name).write_bytes(_command(number, index))
    (folder / "_background_noise_").mkdir()
    (folder / "validation_list.txt").write_text("".join(f"{word}/{names[0]}\n" for word in words))
    (folder / "testing_list.txt").write_text("".join(f"{word}/{name}\n" for word in words for name in names[1:3]))
    return names
