"""Files changed at random: refused in one line that names the file, or taken without harm; never a wrong number."""

import pytest

from tests.robustness.mutation import TARGETS, attempt, prepared

QUICK = {"checkpoints": 60, "journals": 150, "states": 150, "tables": 4, "svg": 400}
FOUND = {  # by benchmarks/fuzz.py
    "journals": (3813, 15_278, 1_002_676, 1_003_284, 1_003_862),
    "states": (115_727,),
    "tables": (1_000_149, 1_000_223),
}
FACTOR = 3  # of the slow run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def faults(name, folder, seeds):
    whole = folder / name
    target = TARGETS[name] if whole.exists() else prepared(name, whole)
    found = [(seed, *attempt(target, whole, folder / "changed", seed)) for seed in seeds]
    assert {outcome for _, outcome, _ in found} >= ({"refused"} if name != "tables" else set())
    return [(seed, wrong) for seed, _, wrong in found if wrong]


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files(folder, name):
    assert faults(name, folder, [*range(QUICK[name]), *FOUND.get(name, ())]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_many_changed_files(folder, name):
    assert faults(name, folder, range(QUICK[name], FACTOR * QUICK[name])) == []
