"""The page in Chromium: no errors, no horizontal scroll, WCAG AA, with and without JavaScript."""

import json
import shutil
import socket
from pathlib import Path

import pytest

from resnet_probe.analyses import paths
from resnet_probe.report.drawings import inline
from resnet_probe.tables import Result
from tests.commands.subjects import study
from tests.report.pages import page, save_inspect, save_lesion, save_paths

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, chromium-browser or google-chrome on the PATH"),
    # playwright and asyncio leave sockets and loops to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
WIDTHS = (390, 1024, 1600)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save_inspect(folder / "net")
    save_lesion(folder / "net")
    save_paths(folder / "net")
    (folder / "net" / "reorder.journal").write_bytes(b"")
    target = folder / "report.html"
    target.write_text(page(folder), encoding="utf-8")
    return target.as_uri()


def look(browser, address, *, width=1024, scheme="light", **how):
    """The page, and a list that its complaints go to."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **how)
    context.set_default_timeout(120_000)  # a busy machine is no fault of the page
    shown, complaints = context.new_page(), []
    shown.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on(
        "request", lambda asked: None if asked.url.startswith(("file:", "data:")) else complaints.append(asked.url)
    )
    shown.goto(address)
    return shown, complaints


def violations(shown):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(shown).response
    assert len(found["passes"]) > 15  # axe has looked
    return [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found["violations"]]


def fits(shown):
    return shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_errors_no_horizontal_scroll_and_wcag_aa(browser, address, width, scheme):
    shown, complaints = look(browser, address, width=width, scheme=scheme)
    for folded in shown.locator("details").all():
        folded.evaluate("each => { each.open = true; }")
    assert fits(shown)
    assert violations(shown) == []
    assert complaints == []
    shown.context.close()


def test_a_wide_screen_is_filled_and_a_narrow_one_has_one_column(browser, address):
    for width, beside in ((1600, True), (1024, False)):
        shown, _ = look(browser, address, width=width)
        words, figure = (
            shown.locator(f"#analysis-lesion article {part}").first.bounding_box() for part in ("p", "figure")
        )
        picture, panel = (shown.locator(f".network {part}").first.bounding_box() for part in (".card", ".panel"))
        for left, right in ((words, figure), (picture, panel)):
            assert (right["x"] >= left["x"] + left["width"]) == beside
            assert (right["y"] >= left["y"] + left["height"]) != beside
        assert shown.locator("main").bounding_box()["width"] > 0.8 * width
        shown.context.close()


def test_the_report_of_a_study_is_whole_and_can_be_read_by_everyone(browser, tmp_path_factory):
    address = (study(tmp_path_factory) / "report.html").as_uri()
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            shown, complaints = look(browser, address, width=width, scheme=scheme)
            assert fits(shown)
            if width == 1024:
                assert violations(shown) == []
            for name in (
                "compare",
                "lesion",
                "lesion-multi",
                "reorder",
                "paths",
                "gradients",
                "responses",
                "iterative",
            ):
                assert shown.locator(f"#analysis-{name} svg.plot").first.bounding_box()["width"] > 200
            assert shown.locator("svg.anatomy").count() == 2
            assert complaints == []
            shown.context.close()
    shown, _ = look(browser, address, java_script_enabled=False)
    assert shown.locator("figure svg.plot").count() >= 9
    assert shown.locator("table.claims tbody tr").count() >= 8
    shown.context.close()


def test_axe_sees_what_is_wrong(browser, address):
    shown, _ = look(browser, address)
    shown.add_style_tag(content=".source { color: #ccc !important; }")
    assert "color-contrast" in dict(violations(shown))
    shown.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_without_javascript_the_story_is_all_there(browser, address, width):
    shown, complaints = look(browser, address, width=width, java_script_enabled=False)
    assert shown.locator("figure svg.plot").count() == 2
    assert shown.locator("svg.anatomy .unit").count() == 5
    assert shown.locator("table.claims tbody tr").count() >= 3
    assert shown.locator(".panel").first.is_hidden()  # what only a script could fill
    assert "5 % error, 5 wrong of 100 images" in shown.inner_text("main")
    assert shown.locator("th button").count() == 0
    shown.locator("details summary").last.click()
    assert shown.locator("details[open]").count() > 0
    assert complaints == []
    shown.context.close()


def test_a_tampered_figure_fetches_nothing(browser, address, tmp_path):
    """A socket that listens hears nothing, also of what the page itself would let through."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        there = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        styles = (f"fill: url({there})", f"fill: \\75 rl({there})", f"mask-image: url({there})",
                  f"background: image-set('{there}' 1x)")  # fmt: skip
        drawn = "".join(f'<rect width="9" height="9" style="{style}"/>' for style in styles)
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{drawn}<image href="{there}"/></svg>'
        page = Path(address.removeprefix("file://")).read_text(encoding="utf-8")
        hostile = tmp_path / "hostile.html"
        hostile.write_text(
            page.replace("<main", f"{inline(svg, 'x', 'x')}{svg}<script>fetch('{there}')</script><main", 1)
        )
        shown, _ = look(browser, hostile.as_uri())
        shown.wait_for_timeout(500)
        with pytest.raises(TimeoutError):
            server.accept()
        shown.context.close()


