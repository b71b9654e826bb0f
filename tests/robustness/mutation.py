"""Files that were written whole, changed at random, and what must hold whatever the change was.

A `Target` writes its files, and tries them once they were changed: it returns whether they were taken as they were
written, and raises what the library raises. `attempt` makes one seeded change and says what is wrong about the outcome.
`benchmarks/fuzz.py` runs it for minutes, `test_fuzz.py` for a second.
"""

import contextlib
import copy
import csv
import io
import json
import random
import resource
import shutil
import struct
import time
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import torch

from resnet_probe import checkpoint, cli
from resnet_probe.commands.errors import explain
from resnet_probe.commands.output import shown
from resnet_probe.evaluate import Journal
from resnet_probe.evaluate.journal import Row
from resnet_probe.models import resolve
from resnet_probe.report.drawings import PROPERTIES, TAGS, inline
from resnet_probe.tables import altered, read
from resnet_probe.training import Keeper
from tests.report.pages import save_inspect, save_lesion, save_paths

WEIRD = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 10**400, 1e308, float("nan"), float("inf"), 0.5, ""),
    *(
        "x",
        "\x1b[2J",
        "\x00",
        "=1+1",
        "9" * 5000,
        "nan",
        "\udcff",
        "../../x",
        [],
        {},
        [[]],
        {"": {}},
        ["x"],
        [None, -1],
    ),
    *("resnet110", "layer1.0", {"delete": ["layer1.0"]}, [3, 8, 8], "a" * 3000),
)
BYTES = (
    b"\x00",
    b"\xff",
    b"\xff" * 8,
    b"\x80\x02",
    b"NaN",
    b"9" * 30,
    b"\x1b[2J",
    b"\n",
    b'"',
    b"{",
    b"]",
    b"PK\x03\x04",
)
SECONDS, MEGABYTES = 20, 1000


@dataclass(frozen=True)
class Target:
    """Files in a folder, what is done with them, and ways to change them beyond those for any bytes."""

    write: Callable[[Path], None]
    use: Callable[[Path], bool]
    change: Callable[[Path, random.Random], None] | None = None
    silent: bool = True  # whether a change may go unnoticed


def attempt(target: Target, pristine: Path, work: Path, seed: int) -> tuple[str, str]:
    """Change one of the files and use it: what came of it, and what is wrong about that (empty if nothing is)."""
    generator = random.Random(seed)
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(pristine, work)
    path = generator.choice(sorted(path for path in work.rglob("*") if path.is_file()))
    if target.change is not None and generator.random() < 0.6:
        target.change(path, generator)
    else:
        path.write_bytes(changed(path.read_bytes(), generator))
    begin, memory = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    screen = io.StringIO()
    wrong, outcome = "", "taken"
    try:
        with contextlib.redirect_stderr(screen), contextlib.redirect_stdout(screen), warnings.catch_warnings():
            warnings.simplefilter("always")
            same = target.use(work)
        if not (same or target.silent):
            wrong = "the change went unnoticed"
    except Exception as error:
        message, _ = explain(error)
        outcome = "refused"
        if message.startswith("unexpected "):
            wrong = message
        elif str(work) not in message:
            wrong = f"no file is named: {message}"
        elif len(message) > 1100 or any(ord(letter) < 32 for letter in shown(message)):
            wrong = f"no plain line: {message!r}"
    if screen.getvalue():
        wrong = wrong or f"said: {screen.getvalue()[:300]}"
    if time.perf_counter() - begin > SECONDS:
        wrong = wrong or f"took {time.perf_counter() - begin:.0f} s"
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory > 1000 * MEGABYTES:
        wrong = wrong or "took a gigabyte"
    return outcome, wrong


def changed(content: bytes, generator: random.Random) -> bytes:
    """One to four changes: bits flipped, bytes replaced, put in, taken out, doubled; or the end cut off."""
    for _ in range(generator.choice((1, 1, 2, 4))):
        # half of the changes are near the start, where what describes the rest stands
        place = generator.randrange(min(len(content), generator.choice((400, 10**9))) or 1)
        end = place + generator.choice((1, 1, 2, 8, 64))
        kind = generator.randrange(7)
        if kind == 0 and content:
            content = content[:place] + bytes([content[place] ^ 1 << generator.randrange(8)]) + content[place + 1 :]
        elif kind == 1:
            content = content[:place] + bytes([generator.randrange(256)]) + content[place + 1 :]
        elif kind == 2:
            content = content[:place] + generator.choice(BYTES) + content[end:]
        elif kind == 3:
            content = content[:place] + generator.choice(BYTES) + content[place:]
        elif kind == 4:
            content = content[:place] + content[end:]
        elif kind == 5:
            content = content[:end] + content[place:]
        else:
            content = content[:place] if generator.random() < 0.3 else content[:place] + content[place + 1 :]
    return content


