import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The checkpoint that commands in processes of their own are tried on."""
    from tests.evaluate.runs import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def quiet_machine(request, monkeypatch):
    """The note that other programs share the processors, which depends on what else runs, but for its own tests."""
    if "threads" not in request.module.__name__:
        monkeypatch.setattr("resnet_probe.threads.crowded", lambda: None)
