import re

from resnet_probe.analyses.registry import claims
from resnet_probe.claims import judge
from resnet_probe.claims.published import ERRORS, PARAMETERS, VARIANTS
from resnet_probe.claims.verdicts import Verdict
from resnet_probe.claims.verdicts import table as judgements
from resnet_probe.lazy import named
from resnet_probe.tables import Run, SavedTable
from tests.claims.runs import lesions, run, table


def test_every_claim_has_a_source_a_rule_and_a_command_that_speaks_to_it():
    known = claims()
    assert list(known) == list(range(1, 28))
    for claim, about in known.values():
        assert re.search(r"20\d\d", claim.source)
        assert re.search(r"section|Table|Fig|arXiv", claim.source)
        assert callable(named(claim.rule))
        assert claim.needs or about.command
    assert PARAMETERS.keys() == ERRORS.keys()
    assert len({variant.arch for variant in VARIANTS}) == len(VARIANTS)


def test_verdicts_are_a_table_in_the_order_of_the_claims():
    deleted = lesions(100, {f"b{i}": 101 for i in range(9)} | {"r": 500}, arch="resnet20", resizes=("r",))
    found = judge(
        run(deleted, table("inspect", [{"network": "net", "in_shape": "3x32x32"}], arch="resnet20", parameters=269_722))
    )
    assert [row["claim"] for row in found.rows] == [1, 2, 7, 7, 22]
    assert sum(found.settings["counts"].values()) == 5
    assert found.settings["silent"] == [3, 4, 5, 6, *range(8, 22), 23, 24, 25, 26, 27]
    assert found.settings["unusable"] == []
    assert all(row["why"] and row["source"] and row["table"] for row in found.rows)


def test_tables_are_named_from_the_folder_of_the_run_on(tmp_path):
    at = tmp_path / "study" / "net"
    saved = SavedTable(at, lesions(100, {"a": 101, "b": 102}).result)
    found = judge(Run((tmp_path / "study",), (saved,)))
    assert {row["table"] for row in found.rows} == {"study/net/lesion.csv"}


def test_the_same_table_twice_says_it_once():
    deleted = lesions(100, {"a": 101, "b": 102})
    assert judge(run(deleted, deleted)).rows == judge(run(deleted)).rows


def test_verdicts_of_one_network_from_several_tables_say_which():
    made = [
        Verdict(14, "net", "holds", "why", table=name, measured_value=value) for name, value in (("a", 1), ("b", 2))
    ]
    other = Verdict(14, "other", "holds", "why", table="a")
    assert [row["why"] for row in judgements([*made, other]).rows] == ["why; from a", "why; from b", "why"]


def test_the_parts_of_a_claim_stand_together():
    two = [
        lesions(100, {f"b{i}": 101 for i in range(9)} | {"r": 500}, network=n, arch="", resizes=("r",)) for n in "ab"
    ]
    found = [(row["network"], row["statement"].split()[0]) for row in judge(run(*two)).rows if row["claim"] == 7]
    assert found == [("a", "Deleting"), ("b", "Deleting"), ("a", "Blocks"), ("b", "Blocks")]


def test_a_table_that_lacks_a_column_does_not_stop_the_others():
    old = table("lesion", [{"network": "net", "error": 3.0}], arch="resnet20")
    good = table("inspect", [{"network": "net", "in_shape": "3x32x32"}], arch="resnet20", parameters=269_722)
    found = judge(run(old, good))
    assert [row["claim"] for row in found.rows] == [1]
    assert any("claim 6 and 7" in note for note in found.settings["unusable"])