def changed_json(value: object, generator: random.Random) -> object:
    """One value somewhere inside becomes another, goes, or gets a neighbour."""
    value = copy.deepcopy(value)
    places = [(value, key) for key in value] if isinstance(value, dict) else []
    for owner, key in places:
        inside = owner[key]
        if isinstance(inside, dict | list):
            places += [(inside, each) for each in (inside if isinstance(inside, dict) else range(len(inside)))]
    if not places or generator.random() < 0.03:
        return generator.choice(WEIRD)
    owner, key = generator.choice(places)
    if isinstance(owner, dict) and generator.random() < 0.15:
        del owner[key]
    else:
        owner[key] = generator.choice(WEIRD)
    return value


# checkpoints


def write_checkpoints(folder: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = resolve("resnet8-w2")
    state = {"state_dict": model.state_dict(), "epoch": 3, "arch": "resnet8"}
    torch.save(state, folder / "a.pt")
    torch.save(state, folder / "b.pt", _use_new_zipfile_serialization=False)
    edits = {"edits": [{"delete": ["layer2.0"]}], "input_shape": [3, 8, 8], "removed": ["layer1.0.conv1.weight"]}
    about = {"input_size": 8, "normalize": "cifar10", **edits}
    left = {name: tensor for name, tensor in model.state_dict().items() if name not in edits["removed"]}
    checkpoint.save(folder / "c.safetensors", left, arch="resnet8-w2", metadata=about)


def use_checkpoints(folder: Path) -> bool:
    for path in sorted(folder.iterdir()):
        if path.read_bytes() != PRISTINE.get(path.name):
            checkpoint.load(path)
    return True


PRISTINE: dict[str, bytes] = {}  # of the checkpoints, so that only the changed one is read again


def change_checkpoint(path: Path, generator: random.Random) -> None:
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        size = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + size])
        about = header["__metadata__"]
        if generator.random() < 0.7:
            about["resnet-probe"] = json.dumps(changed_json(json.loads(about["resnet-probe"]), generator))
        else:
            header = changed_json(header, generator)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    elif content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                entry = old.read(name)
                new.writestr(name, changed(entry, generator) if name.endswith(("data.pkl", "version")) else entry)
    else:
        start = generator.randrange(40, 2000)  # behind the magic number
        path.write_bytes(content[:start] + changed(content[start:5000], generator) + content[5000:])


# journals

ABOUT = {"checkpoint": "abc", "data_set": "def", "precision": "fp32"}
ROWS = [Row(shard, v, 8, {"wrong": v, "loss": 2**60 + v}, bytes([shard, v])) for shard in range(3) for v in range(5)]


def write_journals(folder: Path) -> None:
    journal = Journal.open(folder / "lesion.journal", ABOUT)
    journal.remember("budget", [4, 8])
    journal.commit(ROWS)
    journal.close()


def use_journals(folder: Path) -> bool:
    """Rows may be lost, and are then measured again; none may be another."""
    journal = Journal.open(folder / "lesion.journal", ABOUT)
    try:
        return set(map(repr, journal.rows())) <= set(map(repr, ROWS)) and journal.recall("budget") in (None, [4, 8])
    finally:
        journal.close()


# states

STATE = {"step": 7, "weights": {"a": torch.arange(50.0)}, "order": list(range(20)), "rng": b"\x00\x01" * 20}


def write_states(folder: Path) -> None:
    Keeper(folder, {"network": "resnet8"}).save(7, STATE)


def use_states(folder: Path) -> bool:
    path = folder / "state-00000007.pt"
    state = Keeper(folder, {"network": "resnet8"}, resume=path).load()
    assert state is not None
    same = torch.equal(state["weights"]["a"], STATE["weights"]["a"])
    return same and all(state[name] == STATE[name] for name in ("step", "order", "rng"))


# tables


