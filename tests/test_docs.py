"""The documentation: it builds without a warning, fetches nothing, and its commands exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import resnet_probe
from resnet_probe import VOCABULARY
from resnet_probe.analyses.registry import analyses
from resnet_probe.cli import commands, load
from tests.evaluate.runs import once

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
PROGRAM = "resnet-probe"
EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": sys.argv[2]}}).execute()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed; pip install '.[docs]'")

    def build(folder: Path) -> None:
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
        variables = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "WARNING" not in done.stderr

    return once(tmp_path_factory, "site", build)


@pytest.mark.slow
def test_pages_fetch_nothing(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    loads = re.compile(
        r"""<(?:script|img|iframe|source)\b[^>]*\bsrc\s*=\s*["']?(?:https?:)?//|"""
        r"""<link\b[^>]*\bhref\s*=\s*["']?(?:https?:)?//|@import\s+(?:url\()?["']?(?:https?:)?//"""
    )
    assert not [str(page.relative_to(site)) for page in pages if loads.search(page.read_text(encoding="utf-8"))]


@pytest.mark.slow
def test_every_public_name_has_a_place(site: Path) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    places = {name: getattr(resnet_probe, name) for name in VOCABULARY}
    missing = [
        name
        for name, it in places.items()
        if not {f'id="{it.__module__}.{it.__qualname__}"', f'id="{VOCABULARY[name].replace(":", ".")}"'}
        & set(re.findall(r'id="[^"]*"', text))
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_exist(page: Path) -> None:
    for words in _commands(page.read_text(encoding="utf-8")):
        assert words[0] in commands(), f"{page.name}: no command {words[0]}"
        command = load(words[0])
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown = {word.split("=")[0] for word in words[1:] if word.startswith("-")} - known - {"--help"}
        assert not unknown, f"{page.name}: {words[0]} has no {', '.join(unknown)}"


def _commands(text: str) -> Iterator[list[str]]:
    """The words after the program's name of every command line, in blocks of code and between words."""
    language: str | None = None  # of the block that the line stands in
    for line in text.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            language = line.strip("` ") if language is None else None
        elif language in ("", "bash") and PROGRAM in line:
            words = shlex.split(line, comments=True)
            if PROGRAM in words:
                yield words[words.index(PROGRAM) + 1 :]
        elif language is None:
            for code in re.findall(r"`([a-z]+ [^`]*--[^`]*)`", line):
                words = shlex.split(code)
                yield from [words] if words[0] in commands() else []


@pytest.mark.parametrize("page", ["evaluate", "faq"])
def test_examples_run(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"), re.S | re.M
    )
    assert blocks
    for block in blocks:
        exec(block, {})
    assert page == "faq" or "% right of" in capsys.readouterr().out


def test_gallery_is_what_its_script_makes() -> None:
    script = _script("make_gallery")
    assert script.PAGE.read_text(encoding="utf-8") == script.page()
    sizes = {path.stem: path.stat().st_size for path in script.FIGURES.glob("*.svg")}
    assert set(sizes) == set(script.DRAWINGS)
    assert max(sizes.values()) <= script.LARGEST
    assert sum(sizes.values()) <= script.LARGEST_SUM


def test_tables_of_columns_and_options_are_those_of_the_declarations() -> None:
    script, documented = _script("make_tables"), set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert script.written(text) == text, f"{page.name}: run `python docs/make_tables.py`"
        documented |= {found.group(0).split(" -->")[0] for found in script.BLOCK.finditer(text)}
    tables = {f"<!-- columns: {table.name}" for each in analyses().values() for table in each.tables}
    options = {f"<!-- options: {name}" for name, each in analyses().items() if not each.command and each.options}
    assert documented == {"<!-- questions", "<!-- methods", *tables, *options}


def test_shortened_figures_keep_factors() -> None:
    drawing = '<g transform="translate(1.23456 2) scale(0.015625 -0.015625)"><path d="M 10.987654 0.5"/></g>'
    short = '<g transform="translate(1.2 2) scale(0.015625 -0.015625)"><path d="M 10.9 0.5"/></g>'
    assert _script("make_gallery").shortened(drawing) == short


def test_docstrings_in_columns_keep_their_lines() -> None:
    if find_spec("griffe") is None:
        pytest.skip("mkdocstrings is not installed; pip install '.[docs]'")
    rewritten = _script("house_style").rewritten
    assert rewritten("What.\n\na.py    one\nb.py    two", "") == "What.\n\n    a.py    one\n    b.py    two"
    assert rewritten("What.\n\nname: a\n    b\n\nMore.", "Args:") == "What.\n\nArgs:\n    name: a\n        b\n\nMore."
    assert rewritten("What.\n\nNote: this\nand that", "Args:") == "What.\n\nNote: this\nand that"


def _script(name: str) -> ModuleType:
    spec = spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_pages_name_commands() -> None:
    found = {words[0] for page in PAGES for words in _commands(page.read_text(encoding="utf-8"))}
    assert found == set(commands()), "a command without an example, or an example without a command"


@pytest.mark.slow
def test_notebook_runs(tmp_path: Path) -> None:
    if find_spec("nbclient") is None or find_spec("ipykernel") is None:
        pytest.skip("nbclient or ipykernel is not installed; pip install '.[dev]'")
    assert NOTEBOOK.stat().st_size < 100_000, "stored outputs belong to the repository, so they have to be small"
    # A process of its own: the notebook checks its numbers itself, and a kernel's warnings are not ours.
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(NOTEBOOK), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(tmp_path.glob("*.csv"))


def test_stored_outputs_belong_to_the_notebook() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell["outputs"])
