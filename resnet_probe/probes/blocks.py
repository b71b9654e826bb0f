"""What residual blocks do to a batch: a forward pass over the chain that keeps every block's parts, and one backward.

- `Chain`: runs a network so that the parts of every block can be seen; `Visit`: those parts.
- `update`: size and direction of what a block adds, for each image. `score_batch`: the same of every block.
- `BlockSums`, `add_batch`: all measures of iterative inference, streamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from resnet_probe.float32 import full_float32
from resnet_probe.probes.reducers import ChannelMoments, Moments, combine_moments, moments
from resnet_probe.tasks import CLASSIFICATION
from resnet_probe.unraveled import Unit, UnraveledNetwork


@dataclass
class Visit:
    """What a batch shows at one block, each tensor (N, C, H, W) or (N, T, C).

    Attributes:
        given: the block's input h.
        shortcut: S(h), h itself for an identity shortcut.
        branch: F(h).
        output: S(h) + F(h).
        representation: what the next block is given: the output, after the activation that follows the addition.
    """

    given: Tensor
    shortcut: Tensor
    branch: Tensor
    output: Tensor
    representation: Tensor


class Chain:
    """The intact chain of a network, run so that the parts of every block can be seen."""

    def __init__(self, network: UnraveledNetwork) -> None:
        self.blocks = network.links
        self.units = network.units
        known = {block.name for block in self.blocks}
        self.at = [i for i, unit in enumerate(self.units) if unit.name in known]
        after = [_activation(network, i) for i in self.at]
        self.activations = [activation for activation, _ in after]
        self.tail = self.units[self.at[-1] + 1 :]
        self.readers = [part for part in (after[-1][1], *(unit.module() for unit in self.tail[1:])) if part is not None]
        last = self.blocks[-1].plan
        self.exits = [b.plan.stage == last.stage and b.plan.out_shape == last.out_shape for b in self.blocks]

    def run(self, x: Tensor) -> tuple[Tensor, list[Visit]]:
        """Logits (N, classes), and what each block showed."""
        visits = []
        number = {position: i for i, position in enumerate(self.at)}
        for position, unit in enumerate(self.units):
            if position not in number:
                x = unit.module()(x)
                continue
            given = x
            shortcut = given if unit.has_identity_shortcut else unit.module("shortcut")(given)
            branch = unit.module("branch")(given)
            x = shortcut + branch
            activation = self.activations[number[position]]
            visits.append(Visit(given, shortcut, branch, x, x if activation is None else activation(x)))
        return x, visits

    def exit(self, output: Tensor) -> Tensor:
        """The network's own classifier, applied to a block's output: logits (N, classes)."""
        for unit in self.tail:
            output = unit.module()(output)
        return output

    def read(self, representation: Tensor) -> Tensor:
        """The network's own classifier, applied to a block's input as if it were the last representation."""
        for part in self.readers:
            representation = part(representation)
        return representation

    def features(self, output: Tensor) -> Tensor:
        """What the network's last layer reads, (N, features), if the last block had this output."""
        for unit in self.tail[:-1]:
            output = unit.module()(output)
        return output


@dataclass
class BlockSums:
    """What has been added up at one block."""

    per_image: list[Tensor] = field(default_factory=list)  # (measures, 3)
    estimation: list[Tensor] = field(default_factory=list)  # (3,)
    features: list[Tensor] = field(default_factory=list)  # (channels, 3), the same by feature
    exits: int = 0  # right answers of the early exit
    previous: Tensor | None = None  # (1, values): direction of the score's gradient for the last image

    def add(
        self,
        visit: Visit,
        at_input: Tensor,
        at_output: Tensor,
        last: Tensor | None,
        at_exit: Tensor | None = None,
        *,
        of_score: Tensor,
    ) -> None:
        """Add a batch.

        Args:
            visit: the batch at this block.
            at_input, at_output: gradient of each image's loss at the block's input and output.
            of_score: gradient of the first class's score at the block's input.
            at_exit: gradient at the input of the loss of the classifier that reads it, where it can.
            last: representation after the last block of the stage, if this block's has the same shape.
        """
        with torch.no_grad():
            f, s = _rows(visit.branch), _rows(visit.shortcut)
            g_in, g_out = _rows(at_input), _rows(at_output)
            own = update(visit, at_output)
            score = _rows(of_score)
            row = score if self.previous is None else torch.cat([self.previous, score])
            self.previous = row[-1:]
            each = (
                own["ratio"],
                _cosine(f, s),
                _cosine(f, g_in) if f.shape == g_in.shape else f.new_full(f.shape[:1], torch.nan),
                _cosine(f, g_out),
                own["first_order"],
                own["influence"],
                own["angular"],
                f.new_full(f.shape[:1], torch.nan) if at_exit is None else _cosine(f, _rows(at_exit)),
                _cosine(row[1:], row[:-1]),
            )
            # an image without gradient, or with an input of zeros, has no such measure and is left out of its mean
            self.per_image.append(torch.cat([moments(values[values.isfinite()][None, None]) for values in each]))
            if last is not None:
                error = visit.representation - last
                self.estimation.append(Moments().reduce(None, error))
                self.features.append(ChannelMoments(-1 if error.dim() == 3 else 1).reduce(None, error))
            self._fold()

    def measures(self) -> Tensor:
        """(measures, 3): number, mean and sum of squared deviations, in the order of `analyses.iterative.SPREADS`."""
        return combine_moments(torch.stack(self.per_image))

    def _fold(self) -> None:
        for states in (self.per_image, self.estimation, self.features):
            if len(states) >= 32:
                states[:] = [combine_moments(torch.stack(states))]


