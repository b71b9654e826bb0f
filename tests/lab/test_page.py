"""The page in Chromium, with every other address blocked: edits, addresses, what is kept, and that all can use it."""

import re
import shlex
from pathlib import Path

import pytest

from resnet_probe import checkpoint
from resnet_probe.cli import main
from resnet_probe.tables import read
from tests.lab.labs import lab_in, served
from tests.report import test_browser as report

pytestmark = report.pytestmark
browser = report.browser
CLOUD = [(1, 60.0), (1, 55.0), (2, 70.0), (3, 81.0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def url(folder):
    with served(lab_in(folder, cloud=CLOUD)) as address:
        yield address


@pytest.fixture
def opened(browser, url):
    """Opens the lab at a fragment; other addresses are complaints."""
    contexts = []

    def at(fragment="", *, width=1024, scheme="light", address=url):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(60_000)
        shown, complaints = context.new_page(), []
        shown.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        context.route(
            lambda asked: not asked.startswith((address, "data:")),
            lambda route: (complaints.append(route.request.url), route.abort()),
        )
        shown.goto(address + fragment)
        settle(shown)
        return shown, complaints

    yield at
    for context in contexts:
        context.close()


def settle(shown, ends=""):
    """Wait until the address ends so, and until everything about it is shown; the page allows no eval."""
    shown.wait_for_url(lambda address: address.endswith(ends))
    state = shown.evaluate("location.hash")
    shown.wait_for_selector(f'#answer[aria-busy=false][data-state="{state}"]')


def unit(shown, name):
    return shown.locator(f"[data-unit='{name}']")


def numbers(shown):
    data = shown.locator("#answer").evaluate("each => ({...each.dataset})")
    return int(data["images"]), int(data["wrong"]), int(data["changed"])


def fragment(shown):
    return shown.evaluate("location.hash")


def test_deleting_shows_what_the_command_line_says(opened, tmp_path):
    shown, complaints = opened()
    assert shown.inner_text("#increase") == "none"
    unit(shown, "layer1.1").click()
    settle(shown)
    assert fragment(shown) == "#delete=layer1.1"
    first = shown.locator("#lines code").first.inner_text()
    words = shlex.split(first)
    assert main([*words[1:], "--out", str(tmp_path), "--normalize", "digits", "-q", "--format", "svg"]) == 0
    row = next(row for row in read(tmp_path, "lesion").rows if row["block"] == "layer1.1")
    assert numbers(shown) == (row["images"], row["wrong"], row["changed"])
    assert shown.inner_text("#error") == f"{row['error']:.2f} %"
    assert shown.inner_text("#loss") == f"{row['loss']:.4f}"
    low, high = (f"{row[f'increase_{end}']:+.2f}".replace("-", "−") for end in ("low", "high"))
    assert shown.inner_text("#increase-more").endswith(f"{low} to {high}")
    assert complaints == []


def test_undo_redo_and_addresses(opened):
    shown, complaints = opened()
    intact = numbers(shown)
    unit(shown, "layer1.1").click()
    settle(shown)
    deleted = numbers(shown)
    unit(shown, "layer2.1").click()
    settle(shown)
    both = numbers(shown)
    assert fragment(shown) == "#delete=layer1.1+layer2.1"
    one, two = "#delete=layer1.1", "#delete=layer1.1+layer2.1"
    steps = (("#undo", one, deleted), ("#undo", "/", intact), ("#redo", one, deleted), ("#redo", two, both))
    for press, address, wanted in steps:
        shown.click(press)
        settle(shown, address)
        assert numbers(shown) == wanted
    assert shown.locator("#redo").is_disabled()
    shown.keyboard.press("Control+z")
    settle(shown, "#delete=layer1.1")
    again, _ = opened("#delete=layer1.1+layer2.1")
    assert numbers(again) == both
    assert unit(again, "layer2.1").get_attribute("aria-checked") == "false"
    assert complaints == []


def test_the_slider_scales_and_is_one_step_of_the_history(opened, url):
    shown, _ = opened()
    unit(shown, "layer2.1").click(modifiers=["Shift"])
    unit(shown, "layer3.1").click(modifiers=["Shift"])
    assert shown.inner_text("#selected-h") == "2 selected: layer2.1, layer3.1"
    shown.locator("#scale").focus()
    for _ in range(3):
        shown.keyboard.press("ArrowLeft")
    settle(shown, "layer3.1*0.85")
    assert fragment(shown) == "#scale=layer2.1*0.85+layer3.1*0.85"
    direct, _ = opened(fragment(shown))
    assert numbers(shown) == numbers(direct)


def test_dragging_reorders_where_shapes_allow(opened):
    shown, _ = opened()
    boxes = {name: unit(shown, name).bounding_box() for name in ("layer1.0", "layer1.1", "layer2.1")}

    def drag(start, end):
        for number, name in enumerate((start, end)):
            box = boxes[name]
            shown.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
            (shown.mouse.down, shown.mouse.up)[number]()

    drag("layer1.0", "layer2.1")
    assert fragment(shown) == ""
    drag("layer1.0", "layer1.1")
    settle(shown)
    assert fragment(shown) == "#reorder=layer1.1+layer1.0"
    assert "moved" in unit(shown, "layer1.0").get_attribute("aria-label")
    names = shown.locator(".unit:enabled").evaluate_all("all => all.map((each) => each.dataset.unit)")
    assert names[:2] == ["layer1.1", "layer1.0"]


def test_everything_can_be_done_with_keys(opened):
    shown, _ = opened()
    unit(shown, "layer1.0").focus()
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("Space")
    settle(shown, "#delete=layer1.1")
    shown.keyboard.press("Alt+ArrowLeft")
    settle(shown, "reorder=layer1.1+layer1.0")
    shown.keyboard.press("End")
    shown.keyboard.press("-")
    shown.wait_for_url("**0.95**")
    shown.keyboard.press("Shift+Space")
    assert shown.evaluate("document.activeElement.dataset.unit") == "layer3.1"
    settle(shown)
    assert "0.95" in shown.inner_text("#state")


def test_an_address_that_the_network_does_not_allow_is_told(opened, url):
    shown, _ = opened()
    shown.evaluate("location.hash = '#delete=layer9.9'")
    shown.wait_for_selector("#trouble:has-text('layer9.9')")


def test_the_edited_network_is_saved(opened, folder):
    shown, _ = opened("#delete=layer1.1&scale=layer2.1*0.5")
    shown.click("#save")
    shown.wait_for_selector("#saved:has-text('Saved')")
    (file,) = re.findall(r"\S+\.safetensors", shown.inner_text("#saved"))
    assert Path(file).parent == folder / "out"
    edits = checkpoint.load(file).metadata["edits"]
    assert edits == [{"delete": ["layer1.1"]}, {"scale": {"layer2.1": 0.5}}]


def test_a_story_needs_no_server(opened, browser, folder):
    shown, _ = opened()
    unit(shown, "layer1.1").click()
    settle(shown)
    shown.locator("#story textarea").nth(1).fill("It hurts <b>a lot</b>.")
    error = shown.inner_text("#error")
    shown.click("#export")
    shown.wait_for_selector("#exported:has-text('Written')")
    (file,) = (folder / "out").glob("story*.html")
    story, complaints = report.look(browser, file.as_uri())
    assert story.locator("h2").all_inner_texts() == ["Intact", "deleted layer1.1"]
    assert error in story.inner_text("main")
    assert "It hurts <b>a lot</b>." in story.inner_text("main")
    assert story.locator("svg.chart").count() >= 8
    assert story.locator("script, link, [src^=http]").count() == 0
    assert story.evaluate("[...document.images].every((each) => each.naturalWidth > 0)")
    assert report.fits(story)
    assert report.violations(story) == []
    assert complaints == []
    story.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", report.WIDTHS)
def test_no_errors_no_horizontal_scroll_and_wcag_aa(opened, width, scheme):
    shown, complaints = opened("#delete=layer1.1&scale=layer2.1*0.5", width=width, scheme=scheme)
    unit(shown, "layer2.1").click(modifiers=["Shift"])
    shown.locator("details").evaluate("each => { each.open = true; }")
    assert shown.locator("svg.chart").count() == 5  # interval, confusion, paths, profile, cloud
    assert report.fits(shown)
    assert report.violations(shown) == []
    assert complaints == []
