from pathlib import Path

import pytest
import rich_click as click

from resnet_probe.commands import output
from resnet_probe.tables import Result


def test_the_folder_of_a_run_is_named_after_command_and_network():
    assert output.run_folder(None, "lesion", "resnet56-4bfd") == Path("results/lesion-resnet56-4bfd")
    assert Path("results/lesion-resnet56-4bfd").is_dir()
    assert output.run_folder(Path("mine"), "lesion", "x") == Path("mine")
    assert not list(Path("mine").iterdir())


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("torchvision:resnet50", "torchvision-resnet50"),
        ("../a b/net.py:make", "net-make"),
        ("..", "network"),
        ("größe_2", "größe_2"),
    ],
)
def test_names_of_networks_become_names_of_folders(network, name):
    assert output.file_name(network) == name


def test_a_folder_that_cannot_be_made_says_why(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(click.UsageError, match=r"file/sub \(Not a directory\); give --out a folder"):
        output.run_folder(tmp_path / "file" / "sub", "paths", "x")


def test_a_folder_without_permission_says_why(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(output, "TemporaryFile", refuse)
    with pytest.raises(click.UsageError, match="Permission denied"):
        output.run_folder(tmp_path, "paths", "x")


def test_long_lines_stay_whole_where_the_output_is_no_terminal(capsys):
    long = "results/" + "deep/" * 60 + "[bold]file"
    output.summarise(output.console(), "run", [("a", "1"), ("longer", long)])
    assert capsys.readouterr().out == f"run\n  a       1\n  longer  {long}\n"
    output.summarise(output.console(quiet=True), "run", [("a", "1")])
    assert capsys.readouterr().out == ""


def test_files_are_listed_by_folder(tmp_path):
    assert output.listing([Path("a/b/x.csv"), Path("a/b/x.png")]) == "a/b/: x.csv, x.png"
    assert output.listing([Path("x.csv")]) == "./: x.csv"


def test_rows_of_several_networks_say_which(capsys):
    rows = [{"network": name, "order": "lesion", "kendall_tau": tau} for name, tau in (("a", 0.5), ("b", 0.25))]
    for shown, lines in ((rows, ["a lesion 0.5", "b lesion 0.25"]), (rows[1:], ["lesion 0.25"])):
        table = Result("prune_stability", tuple(rows[0]), tuple(shown), {})
        output.rows(output.console(quiet=False), table, ("order", "kendall_tau"))
        assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[1:]] == lines
