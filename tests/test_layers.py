"""Who may import whom: downwards only, and nothing heavy where it is not needed."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import resnet_probe
from resnet_probe.analyses.registry import OURS, plots

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "resnet_probe"

# Part of the package -> layer. A part is a module or a folder; each of the analyses is a part of its own.
LAYERS = {
    "files": 0,
    "float32": 0,
    "lazy": 0,
    "threads": 0,
    "limits": 0,
    "factories": 0,
    "pickles": 1,
    "": 0,  # resnet_probe itself: the version, and the vocabulary by name
    "models": 1,
    "data": 1,
    "anatomy": 1,
    "tasks": 1,
    "unraveled": 1,
    "tables": 1,
    "statistics": 1,
    "figures": 1,
    "evaluate": 2,
    "gradients": 2,
    "probes": 2,
    "training": 2,
    "checkpoint": 2,
    "surgery": 2,
    "export": 2,
    "analyses": 3,
    "report": 4,
    "claims": 4,
    "cli": 5,
    "commands": 5,
    "lab": 5,
    "__main__": 5,
}
SIDEWAYS = {
    ("unraveled", "anatomy"),
    ("tasks", "data"),
    ("tasks", "statistics"),
    ("surgery", "checkpoint"),
    ("export", "checkpoint"),
    ("cli", "commands"),
    ("commands", "lab"),
    ("__main__", "cli"),
}
# What all analyses share, within their layer: how one is declared, and what it is given when it runs.
SHARED = {
    f"analyses{name}"
    for name in (
        "",
        ".averages",
        ".columns",
        ".declaration",
        ".facts",
        ".parsing",
        ".registry",
        ".runtime",
        ".seeds",
        ".subject",
    )
}
FOR_THE_COMMAND_LINE = {"click", "rich_click", "rich", "tqdm"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def part_of(module):
    inner = module.split(".")[1:]
    if not inner:
        return ""
    if inner[0] == "analyses" and len(inner) > 1:
        return f"analyses.{inner[1]}"
    return inner[0]


def layer_of(part):
    return LAYERS[part.split(".")[0]]


def imports(path):
    """Every module that a file imports, wherever in the file, as a dotted name."""
    package = name_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{source}.{alias.name}" if f"{source}.{alias.name}" in NAMES else source


def allowed(importer, imported):
    if importer == imported or (importer, imported) in SIDEWAYS:
        return True
    if imported == "":
        return True
    if imported in SHARED and importer.split(".")[0] == "analyses":
        return True
    return layer_of(imported) < layer_of(importer)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downwards_only(path):
    importer = part_of(name_of(path))
    if importer == "":
        return  # names for type checkers only; the next tests see that nothing is really imported
    assert importer.split(".")[0] in LAYERS, f"give {importer} a place in LAYERS, as in the design"
    for module in imports(path):
        if module.split(".")[0] == "resnet_probe":
            imported = part_of(module)
            assert allowed(importer, imported), f"{importer} must not import {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_command_line_imports_click_and_prints(path):
    if LAYERS.get(part_of(name_of(path))) == 5:
        return
    assert not {module.split(".")[0] for module in imports(path)} & FOR_THE_COMMAND_LINE
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        printing = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        assert not printing, f"line {node.lineno} prints"


def test_the_rule_sees_what_it_forbids(tmp_path):
    assert not allowed("models", "tables")
    assert not allowed("anatomy", "unraveled")
    assert allowed("unraveled", "anatomy")
    assert not allowed("evaluate", "training")
    assert not allowed("analyses.lesion", "analyses.paths")
    assert not allowed("checkpoint", "analyses.paths")
    assert not allowed("tables", "commands")
    assert allowed("analyses.lesion", "evaluate")
    assert allowed("analyses.lesion", "analyses.runtime")
    assert not allowed("analyses.lesion", "analyses.reorder")
    found = set(imports(PACKAGE / "commands" / "runner.py"))
    assert {"resnet_probe.commands.output", "resnet_probe.analyses.registry", "resnet_probe.tables"} <= found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_private_names_stay_in_their_module(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("resnet_probe")):
            private = [alias.name for alias in node.names if alias.name.startswith("_") and alias.name != "__version__"]
            assert not private, f"line {node.lineno} imports {', '.join(private)}"


def asks_for_the_way_of_tracing(tree):
    """Lines that read what kind of node of a `torch.fx` graph something is; `Operation` says what it does."""
    kinds = {"call_module", "call_function", "call_method", "get_attr"}
    for node in ast.walk(tree):
        reads_kind = isinstance(node, ast.Attribute) and node.attr == "op"
        if reads_kind or (isinstance(node, ast.Constant) and node.value in kinds):
            yield node.lineno


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_anatomy_knows_how_networks_are_traced(path):
    lines = list(asks_for_the_way_of_tracing(ast.parse(path.read_text(encoding="utf-8"))))
    if name_of(path) == "resnet_probe.anatomy.operation":
        assert lines
    elif part_of(name_of(path)) != "anatomy":
        assert not lines


COMMANDS = [name for name in sorted(NAMES) if part_of(name) in ("cli", "commands")]
WITHOUT = {  # modules -> what they must not import
    ("resnet_probe", *COMMANDS): ("torch", "pandas", "seaborn", "scipy", "matplotlib", "numpy"),
    ("resnet_probe.tables.results",): ("torch", "pandas", "seaborn", "scipy", "matplotlib", "numpy"),
    ("resnet_probe.analyses.registry", *[place.split(":")[0] for place in OURS]): (
        *("torch", "pandas", "seaborn", "scipy", "matplotlib", "numpy", "rich_click", "click"),
    ),
    ("resnet_probe.figures", *[plot.draw.split(":")[0] for _, plot in plots().values()]): (
        *("torch", "pandas", "seaborn", "scipy", "matplotlib.pyplot"),
    ),
}
PROGRAM = """
import importlib, sys
names, without = sys.argv[1].split(","), sys.argv[2].split(",")
for name in names:
    importlib.import_module(name)
    brought = [module for module in without if module in sys.modules]
    if brought:
        sys.exit(f"{name} imports {', '.join(brought)}")
"""


@pytest.mark.parametrize(("names", "without"), WITHOUT.items(), ids=["commands", "results", "declarations", "figures"])
def test_light_modules_stay_light(names, without):
    words = [sys.executable, "-c", PROGRAM, ",".join(names), ",".join(without)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_vocabulary_resolves_and_is_listed():
    for name, where in resnet_probe.VOCABULARY.items():
        module, attribute = where.split(":")
        assert getattr(resnet_probe, name) is getattr(sys.modules[module], attribute)
        assert name in dir(resnet_probe)
    assert set(resnet_probe.__all__) == {*resnet_probe.VOCABULARY, "__version__"}
    with pytest.raises(AttributeError, match="has no attribute 'lession'"):
        _ = resnet_probe.lession


def test_vocabulary_is_the_same_for_type_checkers():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.asname or alias.name: f"{node.module}:{alias.name}" for node in block.body for alias in node.names}
    assert typed == resnet_probe.VOCABULARY


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert resnet_probe.__version__ == project["version"]
