"""Small networks and data for the tasks."""

from types import SimpleNamespace

import torch
from torch import nn

from resnet_probe.data import Data


def dense(classes=4, count=23, side=12, *, seed=0):
    """A network of maps with three residual blocks, and images with a class for each pixel, some of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), Block(6), Block(6), Block(6), nn.Conv2d(6, classes, 1))
    pixels = torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    masks = torch.randint(0, classes, (count, side, side), generator=generator, dtype=torch.uint8)
    masks[torch.rand(masks.shape, generator=generator) < 0.1] = 255
    names = tuple(f"kind{i}" for i in range(classes))
    return model.eval(), Data("pixels", "test", pixels, masks, names, normalization="0.5;0.25")


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + torch.relu(self.convolution(x))


class Body(nn.Module):
    """A backbone that returns three levels, the last one from the end of its chain."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.ModuleList(Block(4) for _ in range(4))

    def forward(self, x):
        x, found = self.stem(x), {}
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i != 1:
                found[f"level{i}"] = x
        return found


class Finder(nn.Module):
    """A detector after torchvision's convention: one box for each quarter of an image, which no trace can follow."""

    def __init__(self, classes=3):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.body = Body()
        self.head = nn.Linear(12, classes + 5)

    def forward(self, images, targets=None):
        results, losses = [], []
        for number, image in enumerate(images):
            levels = self.backbone.body(image[None]).values()
            rows = torch.cat([nn.functional.adaptive_avg_pool2d(level, 2)[0].flatten(1).T for level in levels], 1)
            rows = self.head(rows)
            scores, labels = rows[:, 1:-4].softmax(1).max(1)
            corner = rows[:, -4:-2].sigmoid() * (image.shape[-1] / 2)
            boxes = torch.cat([corner, corner + 4 + rows[:, -2:].sigmoid() * 8], 1)
            if float(scores.max()) > 0:  # values decide
                results.append({"boxes": boxes, "labels": labels + 1, "scores": scores})
            if targets is not None:
                aim = targets[number]["boxes"].mean(0) if len(targets[number]["boxes"]) else boxes.detach().mean(0)
                keep = torch.rand(len(boxes)) < 0.5  # drawn at random, as torchvision's samplers do
                losses.append(((boxes - aim).abs().mean(1) * keep).sum())
        if self.training:
            return {
                "loss_box": torch.stack(losses).mean(),
                "loss_size": self.head.weight.square().mean() + results[0]["scores"].sum(),
            }
        return results


def finder(count=7, side=16, *, seed=0):
    """A detector with four blocks in its backbone, and images with objects."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Finder().eval()
    pixels = torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    corner = torch.rand((count, 3, 2), generator=generator) * 8
    labels = torch.randint(1, 4, (count, 3, 1), generator=generator)
    boxes = torch.cat([corner, corner + 8, labels, torch.full((count, 3, 1), 64.0), torch.zeros(count, 3, 1)], 2)
    boxes[0, 1:] = -1  # images with fewer objects, and one with none
    boxes[1] = -1
    boxes[2, 0, 6] = 1
    return model, Data("boxes", "test", pixels, boxes, ("cat", "dog", "cow"), normalization="none")


def score(task, kept, images):
    """A score as a sweep would make it, of values that were put together by hand."""
    return SimpleNamespace(kept=kept, images=images, task=task)
