"""The Long Range Arena's Pathfinder files: found, split, read when they are needed, refused when damaged."""

import sys

import pytest
import torch

from remanent.tasks.base import read_whole
from remanent.tasks.images.pathfinder import Pathfinder

LEVEL = "curv_contour_length_14"


def write_release(parent, count=40, size=32, level=LEVEL, empty=()):
    """A small release, three lists of which the last is number 10; the pixels of image k are its number."""
    from PIL import Image

    folder = parent / "lra_release" / f"pathfinder{size}" / level
    (folder / "metadata").mkdir(parents=True)
    lists = {0: "", 2: "", 10: ""}
    for k in range(count):
        number = list(lists)[k * len(lists) // count]
        path = folder / "imgs" / str(number) / f"sample_{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if k in empty:
            path.touch()
        else:
            Image.new("L", (size, size), k).save(path)
        lists[number] += f"imgs/{number} sample_{k}.png {k} {int(k % 3 == 0)} 1.8 6 3 0.5\n"
    for number, text in lists.items():
        (folder / "metadata" / f"{number}.npy").write_text(text, encoding="utf-8")
    return folder


def files(folder, **options):
    return Pathfinder(**({"source": "long-range-arena"} | options), data_dir=str(folder))


def shown(x):
    """Which images these are."""
    return ((x[:, 0, 0] + 0.5) * 255).round().long().tolist()


def test_splits_are_whole_disjoint_and_a_fixed_shuffle(tmp_path):
    write_release(tmp_path, empty=(3, 17))
    task = files(tmp_path, padding=2)
    assert (task.split_size("validation"), task.split_size("test")) == (3, 3)
    validation, test = (read_whole(task, split, 0, 3, 2) for split in ("validation", "test"))
    train = task.batch(32, torch.Generator().manual_seed(0))
    kept = [k for k in range(40) if k not in (3, 17)]
    assert sorted(shown(validation[0]) + shown(test[0]) + shown(train[0])) == kept
    order = torch.randperm(38, generator=torch.Generator().manual_seed(0)).tolist()
    assert shown(validation[0]) == [kept[i] for i in order[:3]]
    assert shown(test[0]) == [kept[i] for i in order[3:6]]
    for x, classes in (validation, test, train):
        assert x.shape[1:] == (1024 + 2, 1)
        assert classes.tolist() == [int(k % 3 == 0) for k in shown(x)]
        assert torch.equal(x[:, -2:], torch.zeros(len(x), 2, 1))
    share = sum(k % 3 == 0 for k in shown(test[0])) / 3
    assert task.chance == pytest.approx(max(share, 1 - share))
    assert torch.equal(read_whole(task, "test", 1, 2, 0)[0], test[0][1:2, :-2])


def test_pixels_are_read_row_by_row(tmp_path):
    from PIL import Image

    folder = write_release(tmp_path)
    task = files(tmp_path)
    (number,) = shown(read_whole(task, "test", 0, 1, 0)[0])
    (path,) = folder.glob(f"imgs/*/sample_{number}.png")
    pixels = torch.arange(1024) % 256
    Image.frombytes("L", (32, 32), bytes(pixels.tolist())).save(path)
    x, _ = read_whole(task, "test", 0, 1, 0)
    assert torch.equal(x.flatten(), pixels.float() / 255 - 0.5)


@pytest.mark.parametrize("way", ["", "lra_release", "lra_release/pathfinder32", f"lra_release/pathfinder32/{LEVEL}"])
def test_the_release_is_found_from_any_folder_on_the_way(tmp_path, way, monkeypatch):
    write_release(tmp_path)
    assert files(tmp_path / way).split_size("test") == 4
    monkeypatch.setenv("REMANENT_DATA", str(tmp_path / way))
    assert Pathfinder(source="long-range-arena").split_size("test") == 4


def test_sizes_and_difficulties_have_folders_of_their_own(tmp_path):
    write_release(tmp_path, count=30, size=64, level="curv_baseline")
    assert files(tmp_path, size=64, difficulty="curv_baseline").split_size("test") == 3
    with pytest.raises(
        FileNotFoundError,
        match=r"`data_dir` or REMANENT_DATA must hold lra_release/pathfinder32/curv_contour_length_9/m",
    ):
        files(tmp_path, difficulty="curv_contour_length_9").split_size("test")
    with pytest.raises(FileNotFoundError, match=r"github\.com/google-research/long-range-arena"):
        files(tmp_path).split_size("test")


def test_without_a_folder_the_error_says_what_to_do(monkeypatch):
    monkeypatch.delenv("REMANENT_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"github\.com/google-research/long-range-arena.*REMANENT_DATA"):
        Pathfinder(source="long-range-arena").split_size("test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"imgs/0 sample_0.png 0\n",
            r"0\.npy:1 must be a folder, a file, a number and a class 0 or 1, got 'imgs/0 sam",
        ),
        (b"\nimgs/0 sample_0.png 0 2\n", r"0\.npy:2 must be a folder, a file, a number and a class 0 or 1, got 'imgs"),
        (b"imgs/0 sample_99.png 0 1\n", r"0\.npy:1 must name an image that exists, got .*sample_99\.png"),
        (b"\x93NUMPY\x01\x00", r"0\.npy must be text in UTF-8, got"),
    ],
)
def test_damaged_lists_are_refused(tmp_path, content, message):
    folder = write_release(tmp_path)
    (folder / "metadata" / "0.npy").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        files(tmp_path).split_size("test")


