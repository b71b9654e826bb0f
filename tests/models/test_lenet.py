"""LeNet-5 against the layers written out, and its one input size."""

import pytest
import torch
import torch.nn.functional as F

from resnet_probe.models import resolve


@pytest.mark.parametrize("relu", [False, True])
def test_equals_the_layers_by_hand(relu):
    model = resolve("lenet5-relu" if relu else "lenet5", in_channels=1).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 61_706
    state = model.state_dict()
    activation, pool = (torch.relu, F.max_pool2d) if relu else (torch.tanh, F.avg_pool2d)
    x = torch.randn(2, 1, 32, 32)
    y = pool(activation(F.conv2d(x, state["conv1.weight"], state["conv1.bias"])), 2)
    y = pool(activation(F.conv2d(y, state["conv2.weight"], state["conv2.bias"])), 2).flatten(1)
    for layer in ("fc1", "fc2"):
        y = activation(F.linear(y, state[f"{layer}.weight"], state[f"{layer}.bias"]))
    torch.testing.assert_close(model(x), F.linear(y, state["fc3.weight"], state["fc3.bias"]))


def test_takes_one_size_only():
    model = resolve("lenet5")
    assert model.input_size == 32
    with pytest.raises(ValueError, match=r"given 28x28 images; it takes 32x32"):
        model(torch.zeros(1, 3, 28, 28))
    with pytest.raises(ValueError, match="32x32"):
        torch.fx.symbolic_trace(model)(torch.zeros(1, 3, 8, 8))
