"""Training styles that leave residual blocks out: stochastic depth, and training on effective paths only.

Any network whose residual blocks `unravel` finds can be trained so: a left-out block is its shortcut, so it costs
nothing in that mini-batch, and its weights are not updated by it.

Styled       a network that leaves blocks out while it trains, and scales their branches while it is tested
fold         write such scales into the weights, so that the plain network computes the same

Source: Huang et al. 2016, "Deep Networks with Stochastic Depth" (arXiv 1603.09382), section 3; Veit et al. 2016,
section 4.3, where 23 of 54 blocks are kept (how the network is scaled at test time is not said there; here as in
stochastic depth, by the probability to take part, unless the recipe's `rescale` is off).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from resnet_probe.training.recipe import Recipe, TrainingError
from resnet_probe.unraveled import UnraveledNetwork, unravel

KEPT = 23 / 54  # of the blocks, as Veit et al. 2016


def survival(blocks: int, last: float) -> list[float]:
    """Probability of each block to take part: it falls linearly from near 1 to `last`.

    Source: Huang et al. 2016, equation 4.

    Examples:
        >>> survival(4, 0.5)
        [0.875, 0.75, 0.625, 0.5]
    """
    return [1 - (number / blocks) * (1 - last) for number in range(1, blocks + 1)]


class Styled(nn.Module):
    """`model`, run block by block in the recipe's style.

    In training mode each call leaves out the blocks drawn for `step` (set by the trainer; all processes draw the
    same); in evaluation mode branches are scaled by their probability to take part, if the recipe says so.

    Raises TrainingError for a network without residual blocks, or with fewer than are to be kept.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, input_shape: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.step = 0
        # Its modules share the parameters, the buffers too; a list hides them from `parameters`.
        self._network = [unravel(model, tuple(input_shape))]
        self.names = [unit.name for unit in self.network.links]
        if not self.names:
            raise TrainingError(f"style {recipe.style}: the network has no residual blocks; train it in style normal")
        self.kept = round(KEPT * len(self.names)) if recipe.kept is None else recipe.kept
        if recipe.style == "effective-paths" and self.kept > len(self.names):
            raise TrainingError(f"kept {self.kept}: the network has {len(self.names)} blocks; give at most as many")

        if recipe.rescale:  # now, not after a long training
            for name in self.names:
                _end_of_branch(self.network, name)
        for unit in self.network.units:  # all of them now, because making one sets its modules to evaluation mode
            unit.module()
            if unit.name in self.names:
                unit.module("shortcut")
                unit.module("whole", self.probabilities[unit.name])

    @property
    def network(self) -> UnraveledNetwork:
        """The chain of units."""
        return self._network[0]

    @property
    def probabilities(self) -> dict[str, float]:
        """The probability of each block to take part in a mini-batch."""
        if self.recipe.style == "stochastic-depth":
            return dict(zip(self.names, survival(len(self.names), self.recipe.survival), strict=True))
        return dict.fromkeys(self.names, self.kept / len(self.names))

    def left_out(self, step: int) -> list[str]:
        """The blocks that do not take part in the mini-batch of `step`."""
        random = np.random.default_rng([self.recipe.seed, step])
        if self.recipe.style == "stochastic-depth":
            draws = random.random(len(self.names))
            return [name for name, draw in zip(self.names, draws, strict=True) if draw >= self.probabilities[name]]
        return [self.names[i] for i in sorted(random.permutation(len(self.names))[self.kept :])]

    def train(self, mode: bool = True) -> Styled:
        """Set the mode, of the chain's own modules too."""
        super().train(mode)
        self.network.anatomy.traced.module.train(mode)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        network = self.network
        if self.training:
            network = network.delete(*self.left_out(self.step))
        elif self.recipe.rescale:
            network = network.scale(self.probabilities)
        return network(x)

    def finish(self) -> None:
        """Write the scales of the test time into the weights of `model`, which then is the network that was tested."""
        if self.recipe.rescale:
            fold(self.network, self.probabilities)


def fold(network: UnraveledNetwork, factors: Mapping[str, float]) -> None:
    """Multiply, in place, what ends each block's branch (a norm, convolution or linear layer) by the block's factor.

    Raises TrainingError for a branch that ends in something else, before anything is changed.
    """
    ends = {name: _end_of_branch(network, name) for name in factors}
    with torch.no_grad():
        for name, module in ends.items():
            for parameter in module.parameters(recurse=False):
                parameter.mul_(factors[name])


def _end_of_branch(network: UnraveledNetwork, name: str) -> nn.Module:
    unit = network.unit(name)
    branch = [network.anatomy.traced.operation(node) for node in unit.plan.regions[0].branch]
    end, module = branch[-1], branch[-1].module
    linear = end.is_norm or end.is_convolution or isinstance(module, nn.Linear)
    learned = isinstance(getattr(module, "weight", None), nn.Parameter)
    if module is not None and linear and learned and len(branch) == 1 and end.readers == 1:
        return module
    raise TrainingError(
        f"the branch of {name} ends in {end.name}, not in a norm or a convolution, so its scale cannot be written "
        "into the weights; train it with rescale off"
    )