def test_a_list_of_too_few_images_is_refused(tmp_path):
    write_release(tmp_path, count=9)
    with pytest.raises(ValueError, match="metadata must list at least 10 images, got 9"):
        files(tmp_path).split_size("test")


@pytest.mark.parametrize("content", [b"no image", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"])
def test_damaged_images_are_refused_when_they_are_read(tmp_path, content):
    folder = write_release(tmp_path)
    task = files(tmp_path)
    assert task.split_size("test") == 4
    for path in folder.glob("imgs/*/*.png"):
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"sample_\d+\.png must be an image, got"):
        task.stream("test", 0, 1, 0)


def test_images_that_are_cut_short_are_refused(tmp_path):
    folder = write_release(tmp_path)
    for path in folder.glob("imgs/*/*.png"):
        path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(ValueError, match=r"sample_\d+\.png must be an image, got"):
        files(tmp_path).stream("test", 0, 1, 0)


def test_images_of_another_size_are_refused(tmp_path):
    write_release(tmp_path, size=64)
    (tmp_path / "lra_release" / "pathfinder64").rename(tmp_path / "lra_release" / "pathfinder32")
    with pytest.raises(ValueError, match=r"sample_\d+\.png must have 32 x 32 pixels, got 64 x 64"):
        files(tmp_path).stream("test", 0, 1, 0)


def test_more_images_than_there_are_cannot_be_drawn(tmp_path):
    write_release(tmp_path)
    with pytest.raises(ValueError, match="`batch_size` must be at most the 32 training images, got 33"):
        files(tmp_path).batch(33, torch.Generator())
    with pytest.raises(ValueError, match="`stop` must be at most the 4 images of the test split, got 5"):
        files(tmp_path).stream("test", 3, 5, 0)


def test_without_pillow_the_error_says_what_to_install(tmp_path, monkeypatch):
    write_release(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r'images need Pillow: pip install "remanent\[train\]"'):
        files(tmp_path).stream("test", 0, 1, 0)


def rewrite(folder, old, new):
    path = folder / "metadata" / "0.npy"
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("imgs/0 sample_2.png", "metadata must list an image once, got twice .*sample_2.png"),
        ("imgs/../imgs/./0 sample_2.png", "metadata must list an image once, got twice .*sample_2.png"),
        ("../../../other sample_1.png", r"0\.npy:2 must name an image in .*, got .*/other/sample_1\.png"),
        ("/etc passwd", r"0\.npy:2 must name an image in .*, got /etc/passwd"),
    ],
)
def test_lists_name_each_image_of_the_folder_once(tmp_path, new, message):
    folder = write_release(tmp_path)
    rewrite(folder, "imgs/0 sample_1.png", new)
    with pytest.raises(ValueError, match=message):
        files(tmp_path).split_size("test")


@pytest.mark.parametrize("content", [b"no image", "cut", "large", "gif"])
def test_every_image_is_read_before_the_first_is_used(tmp_path, content):
    from PIL import Image

    folder = write_release(tmp_path)
    path = folder / "imgs" / "10" / "sample_39.png"
    if content == "large":
        Image.new("1", (9000, 9000)).save(path)
    elif content == "gif":
        Image.new("L", (32, 32)).save(path, "GIF")
    else:
        path.write_bytes(path.read_bytes()[:45] if content == "cut" else content)
    message = "have 32 x 32 pixels, got 9000 x 9000" if content == "large" else "be an image, got"
    with pytest.raises(ValueError, match=rf"sample_39\.png must {message}"):
        files(tmp_path).split_size("test")


def test_lists_and_images_that_changed_are_read_again(tmp_path):
    folder = write_release(tmp_path)
    (folder / "metadata" / "._0.npy").write_bytes(b"\0\5\x16\7")  # macOS keeps such files
    task = files(tmp_path)
    assert task.split_size("test") == 4
    mark = task.fingerprint
    assert files(tmp_path).fingerprint == mark
    rewrite(folder, "sample_1.png 1 0", "sample_1.png 1 1")
    changed = files(tmp_path).fingerprint
    other = folder / "imgs" / "0" / "sample_2.png"
    other.write_bytes((folder / "imgs" / "0" / "sample_3.png").read_bytes())
    assert len({mark, changed, files(tmp_path).fingerprint}) == 3
    assert task.fingerprint == mark
    assert files(tmp_path, source="generated").fingerprint == ""
