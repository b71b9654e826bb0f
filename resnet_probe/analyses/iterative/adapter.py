"""Early exits from any block: a least-squares map from its pooled maps to what the classifier reads.

Half of the images (those at even positions) fit the map, the other half (odd positions) are classified through it.
The maps are averaged over positions, and map and offset are the solution of least squares, so there is nothing to
tune and the fit streams: only sums of products are kept.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from resnet_probe.data import Data
from resnet_probe.probes.blocks import Chain
from resnet_probe.tasks import CLASSIFICATION


def adapted_exits(
    chain: Chain,
    data: Data,
    *,
    batch_size: int,
    device: str,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[int], int]:
    """Right answers of the adapted exit after each block, and the number of images that were classified.

    Raises:
        ValueError: a block does not yield maps (N, C, H, W), the last layer is no layer of vectors, or there are fewer
            than two images.
    """
    for block in chain.blocks:
        if len(block.plan.out_shape) != 3:
            raise ValueError(f"{block.name} yields {block.plan.out_shape}, not maps (C, H, W): leave out the adapter")
    if not chain.tail or len(chain.tail[-1].plan.in_shape) != 1:
        raise ValueError("the network does not end in a layer that reads one vector: leave out the adapter")
    if len(data) < 2:
        raise ValueError("an adapter needs images to fit and others to classify; give at least 2")
    fit, test = data.subset(slice(0, None, 2)), data.subset(slice(1, None, 2))
    products: list[Tensor] = []
    targets: list[Tensor] = []
    done = 0
    for images, _ in fit.batches(batch_size, device=device):
        pooled, features = _features(chain, images)
        for i, x in enumerate(pooled):
            if len(products) <= i:
                products.append(x.new_zeros(x.shape[1], x.shape[1]))
                targets.append(x.new_zeros(x.shape[1], features.shape[1]))
            products[i] += x.T @ x
            targets[i] += x.T @ features
        done += len(images)
        if progress:
            progress(done, len(data))
    maps = [torch.linalg.pinv(a, hermitian=True) @ b for a, b in zip(products, targets, strict=True)]
    right = [0] * len(maps)
    head = chain.tail[-1].module()
    for images, labels in test.batches(batch_size, device=device):
        pooled, features = _features(chain, images)
        for i, (x, adapter) in enumerate(zip(pooled, maps, strict=True)):
            logits = head((x @ adapter).to(images.dtype))
            right[i] += int((~CLASSIFICATION.wrong(logits, labels)).sum())
        done += len(images)
        if progress:
            progress(done, len(data))
    return right, len(test)


def _features(chain: Chain, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """Per block, pooled maps with a column of ones (N, C + 1); and the classifier's own input (N, features)."""
    with torch.no_grad():
        _, visits = chain.run(images)
        pooled = [visit.representation.mean((2, 3)).double() for visit in visits]
        features = chain.features(visits[-1].output).double()
    return [torch.cat([x, x.new_ones(len(x), 1)], 1) for x in pooled], features
