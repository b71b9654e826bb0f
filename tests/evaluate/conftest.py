import pytest

from resnet_probe import cli
from tests.evaluate.runs import words


@pytest.fixture(scope="package")
def table(tiny, tmp_path_factory):
    """What an undisturbed run writes."""
    out = tmp_path_factory.mktemp("whole")
    assert cli.main(words(tiny, out)) == 0
    return (out / "lesion.csv").read_bytes()
