import pytest
import rich_click as click

from resnet_probe import cli
from resnet_probe.commands.request import Request, processes


@pytest.mark.parametrize("words", [("--devices", "0"), ("--num-nodes", "0"), ("--batch-size", "0")])
def test_counts_below_one_are_refused(words):
    assert cli.main(["lesion", "--arch", "resnet8-w4", *words]) == 2


@pytest.mark.parametrize("name", ["lesion", "reorder"])
def test_the_commands_of_sweeps_have_these_options_with_help(name):
    given = {option: parameter for parameter in cli.load(name).params for option in parameter.opts}
    for option in (
        *("--memory", "--compile", "--fresh", "--devices", "--num-nodes", "--accelerator", "--batch-size"),
        *("--precision", "--draws", "--limit", "--seed", "--out", "--quiet"),
    ):
        assert given[option].help, option


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("lesion", "--arch", "resnet8-w4", "--multi", "1:2", "--pairs"), "--multi and --pairs given"),
        (("lesion", "--arch", "resnet8-w4", "--pairs", "--recalibrate"), "--recalibrate goes with single deletions"),
        (("lesion", "--arch", "resnet8-w4", "--memory", "much"), "'much' is no amount of memory"),
        (("reorder", "--arch", "resnet8-w4", "--swaps", "0:4"), "'0:4' is no range"),
        (("lesion", "--arch", "resnet8-w4", "--data", "fake", "--multi", "50", "-q"), "cannot delete 50 of 1"),
        (("lesion", "--arch", "resnet8-w4", "--data", "fake", "--memory", "9", "-q"), "does not hold one image"),
        (("reorder", "--arch", "resnet8-w4", "--data", "fake", "-q"), "no two residual blocks"),
        (("lesion",), "no network given"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(words, message, capsys):
    assert cli.main([*words, "--limit", "8"]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_torchrun_and_the_options_must_agree(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(click.UsageError, match="torchrun has started 4 processes, and --devices 2 times --num-nodes 1"):
        processes(Request(devices=2), "cpu")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert processes(Request(), "cpu")[1] == "cpu"
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    monkeypatch.setenv("WORLD_SIZE", "7")
    assert processes(Request(), "cpu")[1] == "cpu"
