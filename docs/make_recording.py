"""Record the lab at work, docs/lab.webp, with the ResNet of `resnet-probe demo` and the Chromium of the system.

    python docs/make_recording.py

What is recorded: blocks are deleted, one is put back, a branch is scaled, two blocks change places.
"""

from __future__ import annotations

import shutil
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright

from resnet_probe import checkpoint
from resnet_probe.analyses.subject import Subject
from resnet_probe.data import load_data
from resnet_probe.lab.about import cloud
from resnet_probe.lab.engine import Engine
from resnet_probe.lab.server import Bench, Lab, start
from resnet_probe.unraveled import unravel

ROOT = Path(__file__).parents[1]
DEMO, FILE = ROOT / "results" / "demo", ROOT / "docs" / "lab.webp"
SIZE = {"width": 1280, "height": 760}
WIDE, LARGEST = 960, 2**20  # pixels, bytes
POINTER = [(0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (13, 12)]


class Recording:
    """Pictures of the page, each with the pointer where it is, and how long it is shown in milliseconds."""

    def __init__(self, page: Page) -> None:
        self.page, self.frames, self.at = page, [], (640.0, 700.0)
        self.lasting: list[int] = []

    def keep(self, lasting: int) -> None:
        picture = Image.open(BytesIO(self.page.screenshot())).convert("RGB")
        ImageDraw.Draw(picture).polygon(
            [(x + self.at[0], y + self.at[1]) for x, y in POINTER], fill="black", outline="white"
        )
        self.frames.append(picture.resize((WIDE, WIDE * SIZE["height"] // SIZE["width"]), Image.Resampling.LANCZOS))
        self.lasting.append(lasting)

    def go(self, where: str) -> None:
        box = self.page.locator(where).bounding_box()
        assert box is not None
        self.at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.page.mouse.move(*self.at)

    def settle(self) -> None:
        state = self.page.evaluate("location.hash")
        self.page.wait_for_selector(f'#answer[aria-busy=false][data-state="{state}"]')

    def click(self, where: str, lasting: int = 1300, **how: Any) -> None:
        self.go(where)
        self.keep(400)
        self.page.locator(where).click(**how)
        self.settle()
        self.keep(lasting)


def unit(name: str) -> str:
    return f"[data-unit='{name}']"


def main() -> None:
    loaded = checkpoint.load(DEMO / "resnet32.safetensors")
    data = load_data("digits")
    engine = Engine(Subject("resnet32", unravel(loaded.model, data.input_shape), data, checkpoint=loaded))
    url, server = start(Lab([Bench(engine, cloud=cloud([DEMO], "resnet32"))], Path(mkdtemp())))
    chromium = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.set_default_timeout(120_000)
        page.goto(url)
        made = Recording(page)
        made.settle()
        made.keep(1200)
        made.click(unit("layer2.3"))
        made.click(unit("layer3.2"))
        made.click(unit("layer1.0"), 1800)
        made.click("#undo")
        made.click(unit("layer1.1"), modifiers=["Shift"])
        made.go("#scale")
        for _ in range(3):
            for _ in range(4):
                page.locator("#scale").press("ArrowLeft")
            made.settle()
            made.keep(700)
        made.go(unit("layer2.1"))
        made.keep(500)
        page.mouse.down()
        made.go(unit("layer2.2"))
        made.keep(700)
        page.mouse.up()
        made.settle()
        made.keep(2500)
        browser.close()
    server.should_exit = True
    first, *others = made.frames
    first.save(FILE, save_all=True, append_images=others, duration=made.lasting, loop=0, quality=60, method=6)
    assert FILE.stat().st_size < LARGEST, f"{FILE} has {FILE.stat().st_size} bytes; at most {LARGEST}"
    print(f"{FILE}: {len(made.frames)} pictures, {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
