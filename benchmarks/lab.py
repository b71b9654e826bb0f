"""From the click to the first number in the lab, as the browser sees it.

    python benchmarks/lab.py --ckpt resnet56.th --data cifar10 --normalize cifar10 --rounds 3

A headless Chromium (the system's) opens the lab. Each round clicks every block once, in a random order, at most three
blocks deleted at a time; the clock of the page runs from the click until it shows a number on at least 64 images. No
state comes twice in a round, so what is kept of earlier answers does not count, but values between units do.
"""

import argparse
import random
import shutil
from pathlib import Path
from statistics import quantiles
from tempfile import mkdtemp
from time import sleep

import torch
from playwright.sync_api import sync_playwright

from resnet_probe import checkpoint
from resnet_probe.analyses.subject import Subject
from resnet_probe.data import load_data
from resnet_probe.lab.engine import Engine
from resnet_probe.lab.server import Bench, Lab, start
from resnet_probe.unraveled import unravel

# In the page: click a block, and wait until the answer is about the new address; milliseconds of the page's own clock.
CLICK = """name => new Promise((done) => {
  const answer = document.querySelector("#answer");
  const start = performance.now();
  const watch = new MutationObserver(() => {
    if (answer.dataset.state !== location.hash) return;
    watch.disconnect();
    done([performance.now() - start, Number(answer.dataset.images)]);
  });
  watch.observe(answer, { attributes: true, attributeFilter: ["data-state"] });
  document.querySelector(`[data-unit="${name}"]`).click();
})"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--normalize")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    loaded = checkpoint.load(given.ckpt)
    data = load_data(given.data, normalize=given.normalize, limit=given.limit)
    engine = Engine(Subject(loaded.name, unravel(loaded.model, data.input_shape), data, checkpoint=loaded))
    names = [unit.name for unit in engine.network.surgical]
    for name in names:
        engine.make_ready(engine.network.delete(name).steps)
    lab = Lab([Bench(engine)], Path(mkdtemp()))
    url, server = start(lab)
    draw, taken = random.Random(0), []
    chromium = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(url)
        page.wait_for_selector("#answer[aria-busy=false]")
        for _ in range(given.rounds):
            order = draw.sample(names, len(names))
            for number, name in enumerate(order):
                milliseconds, images = page.evaluate(CLICK, name)
                assert images >= min(64, len(data))
                taken.append((names.index(name), milliseconds))
                if number % 3 == 2:  # up to three blocks at a time
                    page.click("#reset")
                    page.wait_for_selector("#answer[data-state='']")
                sleep(0.3)  # people do not click faster
        browser.close()
    server.should_exit = True
    low, middle, high = quantiles([ms for _, ms in taken], n=4)
    largest = max(ms for _, ms in taken)
    print(f"{loaded.name}, {len(names)} blocks, {given.threads} threads: n = {len(taken)} clicks")
    print(f"first number after {middle:.0f} ms (quartiles {low:.0f} to {high:.0f}, largest {largest:.0f})")
    for third in range(3):
        part = [ms for place, ms in taken if place * 3 // len(names) == third]
        print(f"  blocks of the {('first', 'second', 'last')[third]} third: median {quantiles(part, n=2)[0]:.0f} ms")


if __name__ == "__main__":
    main()
