"""The documentation: it builds without a warning, fetches nothing, and its commands exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from resnet_probe import VOCABULARY
from resnet_probe.cli import COMMANDS, load

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAM = "resnet-probe"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed; pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_pages_fetch_nothing(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    loads = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*\bsrc\s*=\s*["']?(?:https?:)?//|"""
                       r"""<link\b[^>]*\bhref\s*=\s*["']?(?:https?:)?//|@import\s+(?:url\()?["']?(?:https?:)?//""")  # fmt: skip
    assert not [str(page.relative_to(site)) for page in pages if loads.search(page.read_text(encoding="utf-8"))]


@pytest.mark.slow
def test_every_public_name_has_a_place(site: Path) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    missing = [name for name, place in VOCABULARY.items() if f'id="{place.replace(":", ".")}"' not in text]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_exist(page: Path) -> None:
    for words in _commands(page.read_text(encoding="utf-8")):
        assert words[0] in COMMANDS, f"{page.name}: no command {words[0]}"
        command = load(words[0])
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown = {word.split("=")[0] for word in words[1:] if word.startswith("-")} - known - {"--help"}
        assert not unknown, f"{page.name}: {words[0]} has no {', '.join(unknown)}"


def _commands(text: str) -> Iterator[list[str]]:
    """The words after the program's name of every command line in a block of code."""
    for block in re.findall(r"^```(?:bash|sh|text)?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if PROGRAM in words[:2] and len(words) > words.index(PROGRAM) + 1:
                yield words[words.index(PROGRAM) + 1 :]


def test_pages_name_commands() -> None:
    found = {words[0] for page in PAGES for words in _commands(page.read_text(encoding="utf-8"))}
    assert found == set(COMMANDS), "a command without an example, or an example without a command"
