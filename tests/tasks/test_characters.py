"""Characters: windows of a text, its splits and tokens, written out in plain Python."""

import math
import pickle
import random
from collections import Counter
from itertools import pairwise

import pytest
import torch

from remanent.tasks.base import read_whole
from remanent.tasks.characters import Characters
from remanent.tasks.chunks import BLOCK
from remanent.tasks.metrics import METRICS

LETTERS = "abcdefgh ijk\nlmn\r\nöß€😀"


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw_text(size, letters=LETTERS, seed=0):
    return "".join(random.Random(seed).choices(letters, k=size))


def slow_tokens(text):
    """The tokens of the training, validation and test part, and their characters."""
    held_out = len(text) // 10
    train = text[: len(text) - 2 * held_out]
    common = sorted(Counter(train).items(), key=lambda item: (-item[1], item[0]))[:255]
    known = sorted(character for character, _ in common)
    tokens = [known.index(c) if c in known else len(known) for c in text]
    return tokens[: len(train)], tokens[len(train) : len(text) - held_out], tokens[len(text) - held_out :], known


@pytest.fixture
def write(tmp_path):
    def write_text(text):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.txt"
        path.write_bytes(text.encode())
        return str(path)

    return write_text


TEXTS = {
    "few characters": draw_text(12_345),
    "more than have a token": draw_text(12_345, [chr(i) for i in range(32, 432)]) + draw_text(60, "a"),
    "one character": "a" * 3000,
    "new ones at the end": draw_text(2500, "ab") + draw_text(700, "abc\u0000é"),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_tokens_and_splits_are_those_of_the_plain_definition(write, text):
    task = Characters(write(text), steps=17)
    train, validation, test, known = slow_tokens(text)
    assert task.vocabulary == "".join(known)
    assert task.input_size == task.output_size == len(known) + 1 <= 256
    for split, tokens in (("validation", validation), ("test", test)):
        count = task.split_size(split)
        assert count == min(64, (len(tokens) - 1) // 17)
        x, target = read_whole(task, split, 0, count, 17)
        places = [i * len(tokens) // count for i in range(count)]
        assert x.tolist() == [tokens[p : p + 17] for p in places]
        assert target.tolist() == [tokens[p + 1 : p + 18] for p in places]
        assert all(after - before >= 17 for before, after in pairwise(places))
    x, target = task.batch(50, generator())
    joined = f" {' '.join(map(str, train))} "
    for row, later in zip(x.tolist(), target.tolist(), strict=True):
        assert f" {' '.join(map(str, [*row, later[-1]]))} " in joined
        assert row[1:] == later[:-1]
    counts = Counter(train)
    bits = [-math.log2((counts[token] + 1) / (len(train) + len(known) + 1)) for token in test]
    assert task.chance == pytest.approx(sum(bits) / len(bits))


def test_batches_come_from_their_generator(write):
    task = Characters(write(draw_text(5000)), steps=30)
    x, y = task.batch(7, generator(1))
    again, y_again = task.batch(7, generator(1))
    assert x.shape == y.shape == (7, 30)
    assert x.dtype == y.dtype == torch.int64
    assert torch.equal(x, again)
    assert torch.equal(y, y_again)
    assert not torch.equal(x, task.batch(7, generator(2))[0])


def test_windows_reach_both_ends_of_the_training_part(write):
    task = Characters(write(draw_text(40)), steps=3)
    train = slow_tokens(draw_text(40))[0]
    x, y = task.batch(2000, generator())
    seen = {(*row, later[-1]) for row, later in zip(x.tolist(), y.tolist(), strict=True)}
    assert seen == {tuple(train[i : i + 4]) for i in range(len(train) - 3)}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_streams_are_fixed_whatever_the_batch_and_go_round_the_end(write, split):
    text = draw_text(30_000)
    task = Characters(write(text), steps=40)
    tokens = slow_tokens(text)[1 if split == "validation" else 2]
    whole, target = read_whole(task, split, 0, 64, 3000)
    part, part_target = read_whole(task, split, 62, 64, 1234)
    assert torch.equal(part, whole[62:, :1234])
    assert torch.equal(part_target, target[62:, :1234])
    place = 63 * 3000 // 64
    assert whole[63].tolist() == tokens[place:] + tokens[:place]
    assert target[63].tolist() == whole[63].roll(-1).tolist()
    assert [x.shape for x, _ in task.stream(split, 0, 2, 2500)] == [(2, BLOCK), (2, BLOCK), (2, 500)]


def test_chance_is_what_the_metric_gives_an_answer_by_frequency(write):
    task = Characters(write(draw_text(200_000, "aaaabbc")), steps=300)
    _, target = read_whole(task, "test", 0, 64, 300)
    frequencies = torch.tensor([4 / 7, 2 / 7, 1 / 7, 1e-9]).log()
    metric = METRICS[task.metric]
    values, weights = metric.finish(metric.tally(frequencies.expand(*target.shape, 4), target))
    assert (values * weights).sum() / weights.sum() == pytest.approx(task.chance, abs=0.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ab\xffcd", "must be a UTF-8 text, got 0xff at byte 2"),
        ("aö".encode()[:-1], "must be a UTF-8 text, got 0xc3 at byte 1"),
        (b"", "must hold 2570 characters for 256 `steps`, got 0"),
        (b"a" * 2569, "must hold 2570 characters for 256 `steps`, got 2569"),
    ],
)
def test_a_file_that_is_no_text_or_too_short_is_named(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.txt {message}"):
        Characters(str(tmp_path / "a.txt")).split_size("test")


def test_the_shortest_text_holds_one_window(write):
    task = Characters(write(draw_text(2570)))
    assert task.split_size("validation") == task.split_size("test") == 1
    assert read_whole(task, "test", 0, 1, 256)[0].shape == (1, 256)


def test_bad_options_are_refused_by_name(write, tmp_path):
    task = Characters(write(draw_text(3000)), steps=20)
    for make, error, message in (
        (lambda: Characters(steps=0), ValueError, "`steps` must be at least 1, got 0"),
        (lambda: Characters(steps=1.5), TypeError, "`steps` must be an int, got 1.5"),
        (lambda: Characters(str(tmp_path)).chance, FileNotFoundError, "`path` must name a text file, got /"),
        (lambda: task.split_size("train"), ValueError, "`split` must be one of validation, test, got 'train'"),
        (lambda: task.stream("test", 0, 1, 0), ValueError, "`length` must be at least 1, got 0"),
        (lambda: task.stream("test", 0, 1, 301), ValueError, "`length` must be at most the 300 characters of test"),
    ):
        with pytest.raises(error, match=message):
            make()


def test_without_a_file_the_text_is_that_of_pythons_help():
    from pydoc_data.topics import topics

    task = Characters(steps=100)
    tokens, _ = task.batch(3, torch.Generator().manual_seed(0))
    text = "\n".join(topics[name] for name in sorted(topics))
    for row in tokens:
        assert "".join(task.vocabulary[token] for token in row) in text


def test_a_new_task_reads_a_text_that_changed_and_an_old_one_keeps_its_own(tmp_path, monkeypatch):
    for folder, letter in (("a", "x"), ("b", "y")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.txt").write_text(letter * 3000)
    monkeypatch.chdir(tmp_path / "a")
    first, unread = Characters("t.txt"), Characters("t.txt", steps=20)
    assert (first.vocabulary, first.batch(1, generator())[0].shape) == ("x", (1, 256))
    monkeypatch.chdir(tmp_path / "b")
    assert Characters("t.txt").vocabulary == unread.vocabulary == "y"
    for letter in "zwx":  # of the same size, and within the clock's tick
        (tmp_path / "b" / "t.txt").write_text(letter * 3000)
        assert Characters("t.txt").vocabulary == letter
    assert (first.vocabulary, unread.vocabulary) == ("x", "y")
    assert pickle.loads(pickle.dumps(first)) == first
    assert len(pickle.dumps(first)) < 1000
    assert first.fingerprint == Characters("t.txt").fingerprint != unread.fingerprint


def test_a_link_to_another_text_is_another_text(tmp_path):
    for letter in "xy":
        (tmp_path / f"{letter}.txt").write_text(letter * 3000)
    link = tmp_path / "t.txt"
    for letter in "xyx":
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / f"{letter}.txt")
        assert Characters(str(link)).vocabulary == letter