def test_figures_are_as_wide_as_they_should_be(browser, address):
    for width in WIDTHS:
        shown, _ = look(browser, address, width=width)
        for figure in shown.locator("svg.plot").all():
            box = figure.bounding_box()
            assert 200 < box["width"] < width
            assert box["height"] > 100
        shown.context.close()


def test_tables_are_sorted_by_value(browser, address):
    shown, _ = look(browser, address)
    shown.locator("#analysis-inspect summary").first.click()  # short tables are open: this folds it
    shown.locator("#analysis-inspect summary").first.click()
    table = shown.locator("#analysis-inspect table").first
    headings = [text.strip() for text in table.locator("thead th").all_inner_texts()]
    column = headings.index("parameters")

    def values():
        cells = [row.locator("td").nth(column).inner_text() for row in table.locator("tbody tr").all()]
        return [int(cell.replace(",", "")) for cell in cells]

    assert values() == [144, 0, 4672, 14000, 18000, 330]
    button = table.locator("thead th").nth(column).locator("button")
    button.click()
    assert values() == [0, 144, 330, 4672, 14000, 18000]
    assert table.locator("thead th").nth(column).get_attribute("aria-sort") == "ascending"
    button.press("Enter")
    assert values() == [18000, 14000, 4672, 330, 144, 0]
    shown.context.close()


def test_a_unit_shows_its_numbers_when_pointed_at_and_when_focused(browser, address):
    shown, _ = look(browser, address)
    panel = shown.locator(".panel .numbers").first
    assert panel.inner_text() == ""
    shown.locator('.unit[data-unit="b"]').hover()
    assert "+25 points" in panel.inner_text()
    assert "changes the shape" in panel.inner_text()
    shown.locator('.unit[data-unit="c"]').focus()
    assert "18,000" in panel.inner_text()
    shown.context.close()


def test_blocks_are_switched_and_the_paths_that_are_left_are_exact(browser, tmp_path):
    """54 blocks have more paths than a number of JavaScript can hold."""
    names = [f"layer{i}" for i in range(54)]
    rows = [{"network": "deep", "block": "(intact)", "index": None, "stage": None, "kind": None}]
    rows += [
        {"network": "deep", "block": name, "index": i, "stage": 1, "kind": "block"} for i, name in enumerate(names)
    ]
    rows = [
        row
        | {"images": 100, "wrong": 5, "error": 5.0, "error_low": 4.0, "error_high": 6.0, "resizes": False, "changed": 0}
        for row in rows
    ]
    Result("lesion", tuple(rows[0]), tuple(rows), {"arch": "resnet110"}).save(tmp_path)
    paths.counted({"module": [(1, 1)] * 54}, "deep").save(tmp_path)
    target = tmp_path / "report.html"
    target.write_text(page(tmp_path), encoding="utf-8")
    shown, complaints = look(browser, target.as_uri())
    status = shown.locator(".panel .paths")
    assert f"{2**54:,} paths, 27 residual branches long" in status.inner_text()
    first, second = (shown.locator(f'.unit[data-unit="{name}"]') for name in names[:2])
    first.click()
    assert f"1 of 54 blocks are off: {2**53:,} of {2**54:,} paths are left (50 %), 26.5" in status.inner_text()
    assert "Measured error without layer0: 5 %" in status.inner_text()
    second.press("Enter")
    assert f"{2**52:,} of" in status.inner_text()
    assert "26 residual branches" in status.inner_text()
    assert (first.get_attribute("aria-checked"), second.get_attribute("aria-checked")) == ("false", "false")
    second.press(" ")
    assert f"{2**53:,} of" in status.inner_text()
    assert violations(shown) == []
    shown.locator(".restore").click()
    assert f"{2**54:,} paths, 27" in status.inner_text()
    assert first.get_attribute("aria-checked") == "true"
    assert json.loads(shown.locator("script.data").inner_text())["counts"][27] == str(paths.multiply([(1, 1)] * 54)[27])
    assert complaints == []
    shown.context.close()


def test_it_prints_without_what_only_a_screen_can_do(browser, address, tmp_path):
    shown, _ = look(browser, address)
    shown.emulate_media(media="print")
    assert shown.locator(".panel").first.is_hidden()
    assert shown.locator("nav").is_hidden()
    assert shown.locator("svg.plot").first.is_visible()
    assert fits(shown)
    shown.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").stat().st_size > 10_000
    shown.context.close()


def test_figures_use_the_width_there_is_and_never_more(browser, address):
    for width in WIDTHS:
        shown, _ = look(browser, address, width=width)
        figure = shown.locator("svg.plot").first
        wide = float(figure.get_attribute("style").split(":")[1].removesuffix("in")) * 96
        room = shown.locator("figure").first.bounding_box()["width"]
        drawn = figure.bounding_box()["width"]
        assert drawn == pytest.approx(1.6 * wide, abs=2) or (drawn < 1.6 * wide and drawn > room - 45)
        assert drawn <= room
        shown.context.close()


def test_the_number_of_a_block_that_is_off_can_be_read(browser, address):
    shown, _ = look(browser, address)
    worst = shown.locator('[data-unit="b"]').first  # white on dark red
    before = worst.locator(".value").evaluate("e => getComputedStyle(e).fill")
    worst.click()
    after = worst.locator(".value").evaluate("e => getComputedStyle(e).fill")
    assert (before, after) == ("rgb(255, 255, 255)", "rgb(29, 35, 43)")
    shown.context.close()
