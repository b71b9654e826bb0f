"""Images per second of a training, beside a plain trainer, side by side in one process.

    python benchmarks/training.py --data ../shared/data/cifar10 --rounds 5

reference        torchvision's transforms (crop with padding, flip, to tensor, normalise) on PIL images in a DataLoader
                 with two workers, fp32, the usual memory layout, the usual loop
ours, no tricks  `resnet_probe.training.fit`, fp32, the usual memory layout
ours, fp32       channels-last
ours, bf16       channels-last, mixed precision

All train the same network with the same batches of 128 and SGD with momentum; images are in memory. Methods take turns
in an order drawn anew each round. The first steps of a run, in which workers start and memory is found, are not
counted. Ratios are taken within a round, of the wall clock, because the reference works in several processes.
"""

import argparse
import os
import platform
import random
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from resnet_probe.data import Data, load_data
from resnet_probe.models import resolve
from resnet_probe.training import Progress, fit, seeded

BATCH, WARM = 128, 3
SGD = {"momentum": 0.9, "weight_decay": 1e-4}


class Pictures(Dataset):
    """Images as torchvision's CIFAR10 gives them."""

    def __init__(self, data: Data) -> None:
        self.pixels = data.images.permute(0, 2, 3, 1).numpy()
        self.labels = data.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(data.mean, data.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def reference(arch: str, data: Data, steps: int, device: str = "cpu", workers: int = 2) -> float:
    with seeded(0):
        model = resolve(arch).train().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, **SGD)
    loader = DataLoader(
        Pictures(data), batch_size=BATCH, shuffle=True, num_workers=workers, drop_last=True, pin_memory=device == "cuda"
    )
    times, step = [], 0
    while step < steps:
        for images, labels in loader:
            optimizer.zero_grad()
            x, y = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            step += 1
            if step in (WARM, steps):
                wait(device)
            times.append(time.perf_counter())
            if step == steps:
                break
    return (steps - WARM) * BATCH / (times[-1] - times[WARM - 1])


def ours(arch: str, data: Data, steps: int, device: str = "cpu", **how: object) -> float:
    with seeded(0):
        model = resolve(arch)
    times = []

    def progress(now: Progress) -> None:
        if now.step in (WARM, steps):
            wait(device)
        times.append(time.perf_counter())

    fit(
        model, data, iterations=steps, learning_rate=0.1, batch_size=BATCH, pad=4, flip=True, schedule="constant",
        device=device, progress=progress, **how, **SGD,
    )  # fmt: skip
    return (steps - WARM) * BATCH / (times[-1] - times[WARM])


METHODS: dict[str, Callable[..., float]] = {
    "reference": reference,
    "ours, no tricks": lambda *a: ours(*a, channels_last=False),
    "ours, fp32": ours,
    "ours, bf16": lambda *a: ours(*a, precision="bf16"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with a split `train` of 32x32 images, or cifar10")
    parser.add_argument("--arch", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = load_data(given.data, split="train", limit=4000, normalize="cifar10")
    generator = random.Random(0)
    load = os.getloadavg()[0]
    print(
        f"{platform.machine()}, {given.threads} threads, torch {torch.__version__}, n = {given.rounds}, load {load:.1f}"
    )
    print("\n| network | method | images/s, median (range) | times the reference |\n|---|---|---|---|")
    for arch in given.arch:
        found: dict[str, list[float]] = {name: [] for name in METHODS}
        for _ in range(given.rounds):
            for name in generator.sample(list(METHODS), len(METHODS)):
                found[name].append(METHODS[name](arch, data, given.steps))
        for name, rates in found.items():
            ratios = [rate / base for rate, base in zip(rates, found["reference"], strict=True)]
            spread = f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"
            times = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"| {arch} | {name} | {spread} | {times} |", flush=True)


if __name__ == "__main__":
    main()