def update(visit: Visit, at_output: Tensor) -> dict[str, Tensor]:
    """What a block adds, for each image, (N,); NaN where a vector is zero.

    Args:
        visit: the batch at this block.
        at_output: gradient of each image's loss at the block's output.

    Returns:
        `ratio`: |F(h)| / |S(h)|; `first_order`: -<dL/dh_out, F(h)>, nats; `influence`: 1 - cos(S(h), h_next);
        `angular`: arccos of the same cosine, over pi.
    """
    f, s, out, g_out = (_rows(t) for t in (visit.branch, visit.shortcut, visit.representation, at_output))
    turned = _cosine(s, out)
    return {
        "ratio": f.norm(dim=1) / s.norm(dim=1),
        "first_order": -(g_out * f).sum(1),
        "influence": 1 - turned,
        "angular": turned.clamp(-1, 1).arccos() / torch.pi,
    }


@full_float32()
def score_batch(chain: Chain, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """What every block adds to a batch, by the names of `update`: each (blocks, N)."""
    with torch.enable_grad():
        logits, visits = chain.run(images.detach().requires_grad_())
        outputs = [visit.output for visit in visits]
        gradients = torch.autograd.grad(logits, outputs, CLASSIFICATION.gradient(logits.detach(), labels))
    with torch.no_grad():
        found = [update(visit, gradient) for visit, gradient in zip(visits, gradients, strict=True)]
    return {name: torch.stack([each[name] for each in found]) for name in found[0]}


@full_float32()
def add_batch(chain: Chain, sums: Sequence[BlockSums], images: Tensor, labels: Tensor) -> tuple[int, float]:
    """Measure one batch; returns the wrong answers and the summed loss in nats of the whole network.

    Images do not influence one another in evaluation mode, so the gradient of the summed loss holds each image's own.
    """
    with torch.enable_grad():
        logits, visits = chain.run(images.detach().requires_grad_())
        loss = CLASSIFICATION.total_loss(logits.detach(), labels)
        points = [point for visit in visits for point in (visit.given, visit.output)]
        of_score = torch.autograd.grad(logits[:, 0].sum(), points[::2], retain_graph=True)
        gradients = torch.autograd.grad(logits, points, CLASSIFICATION.gradient(logits.detach(), labels))
    stages = [block.plan.stage for block in chain.blocks]
    lasts = {stage: visit.representation for stage, visit in zip(stages, visits, strict=True)}
    for i, (block, visit) in enumerate(zip(sums, visits, strict=True)):
        last = lasts[stages[i]]
        same = last.shape == visit.representation.shape
        at_exit = _at_exit(chain, visit, labels) if chain.exits[i] else None
        block.add(visit, gradients[2 * i], gradients[2 * i + 1], last if same else None, at_exit, of_score=of_score[i])
        if chain.exits[i]:
            with torch.no_grad():
                block.exits += int((~CLASSIFICATION.wrong(chain.exit(visit.output), labels)).sum())
    return int(CLASSIFICATION.wrong(logits, labels).sum()), float(loss)


def _at_exit(chain: Chain, visit: Visit, labels: Tensor) -> Tensor | None:
    """Gradient of each image's loss at the block's input, if the network's classifier read that input.

    Source: Jastrzebski et al. 2018, equations 2 to 4, which expand the loss around h_j.
    """
    if visit.given.shape != visit.output.shape:
        return None
    with torch.enable_grad():
        given = visit.given.detach().requires_grad_()
        scores = chain.read(given)
        (gradient,) = torch.autograd.grad(scores, given, CLASSIFICATION.gradient(scores.detach(), labels))
    return gradient


def _activation(network: UnraveledNetwork, block: int) -> tuple[nn.Module | None, nn.Module | None]:
    """The activation after a block's addition, and what is left of its unit behind it; None where there is none.

    The activation is what follows the addition without weights and without a change of shape.
    """
    if block + 1 >= len(network.units):
        return None, None
    plan = network.units[block + 1].plan
    count = 0
    for region in plan.regions:
        before, after = (network.anatomy.traced.operation(node) for node in (region.entry, region.exit))
        learned = after.module is not None and any(True for _ in after.module.parameters())
        if plan.kind != "other" or region.inner or learned or before.shape != after.shape:
            break
        count += 1
    activation, rest = (
        Unit(replace(plan, regions=regions), network.anatomy).module() if regions else None
        for regions in (plan.regions[:count], plan.regions[count:])
    )
    return activation, rest


def _rows(x: Tensor) -> Tensor:
    return x.detach().flatten(1).double()


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """(N,); NaN where a vector is zero."""
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