def write_tables(folder: Path) -> None:
    for save in (save_inspect, save_lesion, save_paths):
        save(folder)
    assert cli.main(["replot", "--run", str(folder), "--out", str(folder), "--format", "svg", "--quiet"]) == 0


def use_tables(folder: Path) -> bool:
    """Every table is read; then the page and the claims are made, which leave out what cannot be read."""
    for path in sorted(folder.glob("*.csv")):
        with contextlib.suppress(ValueError):
            read(folder, path.stem)
        altered(path)
    for command in ("claims", "report"):
        words = [command, "--run", str(folder), "--quiet"]
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            code = cli.main(words)
        lines = said.getvalue().splitlines()
        if any("unexpected" in line for line in lines) or (code and len(lines) != 1):
            raise TypeError("unexpected: " + said.getvalue()[-300:])
        if any(not line.startswith(("error: ", "warning: ", "note: ")) for line in lines):
            raise TypeError("unexpected: " + said.getvalue()[-300:])
    return True


def change_table(path: Path, generator: random.Random) -> None:
    if path.suffix == ".json":
        settings = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(changed_json(settings, generator)), encoding="utf-8")
        return
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    line = generator.choice(lines)
    weird = generator.choice(WEIRD)
    line[generator.randrange(len(line))] = "" if weird is None else str(weird)
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


# figures

HOSTILE = (
    *("url(http://x)", "url(#a) url(//x)", "javascript:x", "\\75rl(http://x)", "image-set('//x')", "expression(x)"),
    *("data:text/html,x", "@import '//x'", "&#x75;rl(//x)", "#a", "x;fill:url(//x)", "1e999", "-1", "nan"),
)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 72 72">'
    '<defs><clipPath id="a"><rect x="0" y="0" width="9" height="9"/></clipPath><path id="b" d="M 0 0 L 1 1"/></defs>'
    '<g id="c" clip-path="url(#a)" style="fill: #ff0000; stroke-width: 2"><use xlink:href="#b" x="3" onclick="x"/>'
    '<text x="1" y="2" style="font: 10px sans">name</text></g><image href="data:image/png;base64,AAAA"/></svg>'
)


def write_figures(folder: Path) -> None:
    (folder / "lesion.svg").write_text(SVG, encoding="utf-8")


def use_figures(folder: Path) -> bool:
    path = folder / "lesion.svg"
    try:
        made = inline(path.read_text(encoding="utf-8"), "p-", "what it shows")
    except (ElementTree.ParseError, UnicodeDecodeError) as error:  # the figure is drawn again
        raise ValueError(f"{path} is no figure") from error
    for element in ElementTree.fromstring(made).iter():
        assert element.tag in TAGS, element.tag
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on"), name
            if name not in ("d", "id", "href"):
                assert "url(" not in value.lower().replace(" ", "").replace("url(#", ""), value
                assert "\\" not in value, value
            if name == "href":
                assert value.startswith(("#", "data:image/png;base64,")), value
            if name == "style" and element.get("class") != "plot":
                assert {each.partition(":")[0].strip() for each in value.split(";")} <= {*PROPERTIES, ""}, value
    return True


def change_figure(path: Path, generator: random.Random) -> None:
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    element = generator.choice(list(root.iter()))
    names = (*element.attrib, "style", "href", "fill", "mask", "id", "d", "viewBox", "onload", "{x}href", "filter")
    kind = generator.randrange(4)
    if kind == 0:
        element.tag = generator.choice(
            ("script", "style", "foreignObject", "a", "animate", "set", "{x}svg", "svg", "iframe")
        )
    elif kind == 1:
        element.text = generator.choice(HOSTILE)
    else:
        element.set(generator.choice(names), generator.choice(HOSTILE))
    path.write_text(ElementTree.tostring(root, encoding="unicode"), encoding="utf-8")


TARGETS = {
    "checkpoints": Target(write_checkpoints, use_checkpoints, change_checkpoint),
    "journals": Target(write_journals, use_journals, silent=False),
    "states": Target(write_states, use_states, silent=False),
    "tables": Target(write_tables, use_tables, change_table),
    "svg": Target(write_figures, use_figures, change_figure),
}


def prepared(name: str, folder: Path) -> Target:
    """The target with its files written into an empty folder."""
    folder.mkdir()
    TARGETS[name].write(folder)
    if name == "checkpoints":
        PRISTINE.update({path.name: path.read_bytes() for path in folder.iterdir()})
    return TARGETS[name]
