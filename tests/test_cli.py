import os
import subprocess
import sys
from pathlib import Path

import pytest
import rich_click as click

from resnet_probe import __version__, cli
from tests.commands.running import ran as run

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "pandas", "scipy", "seaborn", "matplotlib", "numpy")


@pytest.fixture
def failing(monkeypatch):
    """Make the command `paths` raise an error."""

    def install(error):
        @click.command("paths")
        def command():
            raise error

        monkeypatch.setattr(cli, "load", lambda name: cli.options.debug(command))

    return install


def python(*words, **options):
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=ROOT, check=False, timeout=120, **options
    )


def test_help_lists_every_command_with_its_line(capsys):
    code, out, err = run(capsys, "--help")
    assert (code, err) == (0, "")
    for name, line in cli.commands().items():
        assert f"{name} " in out
        assert " ".join(line.split()[:4]) in out


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from resnet_probe.cli import main; main(['--help']); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert python("-c", program).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", cli.commands())
def test_every_command_loads_under_its_name_and_explains_itself(capsys, name):
    command = cli.load(name)
    assert command.name == name
    assert [parameter.name for parameter in command.params].count("debug") == 1
    assert cli.load(name) is command
    assert [parameter.name for parameter in command.params].count("debug") == 1
    assert all(option.help for option in command.params if isinstance(option, click.Option))
    code, out, err = run(capsys, name, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: resnet-probe {name}" in out
    assert cli.commands()[name].endswith(".")


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"resnet-probe {__version__}\n", "")


def test_no_command_shows_the_help_and_is_wrong_use(capsys):
    code, out, _ = run(capsys)
    assert code == 2
    assert "Usage: resnet-probe" in out


@pytest.mark.parametrize(("typed", "meant"), [("pths", "paths"), ("path", "paths"), ("replott", "replot")])
def test_a_mistyped_command_is_answered_with_the_one_meant(capsys, typed, meant):
    assert run(capsys, typed) == (
        2,
        "",
        f"error: no command '{typed}'; did you mean '{meant}'? (resnet-probe --help)\n",
    )


def test_a_command_like_no_other_is_answered_with_the_list(capsys):
    code, _, err = run(capsys, "xyzzy")
    assert code == 2
    assert f"commands are {', '.join(cli.commands())}" in err


@pytest.mark.parametrize(
    "words", [["paths", "--dept", "3"], ["paths", "--depth", "many"], ["--nothing"], ["paths", "more"], ["replot"]]
)
def test_wrong_use_is_one_line_that_says_where_help_is(capsys, words):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.endswith("--help)\n")
    assert err.count("\n") == 1


class CheckpointError(ValueError):
    pass


class UnknownBlockError(LookupError):
    pass


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("depth 3;\n  give 8"), 2, "depth 3; give 8"),
        (CheckpointError("no weights"), 2, "no weights"),
        (UnknownBlockError("no block 'x'"), 2, "no block 'x'"),
        (click.UsageError("give one"), 2, "give one (resnet-probe paths --help)"),
        (click.ClickException("failed"), 1, "failed"),
        (RuntimeError("diverged"), 1, "diverged"),
        (MemoryError(), 1, "MemoryError"),
        (ImportError("no module timm"), 1, "no module timm"),
        (FileNotFoundError(2, "No such file or directory", "a.pt"), 1, "a.pt: No such file or directory"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (KeyError("x"), 1, "unexpected KeyError: 'x'; --debug shows where"),
        (IndexError("out of range"), 1, "unexpected IndexError: out of range; --debug shows where"),
        (TypeError("bad"), 1, "unexpected TypeError: bad; --debug shows where"),
        (KeyboardInterrupt(), 130, "interrupted; finished work is kept, and the same command goes on from there"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(capsys, failing, error, code, line):
    failing(error)
    found, out, err = run(capsys, "paths")
    assert (found, out, err.strip()) == (code, "", f"error: {line}")


@pytest.mark.parametrize("words", [["--debug", "paths"], ["paths", "--debug"]])
def test_debug_shows_the_traceback_before_the_line(capsys, failing, words):
    failing(ValueError("depth 3"))
    code, _, err = run(capsys, *words)
    assert code == 2
    assert err.startswith("Traceback (most recent call last)")
    assert err.endswith("error: depth 3\n")


def test_debug_can_be_set_in_the_environment(capsys, failing, monkeypatch):
    failing(ValueError("depth 3"))
    monkeypatch.setenv("RESNET_PROBE_DEBUG", "1")
    assert "Traceback" in run(capsys, "paths")[2]
    monkeypatch.setenv("RESNET_PROBE_DEBUG", "0")
    assert "Traceback" not in run(capsys, "paths")[2]


def test_a_reader_that_leaves_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "resnet_probe", "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("module", ["resnet_probe", "resnet_probe.cli"])
def test_the_module_runs_like_the_program(module):
    done = python("-m", module, "paths", "--depth", "111")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no CIFAR ResNet has depth 111")
    assert done.stderr.count("\n") == 1
