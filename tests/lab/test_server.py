"""The server: who gets an answer, what is in it, and what 500 edits do to it."""

import json
import random
import threading
from pathlib import Path

import httpx
import pytest

from resnet_probe import checkpoint
from resnet_probe.evaluate import evaluate
from tests.lab.labs import IMAGES, lab_in, served

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return lab_in(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def url(lab):
    with served(lab) as address:
        yield address


def ask(url, edits, client="one", **more):
    said = httpx.post(f"{url}ask", json={"network": 0, "edits": edits, "client": client}, timeout=60, **more)
    return [json.loads(line) for line in said.text.splitlines()], said.status_code


def test_false_token_host_or_origin_gets_nothing(lab, url):
    host = url.split("/")[2]
    assert httpx.get(url).status_code == 200
    assert httpx.get(f"{url}networks", headers={"Origin": f"http://{host}"}).status_code == 200
    asked = {"network": 0, "edits": [], "client": "x"}
    refused = [
        httpx.get(f"http://{host}/"),
        httpx.get(f"http://{host}/{'x' * len(lab.token)}/networks"),
        httpx.get(f"http://{host}/static/lab.js"),
        httpx.get(f"{url}networks", headers={"Host": "evil.example"}),
        httpx.get(f"{url}networks", headers={"Host": "127.0.0.1:1"}),
        httpx.get(f"{url}networks", headers={"Origin": "http://evil.example"}),
        httpx.get(f"{url}networks", headers={"Origin": "null"}),
        httpx.post(f"{url}ask", json=asked, headers={"Origin": "http://127.0.0.1:1"}),
        httpx.post(f"{url}ask", content=json.dumps(asked), headers={"Content-Type": "text/plain"}),
    ]
    assert [(each.status_code, each.content) for each in refused] == [(404, b"")] * len(refused)


def test_two_labs_do_not_meet(lab, url, tmp_path):
    other = lab_in(tmp_path)
    with served(other) as address:
        assert address.split("/")[2] != url.split("/")[2]
        assert httpx.get(address.replace(other.token, lab.token)).status_code == 404
        assert httpx.get(url.replace(lab.token, other.token)).status_code == 404


def test_nothing_outside_the_static_folder_is_served(url):
    for path in (
        "static/../engine.py",
        "static/%2e%2e/engine.py",
        "static/..%2f..%2f__init__.py",
        "static//etc/passwd",
    ):
        assert httpx.get(url + path).status_code == 404


def test_answers_grow_to_all_images_and_end_as_the_sweep(lab, url):
    (engine,) = (bench.engine for bench in lab.benches)
    block = engine.network.blocks[1].name
    edits = [{"delete": [block]}, {"scale": {engine.network.blocks[3].name: 0.5}}]
    lines, status = ask(url, edits)
    answers = [line for line in lines if "error" in line]
    (rest,) = (line for line in lines if "paths" in line)
    assert status == 200
    assert [each["images"] for each in answers] == sorted({each["images"] for each in answers})
    assert (answers[0]["images"], answers[-1]["images"]) == (engine.chunks[engine.sample - 1].stop, IMAGES)
    steps = {"intact": engine.network.steps, "edited": engine.network.edit(edits).steps}
    score = evaluate(engine.network, steps, engine.data)["edited"]
    assert (answers[-1]["wrong"], answers[-1]["changed"], answers[-1]["loss"]) == (
        score.wrong,
        score.changed,
        score.loss,
    )
    assert rest["paths"]["total"] == str(2 ** (len(engine.network.blocks) - 1))
    assert f"--delete {block}" in rest["lines"][0]


@pytest.mark.parametrize(
    "edits", [[{"delete": ["nothing"]}], [{"explode": []}], [{"scale": {"layer1.0": "x"}}], "text", [3], {"a": 1}]
)
def test_wrong_edits_are_told_in_words(url, edits):
    (said,), status = ask(url, edits)
    assert status == 400
    assert set(said) == {"error"}


def test_what_is_saved_is_what_was_measured(lab, url):
    (engine,) = (bench.engine for bench in lab.benches)
    links = [unit.name for unit in engine.network.links]
    edits = [{"delete": [links[0]]}, {"scale": {links[2]: 0.5}}, {"reorder": [links[1], links[0]]}]
    lines, _ = ask(url, edits)
    said = httpx.post(f"{url}save", json={"network": 0, "edits": edits}, timeout=60).json()
    weights, recipe = said["files"]
    assert json.loads(Path(recipe).read_text(encoding="utf-8"))["edits"] == edits
    model = checkpoint.load(weights).model
    wrong = sum(int((model(x).argmax(1) != y).sum()) for x, y in engine.data.batches(64))
    assert wrong == lines[-1].get("wrong", lines[-2].get("wrong"))


@pytest.mark.slow
def test_500_edits_as_fast_as_possible(lab, url):
    (engine,) = (bench.engine for bench in lab.benches)
    draw, names = random.Random(1), [unit.name for unit in engine.network.blocks]
    states = [
        [{"delete": draw.sample(names, 2)}, {"scale": {draw.choice(names): draw.randrange(31) / 20}}]
        for _ in range(500)
    ]
    stop = threading.Semaphore(6)  # as many as a browser has open

    def hurried(client, edits):
        with stop, client.stream("POST", f"{url}ask", json={"network": 0, "edits": edits, "client": "fast"}) as said:
            next(said.iter_raw(1), None)  # and hang up

    with httpx.Client(timeout=60) as client:
        threads = [threading.Thread(target=hurried, args=(client, each)) for each in states[:-1]]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    lines, status = ask(url, states[-1], client="fast")
    last = [line for line in lines if "error" in line][-1]
    chains = {"intact": engine.network.steps, "last": engine.network.edit(states[-1]).steps}
    score = evaluate(engine.network, chains, engine.data)["last"]
    assert status == 200
    assert (last["images"], last["wrong"], last["loss"]) == (score.images, score.wrong, score.loss)
    assert engine.kept.bytes <= 2 * engine.kept.half
