import pytest
import rich_click as click
from click.testing import CliRunner

from resnet_probe import cli
from resnet_probe.commands import sweeping


def command():
    @click.command("sweep")
    @click.option("--multi", callback=sweeping.numbers)
    @sweeping.sweep_options
    def sweep(*, multi, options):
        """Sweep."""
        click.echo(repr((list(multi) if multi else multi, options)))

    return sweep


def run(*words):
    return CliRunner().invoke(command(), words)


@pytest.mark.parametrize(
    ("written", "numbers"),
    [("1:20", list(range(1, 21))), ("5", [5]), ("2:20:6", [2, 8, 14, 20]), ("3:3", [3]), ("1:10:4", [1, 5, 9])],
)
def test_ranges(written, numbers):
    assert run("--multi", written).output.startswith(f"({numbers}, ")


@pytest.mark.parametrize("written", ["", "0:3", "5:1", "-2", "a", "1:b", "1:2:3:4", "1:5:0", "1.5", ":4", "1:9:-1"])
def test_what_is_no_range_is_refused_with_an_example(written):
    done = run("--multi", written)
    assert done.exit_code == 2
    assert f"{written!r} is no range; give FIRST:LAST, such as 1:20" in " ".join(done.output.split()).replace("│ ", "")


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("800M", 800_000_000),
        ("800MB", 800_000_000),
        ("2G", 2 * 10**9),
        ("2gb", 2 * 10**9),
        ("1.5 G", 1_500_000_000),
        ("64k", 64_000),
        ("123456", 123_456),
    ],
)
def test_amounts_of_memory(written, amount):
    assert f"memory={amount}," in run("--memory", written).output


@pytest.mark.parametrize("written", ["", "M", "-1G", "0", "lots", "1e999", "nan", "800MX", "0.1"])
def test_what_is_no_amount_is_refused_with_an_example(written):
    done = run("--memory", written)
    assert done.exit_code == 2
    assert "is no amount of memory" in done.output


def test_defaults_and_all_options_reach_the_command():
    assert run().output == f"{(None, sweeping.Options())!r}\n"
    given = run(
        "--batch-size", "3", "--precision", "bf16", "--memory", "1G", "--compile", "--fresh", "--devices", "2",
        "--num-nodes", "4", "--accelerator", "cpu",
    )  # fmt: skip
    assert given.output == f"{(None, sweeping.Options(3, 'bf16', 10**9, True, True, 2, 4, 'cpu'))!r}\n"


@pytest.mark.parametrize("words", [("--devices", "0"), ("--num-nodes", "0"), ("--batch-size", "0")])
def test_counts_below_one_are_refused(words):
    assert run(*words).exit_code == 2


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
def test_wrong_use_is_one_line_and_code_2(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*words, "--limit", "8"]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_torchrun_and_the_options_must_agree(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(click.UsageError, match="torchrun has started 4 processes, and --devices 2 times --num-nodes 1"):
        sweeping.Options(devices=2).processes("cpu")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert sweeping.Options().processes("cpu")[1] == "cpu"
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    monkeypatch.setenv("WORLD_SIZE", "7")
    assert sweeping.Options().processes("cpu")[1] == "cpu"


@pytest.mark.parametrize(
    ("rank", "count", "fresh", "left"),
    [
        (0, 2, True, {"", ".1"}),  # those of processes that are no more; .1 is the other's to renew
        (0, 1, True, {""}),
        (0, 2, False, {"", ".1", ".2"}),
        (1, 2, True, {"", ".1", ".2"}),
    ],
)
def test_a_fresh_start_leaves_no_journals_of_processes_that_are_no_more(tmp_path, rank, count, fresh, left):
    from resnet_probe.data import load_data
    from resnet_probe.evaluate import Workers
    from resnet_probe.unraveled import unravel
    from tests.networks import SHAPE, Flat

    network = unravel(Flat(), SHAPE)

    class Subject:
        checkpoint = type("Checkpoint", (), {"sha256": "a", "arch": "flat"})

    def bench(rank, count, fresh):
        chosen = sweeping.Options(fresh=fresh)
        data = load_data("digits", limit=10)
        return sweeping.Bench(chosen, tmp_path, "cpu", Workers(rank, count), Subject, data, network, True)

    for earlier in range(3):
        bench(earlier, 3, False)._journal("lesion", {}).close()
    bench(rank, count, fresh)._journal("lesion", {}).close()
    found = {path.name.removeprefix("lesion.journal") for path in tmp_path.iterdir()}
    assert {end for end in found if "-" not in end} == left
