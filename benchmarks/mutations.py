"""Small changes to a module, drawn at random: how many do its quick tests notice? Those that none notices are listed.

Run `OMP_NUM_THREADS=1 python benchmarks/mutations.py gradients 60`; a third number draws others.
"""

import ast
import os
import random
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
import torch  # noqa: F401 - imported once for all processes

ROOT = Path(__file__).parents[1]
TESTS = ("tests/test_{}.py", "tests/{}")  # of a module, of a folder
PAIRS = ("Add Sub", "Mult Div", "Lt LtE", "Gt GtE", "Eq NotEq", "And Or", "Is IsNot", "In NotIn", "FloorDiv Mod")
SWAPS = {one: getattr(ast, two) for pair in PAIRS for one, two in (pair.split(), pair.split()[::-1])}
QUICK = ["-x", "-q", "-m", "not slow and not real", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout", "200"]


def changes(path):
    """Where, what, and the whole source after it, of every operator, comparison, number and truth value."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for name in {"op", "ops", "value"} & set(node._fields):
            old, before = getattr(node, name), ast.unparse(node)
            first = old[0] if isinstance(old, list) else old
            if swap := SWAPS.get(type(first).__name__):
                setattr(node, name, [swap(), *old[1:]] if isinstance(old, list) else swap())
            elif isinstance(node, ast.Constant) and isinstance(old, int | float):
                node.value = not old if isinstance(old, bool) else old + 1
            else:
                continue
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {before} -> {ast.unparse(node)}", path, ast.unparse(tree)
            setattr(node, name, old)


def noticed(path, source, tests):
    """Whether a test fails, in a process that imports the changed file in place of the true one."""
    if pid := os.fork():
        return os.waitpid(pid, 0)[1] != 0
    changed, true = compile(source, str(path), "exec"), SourceFileLoader.get_code
    SourceFileLoader.get_code = lambda self, name: changed if self.path == str(path) else true(self, name)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os._exit(int(pytest.main([*QUICK, tests]) != 0))


if __name__ == "__main__":
    module, number, seed = sys.argv[1], int(sys.argv[2]), int((*sys.argv, 0)[3])
    place, kept = ROOT / "resnet_probe" / module, []
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    every = [change for file in files for change in changes(file)]
    for where, path, source in random.Random(seed).sample(every, min(number, len(every))):
        kept.append(noticed(path, source, TESTS[place.is_dir()].format(module)))
        print("noticed " if kept[-1] else "SURVIVED", where, flush=True)
    print(f"{module}: {sum(kept)} of {len(kept)} changes noticed; there are {len(every)}")
