"""The page in a browser: the latch obeys its equation, by mouse, keys and sliders; it works offline."""

import random
import re
import shutil

import pytest
import torch

from remanent.ops import latch_scan
from remanent.report.figures import hysteresis_loop
from remanent.report.page import Picture, Section, Table, write_page
from remanent.report.score_tables import Cell

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    figure = hysteresis_loop([-1, 1, 1, -1], [-1, 1, 1, -1], threshold=0.5, title="t")
    table = Table("scores", ["unit", "score"], [["a < b & c", Cell("1.0", is_best=True)]])
    section = Section(
        "Part", ["One & two <b>."], [table], [Picture(figure, "under it", "what it shows")], [("open", "{}")]
    )
    write_page(path, title="A page", summary="It says this.", sections=[section], footer="made by a test")
    return path


def test_text_is_escaped_and_the_same_page_has_the_same_bytes(page_file, tmp_path):
    text = page_file.read_text()
    assert "a &lt; b &amp; c" in text
    assert "One &amp; two &lt;b&gt;." in text
    assert "<strong>1.0</strong>" in text
    rule = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{rule}">' in text
    assert 'alt="what it shows"' in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "://" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)


def test_what_exists_is_not_overwritten(page_file):
    before = page_file.read_bytes()
    with pytest.raises(FileExistsError, match=r"`path` must not exist yet, got .*report\.html"):
        write_page(page_file, title="", summary="", sections=[], footer="")
    assert page_file.read_bytes() == before


class Opened:
    """A page in a browser, with what it said and asked for."""

    def __init__(self, browser, path, width, scheme="light"):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def latch(self):
        fields = "({input, state, fading, at}) => ({input, state, fading, at})"
        return self.page.evaluate(f"({fields})(document.querySelector('[data-latch]').latch)")

    def slide(self, name, value):
        self.page.locator(f'[data-control="{name}"]').fill(str(value))


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(params=[1200, 390], ids=["desktop", "phone"])
def opened(browser, page_file, request):
    opened = Opened(browser, page_file, request.param)
    yield opened
    opened.context.close()
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [page_file.as_uri()]


def check_equation(seen, threshold, epsilon, decay):
    """The page's states are those of the operator and of a linear unit, under the page's own input."""
    c = torch.tensor(seen["input"], dtype=torch.float64).reshape(1, -1, 1)
    beta, alpha = torch.tensor([threshold]).double(), torch.ones(1).double()
    expected = latch_scan(c, beta, alpha, epsilon=epsilon).flatten()
    torch.testing.assert_close(torch.tensor(seen["state"], dtype=torch.float64), expected, rtol=1e-12, atol=1e-12)
    h = 0.0
    for value, shown in zip(seen["input"], seen["fading"], strict=True):
        h = decay * h + (1 - decay) * value
        assert shown == pytest.approx(h, abs=1e-12)


def test_presets_and_sliders_follow_the_equation(opened):
    draw = random.Random(0)
    states = set()
    for preset in ("pulse", "pair", "sine", "noise", "clear"):
        opened.page.locator(f'[data-preset="{preset}"]').click()
        for _ in range(3):
            threshold, epsilon = round(20 * draw.uniform(0, 2)) / 20, round(20 * draw.random()) / 20
            opened.slide("threshold", threshold)
            opened.slide("epsilon", epsilon)
            opened.slide("decay", 0.9)
            check_equation(opened.latch(), threshold, epsilon, 0.9)
        opened.slide("threshold", 1)
        opened.slide("epsilon", 0)
        states.add(tuple(opened.latch()["state"]))
    assert len(states) == 5


def test_drawing_sets_and_resets_the_latch(opened):
    opened.page.locator('[data-preset="clear"]').click()
    opened.slide("threshold", 1)
    assert set(opened.latch()["state"]) == {0}
    pane = opened.page.locator('[data-view="input"]')
    pane.scroll_into_view_if_needed()
    box = pane.bounding_box()

    def at(share, height):
        return box["x"] + share * box["width"], box["y"] + height * box["height"]

    mouse = opened.page.mouse
    for share, height in ((0.25, 0.1), (0.6, 0.9)):
        mouse.move(*at(share, height))
        mouse.down()
        mouse.move(*at(share + 0.05, height), steps=4)
        mouse.up()
    mouse.move(*at(0.9, 0.1))  # without the button nothing is drawn
    seen = opened.latch()
    check_equation(seen, 1, 0, 0.97)
    assert [seen["state"][t] for t in (30, 60, 120, 159)] == [0, 1, -1, -1]
    assert "latch -1.00" in opened.page.locator("[data-said]").inner_text()


def test_the_keys_do_what_the_mouse_does(opened):
    opened.page.locator('[data-preset="clear"]').click()
    opened.page.locator('[data-view="input"]').focus()
    for key in ("Home", "ArrowRight", "ArrowRight", *["ArrowUp"] * 12):
        opened.page.keyboard.press(key)
    seen = opened.latch()
    assert seen["at"] == 2
    assert seen["input"][2] == pytest.approx(1.2)
    assert seen["state"][1:4] == [0, 1, 1]
    check_equation(seen, 1, 0, 0.97)
    assert opened.page.locator('[data-view="input"]').get_attribute("aria-valuenow") == "1.20"
    for _ in range(30):
        opened.page.keyboard.press("ArrowDown")
    assert opened.latch()["input"][2] == pytest.approx(-1.8)
    assert set(opened.latch()["state"][2:]) == {-1}


def test_playing_runs_to_the_end(opened):
    play = opened.page.locator("[data-play]")
    play.click()
    assert play.get_attribute("aria-pressed") == "true"
    opened.page.locator('[data-play][aria-pressed="false"]').wait_for(timeout=60_000)
    assert opened.latch()["at"] == 159
    assert play.inner_text() == "play"


def test_it_fits_its_width_and_is_dark_in_the_dark(browser, page_file):
    for width in (390, 1200):
        for scheme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(18, 20, 22)")):
            opened = Opened(browser, page_file, width, scheme)
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
            assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
            assert opened.page.evaluate("[...document.images].every((image) => image.naturalWidth > 0 && image.alt)")
            opened.context.close()
