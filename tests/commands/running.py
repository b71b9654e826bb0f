"""The program, as the command line calls it."""

from resnet_probe.cli import main


def ran(capsys, *words):
    """Exit code, standard output and standard error of the program with these words."""
    return main([str(word) for word in words]), *capsys.readouterr()
