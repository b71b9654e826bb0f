"""Styles: a left-out block is its shortcut, draws have their probabilities, scales become weights."""

import pytest
import torch
from torch import nn

from resnet_probe.data import load_data
from resnet_probe.models import resolve
from resnet_probe.training import Recipe, Styled, TrainingError, fit, fold, seeded
from resnet_probe.training.styles import survival
from resnet_probe.unraveled import unravel
from tests.networks import trained

SHAPE = (3, 8, 8)


def recipe(style, **values):
    return Recipe(epochs=1, learning_rate=0.1, style=style, **values)


def network(arch="resnet20-w4"):
    return trained(lambda: resolve(arch))


def by_hand(model, x, left_out):
    """The forward of a post-activation network with option A, written out."""
    x = torch.relu(model.bn1(model.conv1(x)))
    for stage in ("layer1", "layer2", "layer3"):
        for number, block in enumerate(getattr(model, stage)):
            shortcut = x if block.downsample is None else block.downsample(x)
            if f"{stage}.{number}" in left_out:
                x = torch.relu(shortcut)
            else:
                x = torch.relu(block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x))))) + shortcut)
    return model.fc(x.mean((2, 3)))


@pytest.mark.parametrize("style", ["stochastic-depth", "effective-paths"])
def test_a_step_is_the_network_without_the_blocks_that_were_drawn(style):
    model, x = network(), torch.randn(6, *SHAPE)
    styled = Styled(model, recipe(style, survival=0.2), SHAPE)
    styled.train()
    other = network()
    other.train()
    for step in range(4):
        styled.step = step
        left_out = styled.left_out(step)
        assert left_out
        found, expected = styled(x), by_hand(other, x, left_out)
        assert torch.allclose(found, expected, atol=1e-5)
    for (name, mine), theirs in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6), name  # the running statistics too
    model.zero_grad()
    found = styled(x).square().sum()
    found.backward()
    other.zero_grad()
    by_hand(other, x, styled.left_out(3)).square().sum().backward()
    for (name, mine), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        skipped = any(name.startswith(f"{block}.") for block in styled.left_out(3))
        assert (mine.grad is None) == skipped == (theirs.grad is None), name
        assert skipped or torch.allclose(mine.grad, theirs.grad, atol=1e-4)


def test_survival_is_the_papers():
    assert survival(54, 0.5)[0] == pytest.approx(1 - 0.5 / 54)
    assert survival(54, 0.5)[-1] == pytest.approx(0.5)
    assert sum(survival(54, 0.5)) == pytest.approx((3 * 54 - 1) / 4)  # Huang et al. 2016, section 3: about 3L/4


def test_draws_have_their_probabilities():
    styled = Styled(network(), recipe("stochastic-depth", survival=0.4), SHAPE)
    draws = 2000
    left = dict.fromkeys(styled.names, 0)
    for step in range(draws):
        for name in styled.left_out(step):
            left[name] += 1
    for name, probability in styled.probabilities.items():
        error = (probability * (1 - probability) / draws) ** 0.5
        assert abs(1 - left[name] / draws - probability) < 4.5 * error
    exact = Styled(network(), recipe("effective-paths", kept=3), SHAPE)
    sets = [frozenset(exact.left_out(step)) for step in range(1000)]
    assert {len(names) for names in sets} == {9 - 3}
    assert len(set(sets)) == 84  # every choice of 3 of 9 blocks occurs
    assert Styled(network(), recipe("effective-paths"), SHAPE).kept == round(9 * 23 / 54)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet20-w4", "resnet20-w4-preact", "resnet20-w4-B", "resnet29-w4-bottleneck"])
@pytest.mark.parametrize("style", ["stochastic-depth", "effective-paths"])
def test_scales_become_weights(arch, style):
    """In evaluation mode the branches are scaled; after `finish` the plain network computes the same."""
    model, x = network(arch), torch.randn(4, *SHAPE)
    styled = Styled(model, recipe(style), SHAPE)
    styled.eval()
    plain = model.eval()(x)
    tested = styled(x)
    assert not torch.allclose(tested, plain, atol=1e-3)
    expected = unravel(model, SHAPE).scale(styled.probabilities)(x)
    assert torch.allclose(tested, expected, atol=1e-5)
    styled.finish()
    assert torch.allclose(model(x), tested, atol=1e-4)


def test_without_rescaling_the_network_is_tested_as_it_is():
    model, x = network(), torch.randn(4, *SHAPE)
    styled = Styled(model, recipe("effective-paths", rescale=False), SHAPE)
    styled.eval()
    before = model.eval()(x)
    styled.finish()
    assert torch.allclose(styled(x), before, atol=1e-6)
    assert torch.equal(model(x), before)


class EndsInRelu(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Linear(3, 2)

    def forward(self, x):
        return self.head((x + self.relu(self.conv(x))).mean((2, 3)))


def test_what_cannot_be_styled_is_refused():
    with pytest.raises(TrainingError, match="no residual blocks; train it in style normal"):
        Styled(resolve("plain8-w4"), recipe("stochastic-depth"), SHAPE)
    with pytest.raises(TrainingError, match="kept 10: the network has 9 blocks"):
        Styled(network(), recipe("effective-paths", kept=10), SHAPE)
    net = unravel(EndsInRelu(), SHAPE)
    with pytest.raises(TrainingError, match="ends in relu, not in a norm or a convolution"):
        fold(net, {net.blocks[0].name: 0.5})


def test_a_scale_that_cannot_be_written_is_refused_before_the_training():
    with pytest.raises(TrainingError, match="ends in relu, not in a norm or a convolution"):
        Styled(EndsInRelu(), recipe("stochastic-depth"), SHAPE)
    assert Styled(EndsInRelu(), recipe("stochastic-depth", rescale=False), SHAPE).names


def test_training_in_a_style_leaves_the_tested_network(tmp_path):
    data = load_data("digits", split="train", limit=80)
    with seeded(0):
        model = resolve("resnet8-w4", in_channels=1)
    history = fit(
        model, data, test=data, style="stochastic-depth", epochs=2, learning_rate=0.05, batch_size=20, survival=0.3
    )
    model.eval()
    (x, y), *_ = data.batches(80)
    assert nn.functional.cross_entropy(model(x), y).item() == pytest.approx(history.rows[-1].test_loss, rel=1e-4)
