import pytest

from tests.evaluate.cases import images, network


@pytest.fixture(scope="module")
def case():
    """A model, its chain and images."""
    return *network(), images(40)
