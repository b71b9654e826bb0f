"""What is no subject is refused in words."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from resnet_probe.analyses import lesion
from resnet_probe.analyses.subject import Subject
from resnet_probe.models import resolve
from resnet_probe.unraveled import unravel


@pytest.fixture
def network():
    return unravel(resolve("resnet8-w4"), (3, 8, 8))


@pytest.fixture
def loader():
    return DataLoader(TensorDataset(torch.rand(4, 3, 8, 8), torch.arange(4)))


def test_a_network_and_a_loader_are_no_subject(network, loader):
    with pytest.raises(
        ValueError, match=r"^UnraveledNetwork and DataLoader given where .*; give Subject.name, network, data"
    ):
        lesion.run(network, loader)
    with pytest.raises(ValueError, match=r"^Subject and DataLoader given"):
        lesion.run(Subject("mine", network), loader)


def test_a_loader_is_no_data(network, loader):
    with pytest.raises(ValueError, match=r"^images of mine are a DataLoader; give Subject"):
        Subject("mine", network, loader)
