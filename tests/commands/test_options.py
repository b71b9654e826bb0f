import pytest
import rich_click as click
from click.testing import CliRunner

from resnet_probe.commands import options

SHARED = {
    "ckpt": "--ckpt",
    "arch": "--arch",
    "leaf": "--leaf",
    "data": "--data",
    "data_root": "--data-root",
    "split": "--split",
    "limit": "--limit",
    "batch_size": "--batch-size",
    "normalize": "--normalize",
    "device": "--device",
    "precision": "--precision",
    "seed": "--seed",
    "out": "--out",
    "formats": "--format",
    "quiet": "--quiet",
}
# They come with --format, and with --device.
LOOK = {"style": "--style", "width": "--width", "venue": "--venue", "table": "--table", "threads": "--threads"}


def command():
    @click.command("all")
    def all_options(**values):
        for name, value in values.items():
            click.echo(f"{name}={value!r}")
        click.echo(options.command_line())

    for name in SHARED:
        all_options = getattr(options, name)(all_options)
    return all_options


def values(*words):
    done = CliRunner().invoke(command(), words, obj=options.Invocation(words))
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def test_every_shared_option_has_its_name_and_its_help():
    found = {parameter.name: parameter for parameter in command().params}
    assert {name: parameter.opts[0] for name, parameter in found.items()} == SHARED | LOOK
    assert all(parameter.help for parameter in found.values())


def test_defaults_are_those_of_the_contract():
    given = values()
    for expected in ("split='test'", "seed=0", "device='auto'", "precision='fp32'", "formats=('pdf', 'svg', 'png')"):
        assert expected in given
    for nothing in ("ckpt", "arch", "data", "data_root", "limit", "batch_size", "normalize", "out"):
        assert f"{nothing}=None" in given
    assert "quiet=False" in given


@pytest.mark.parametrize("written", ["png,pdf", " PNG , pdf,,png"])
def test_formats_are_separated_by_commas(written):
    assert "formats=('png', 'pdf')" in values("--format", written)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--limit", "0"], "0 is not in the range x>=1"),
        (["--batch-size", "-1"], "-1 is not in the range x>=1"),
        (["--seed", "-1"], "-1 is not in the range x>=0"),
        (["--split", "training"], "'training' is not one of 'train', 'val', 'test'"),
        (["--precision", "int8"], "'int8' is not one of 'fp32', 'bf16', 'fp16'"),
        (["--ckpt", "missing"], "'missing' does not exist"),
    ],
)
def test_values_that_are_not_allowed_are_named(words, problem):
    done = CliRunner().invoke(command(), words, standalone_mode=False)
    assert isinstance(done.exception, click.UsageError)
    assert problem in done.exception.format_message()


def test_the_command_line_can_be_pasted_into_a_shell():
    assert values("--arch", "a b;c")[-1] == "resnet-probe --arch 'a b;c'"
