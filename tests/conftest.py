import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The checkpoint that commands in processes of their own are tried on."""
    from tests.evaluate.runs import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("tiny"))
