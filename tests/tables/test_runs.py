import pytest

from resnet_probe.tables import Result, read_run


def save(folder, name="lesion", network="a", **settings):
    Result(name, ("network", "error"), ({"network": network, "error": 1.5},), settings).save(folder)


def test_tables_of_a_folder_and_of_those_right_in_it_are_found_once(tmp_path):
    save(tmp_path, network="a")
    save(tmp_path / "inner", network="b")
    save(tmp_path / "inner" / "deeper", network="c")
    save(tmp_path, name="claims")
    run = read_run([tmp_path, tmp_path])
    assert [(table.folder, table.name) for table in run.tables] == [
        (tmp_path, "lesion"),
        (tmp_path / "inner", "lesion"),
    ]
    assert run.networks() == ["a", "b"]
    assert [table.networks for table in run.named("lesion")] == [["a"], ["b"]]
    assert run.named("paths") == []


def test_what_is_broken_or_unfinished_is_named_and_does_not_stop_the_rest(tmp_path):
    save(tmp_path)
    (tmp_path / "reorder.csv").write_text("a,b\n1\n", encoding="utf-8")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (tmp_path / "paths.csv").write_text("network,unit\n", encoding="utf-8")
    for name in ("lesion", "lesion_multi", "lesion_multi.recalibrated"):
        (tmp_path / f"{name}.journal").write_bytes(b"")
    run = read_run([tmp_path])
    assert [table.name for table in run.tables] == ["lesion"]
    assert [(each.table, each.journal.name) for each in run.unfinished] == [("lesion_multi", "lesion_multi.journal")]
    Result("summary", ("depth",), ({"depth": 8},), {"classes": 10}).save(tmp_path)
    assert [table.name for table in read_run([tmp_path]).tables] == ["lesion", "summary"]
    reasons = {path.name: reason for path, reason in run.broken}
    assert set(reasons) == {"other.csv", "paths.csv", "reorder.csv"}
    assert "line 2" in reasons["reorder.csv"]
    assert "no rows" in reasons["paths.csv"]


def test_the_journals_of_a_comparison_belong_to_its_table(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"lesion.{name}.journal").write_bytes(b"")
    assert [each.table for each in read_run([tmp_path]).unfinished] == ["lesion"]
    save(tmp_path)
    assert read_run([tmp_path]).unfinished == ()


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no table in .*; give a folder"):
        read_run([tmp_path])


def test_what_the_settings_say_of_a_network_and_of_the_images(tmp_path):
    many = {"networks": {"a": {"arch": "resnet20"}}, "arch": "other", "arguments": {"data": "digits"}}
    save(tmp_path / "1", **many)
    save(tmp_path / "2", arch="plain20", arguments={"data": "../shared/cifar10/"})
    save(tmp_path / "3", data_set={"name": "cifar10", "folder": False}, networks={"a": {"peak": 3}}, arch="vgg16")
    save(tmp_path / "4")
    tables = read_run([tmp_path]).tables
    assert [table.arch("a") for table in tables] == ["resnet20", "plain20", "vgg16", ""]
    assert [table.images() for table in tables] == [
        "digits", "the folder cifar10", "cifar10", "a data set that the settings do not name",
    ]  # fmt: skip
    assert tables[2].about("a")["peak"] == 3
    assert tables[0].argument("data") == "digits"
    assert tables[3].argument("data") is None


def test_a_name_that_stands_for_several_checkpoints_says_which(tmp_path):
    ours, theirs = "a" * 64, "b" * 64
    save(tmp_path / "A", network="model", checkpoint_sha256=ours)
    save(tmp_path / "A" / "model", name="grid", network="model")  # does not say, so it goes with its folder
    save(tmp_path / "B", network="model", networks={"model": {"arch": "resnet20", "checkpoint_sha256": theirs}})
    save(tmp_path / "B", name="paths", network="other", checkpoint_sha256=theirs)
    run = read_run([tmp_path / "A", tmp_path / "B"])
    assert [(table.name, table.networks) for table in run.tables] == [
        ("lesion", ["model (A)"]), ("grid", ["model (A)"]), ("lesion", ["model (B)"]), ("paths", ["other"]),
    ]  # fmt: skip
    assert run.tables[2].arch("model (B)") == "resnet20"
    assert run.tables[2].saved.rows[0]["network"] == "model"  # as figures are drawn from it
    assert read_run([tmp_path / "A"]).networks() == ["model"]
    hashed = read_run([tmp_path / "A", tmp_path / "A" / "model", tmp_path / "B"])  # three folders, two checkpoints
    assert hashed.networks()[0] == "model (A)"
    save(tmp_path / "A", name="reorder", network="model", checkpoint_sha256=theirs)
    assert read_run([tmp_path / "A"]).networks() == ["model (aaaaaaaa)", "model (bbbbbbbb)", "model"]
